"""The kernel cut off outside a window around each pixel (ConvCRF), by shifted products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Index = tuple[Any, ...]

STRIP = 1 << 18
"""Values of the scores in a strip of rows: a strip and its sums stay in the cache."""


class WindowKernel(torch.autograd.Function):
    """Kernel values [N, k k, h, w]: of each pixel with the pixel at each offset, 0 outside.

    f is [N, d, h, w]. K_o(i) = K_-o(i + o), so that half of the offsets give the rest.
    """

    @staticmethod
    def forward(ctx: Any, f: Tensor, window: int, own: bool) -> Tensor:
        count, _, height, width = f.shape
        kernel = f.new_zeros(count, window * window, height, width)
        kernel[:, window * window // 2] = float(own)
        for index, here, there in window_pairs(window, height, width):
            value = torch.zeros_like(f[:, 0][here])
            for channel in f.unbind(1):
                value.add_((channel[here] - channel[there]).square_())
            kernel[:, index][here] = value.mul_(-0.5).exp_()
            kernel[:, -1 - index][there] = value
        ctx.save_for_backward(f, kernel)
        ctx.window = window
        return kernel

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        f, kernel = ctx.saved_tensors
        df = torch.zeros_like(f)
        slopes = g * kernel
        for index, here, there in window_pairs(ctx.window, *f.shape[2:]):
            slope = slopes[:, index][here] + slopes[:, -1 - index][there]
            for channel, out in zip(f.unbind(1), df.unbind(1), strict=True):
                step = slope * (channel[here] - channel[there])
                out[here] -= step
                out[there] += step
        return df, None, None


class WindowSum(torch.autograd.Function):
    """p_i = sum_o K_o(i) q_(i + o): the kernel is [N, k k, h, w], q is [N, C, h, w]."""

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, q: Tensor) -> Tensor:
        ctx.save_for_backward(kernel, q)
        return window_into(torch.zeros_like(q), kernel, q)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor]:
        kernel, q = ctx.saved_tensors
        radius = window_radius(kernel)
        padded, dq = padded_by(q, radius), padded_by(torch.zeros_like(q), radius)
        dkernel = torch.empty_like(kernel) if ctx.needs_input_grad[0] else None
        for index, rows, here, there in window_taps(kernel, q):
            dq[there].addcmul_(kernel[:, index : index + 1, rows], g[here])
            if dkernel is not None:
                dkernel[:, index, rows] = (g[here] * padded[there]).sum(1)
        return dkernel, padded_by(dq, -radius).contiguous()


kernel_values: Callable[..., Tensor] = WindowKernel.apply
window_message: Callable[..., Tensor] = WindowSum.apply


def window_into(out: Tensor, kernel: Tensor, q: Tensor) -> Tensor:
    """Adds the filtered q to `out`, in place."""
    padded = padded_by(q, window_radius(kernel))
    for index, rows, here, there in window_taps(kernel, q):
        out[here].addcmul_(kernel[:, index : index + 1, rows], padded[there])
    return out


def window_radius(kernel: Tensor) -> int:
    """The reach of a kernel [N, k k, h, w] to each side."""
    return math.isqrt(kernel.shape[1]) // 2


def padded_by(x: Tensor, radius: int) -> Tensor:
    """`x` with a border of zeros, or without its border where `radius` is negative."""
    return nn.functional.pad(x, [radius] * 4)


def window_taps(kernel: Tensor, q: Tensor) -> Iterator[tuple[int, slice, Index, Index]]:
    """(offset, rows, index of these rows of q, index of their partners in the padded q)."""
    window, (_, channels, height, width) = 2 * window_radius(kernel) + 1, q.shape
    step = max(1, STRIP // (channels * width))
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        for index in range(window * window):
            dy, dx = divmod(index, window)
            partners = slice(top + dy, rows.stop + dy), slice(dx, dx + width)
            yield index, rows, (..., rows, slice(None)), (..., *partners)


def window_pairs(window: int, height: int, width: int) -> Iterator[tuple[int, Index, Index]]:
    """(offset, index of the pixels, index of their partners) for the first half of the offsets."""
    radius = window // 2
    for index in range(window * window // 2):
        dy, dx = index // window - radius, index % window - radius
        if -dy < height and abs(dx) < width:
            here = ..., slice(-dy, height), slice(max(0, -dx), width - max(0, dx))
            there = ..., slice(0, height + dy), slice(max(0, dx), width - max(0, -dx))
            yield index, here, there


def window_kernel(f: Tensor, window: int, blur: int, own: bool) -> Tensor:
    """Kernel values [N, k k, h', w'] of features [N, d, h, w], pooled by `blur`."""
    return kernel_values(pooled_by(f, blur), window, own)


def window_filter(kernel: Tensor, q: Tensor, blur: int) -> Tensor:
    """K q on the grid of q, [N, C, h, w]; with `blur` it is pooled before and resized after."""
    out = window_message(kernel, pooled_by(q, blur))
    if blur == 1:
        return out
    height, width = q.shape[2:]
    out = nn.functional.interpolate(
        out, scale_factor=float(blur), mode="bilinear", align_corners=False
    )
    top, left = blur_offset(height, blur), blur_offset(width, blur)
    return out[:, :, top : top + height, left : left + width]


def pooled_by(x: Tensor, blur: int) -> Tensor:
    """Means of blur x blur pixels; a border that is no whole block is split between both sides."""
    if blur == 1:
        return x
    offsets = [blur_offset(size, blur) for size in x.shape[2:]]
    return nn.functional.avg_pool2d(x, blur, padding=offsets, count_include_pad=False)


def blur_offset(size: int, blur: int) -> int:
    """Half of what is missing to the next multiple of `blur`, rounded up."""
    return ((blur - size % blur) % blur + 1) // 2
