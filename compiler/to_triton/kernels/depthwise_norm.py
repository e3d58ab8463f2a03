"""Depthwise convolution, layer norm over the channels, activation: the beginning of DCNv3.

    y = act(norm(conv(x) + bias) * scale + shift)

A program has some pixels with all of their channels, so that neither the convolution nor the norm
is ever written. Maps are channels last; sums are float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from .common import (
    ACTIVATIONS,
    INTERPRETED,
    NAMESPACE,
    activate,
    activated,
    channels_last,
    fits_int32,
    refuse_dtypes,
    rows,
)
from .conv import out_size
from .router import accepts, chosen


@triton.jit
def depthwise_norm_kernel(
    X, Weight, Bias, Scale, Shift, Y,
    M, H, W, P, Q, x_pixel, eps,
    C: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    STRIDE_H: tl.constexpr, STRIDE_W: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr,
    ACT: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """X [N, H, W, C], Weight [R * S, C], Bias, Scale and Shift [C], Y [M, C]."""
    pixels = tl.program_id(0) * BM + tl.arange(0, BM)
    real = pixels < M
    image = pixels // (P * Q)
    h0 = (pixels // Q) % P * STRIDE_H - PAD_H
    w0 = pixels % Q * STRIDE_W - PAD_W
    channels = tl.arange(0, BC)
    kept = channels < C
    acc = tl.zeros((BM, BC), dtype=tl.float32)
    for tap in tl.range(0, R * S):
        hh = h0 + tap // S
        ww = w0 + tap % S
        there = (real & (hh >= 0) & (hh < H) & (ww >= 0) & (ww < W))[:, None]
        if C != BC:
            there = there & kept[None, :]
        at = ((image * H + hh) * W + ww) * x_pixel
        x = tl.load(X + at[:, None] + channels[None, :], mask=there, other=0.0)
        w = tl.load(Weight + tap * C + channels, mask=kept, other=0.0)
        acc += x.to(tl.float32) * w.to(tl.float32)[None, :]
    acc += tl.load(Bias + channels, mask=kept, other=0.0).to(tl.float32)[None, :]
    mean = tl.sum(acc, axis=1) / C
    acc = tl.where(kept[None, :], acc - mean[:, None], 0.0)
    spread = tl.rsqrt(tl.sum(acc * acc, axis=1) / C + eps)
    scale = tl.load(Scale + channels, mask=kept, other=0.0).to(tl.float32)
    shift = tl.load(Shift + channels, mask=kept, other=0.0).to(tl.float32)
    y = activate(acc * spread[:, None] * scale[None, :] + shift[None, :], ACT, 0.0)
    tl.store(
        Y + pixels[:, None] * C + channels[None, :],
        y.to(Y.dtype.element_ty),
        mask=real[:, None] & kept[None, :],
    )


@dataclass(frozen=True)
class DepthwiseConfig:
    """Numbers that a program holds, pixels times channels, and its warps."""

    numbers: int
    warps: int


CONFIGS: dict[str, DepthwiseConfig] = {
    "k4w4": DepthwiseConfig(4096, 4),
    "k8w8": DepthwiseConfig(8192, 8),
}
"""Tiles that may be launched."""

DEFAULT = "k4w4"
MOST_CHANNELS = 2048
"""A program has all channels of a pixel."""


def pack(weight: Tensor) -> Tensor:
    """A weight [C, 1, R, S] as the kernel reads it: [R * S, C]."""
    return weight.flatten(1).t().contiguous()


def reference(
    x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor,
    stride: list[int], padding: list[int], eps: float, act: str,
) -> Tensor:  # fmt: skip
    """The same in plain torch, in the dtype of the operands; `weight` is [C, 1, R, S]."""
    y = F.conv2d(x, weight, bias, stride, padding, groups=x.shape[1])
    y = F.layer_norm(y.permute(0, 2, 3, 1), scale.shape, scale, shift, eps)
    y = activated(y, act, 0.0).permute(0, 3, 1, 2)
    return y.contiguous(memory_format=torch.channels_last)


def fallback_reason(x: Tensor, packed: Tensor) -> str:
    """Why the kernel cannot take these operands, or "" where it can."""
    if x.shape[1] > MOST_CHANNELS:
        return f"no template: {x.shape[1]} channels; the most is {MOST_CHANNELS}"
    if not x.numel():
        return "no template: an empty map"
    try:
        refuse_dtypes(x, packed)
        rows(x)
    except (TypeError, ValueError) as error:
        return str(error)
    return "" if fits_int32(x) else "no template: more than 2^30 elements"


def _size(x: Tensor, kernel: list[int], stride: list[int], padding: list[int]) -> tuple[int, int]:
    """Height and width of the result."""
    p, q = (
        out_size(x.shape[2 + axis], kernel[axis], stride[axis], padding[axis], 1) for axis in (0, 1)
    )
    return p, q


def launch(
    x: Tensor, packed: Tensor, bias: Tensor, scale: Tensor, shift: Tensor,
    kernel: list[int], stride: list[int], padding: list[int], eps: float, act: str,
    *, config: DepthwiseConfig,
) -> Tensor:  # fmt: skip
    """Run the kernel.

    Args:
        x: map [N, C, H, W], channels last, or a slice of the channels of one.
        packed: the weight as [R * S, C].
        bias: [C]; likewise the `scale` and the `shift` of the norm.
        kernel: its height and width; likewise stride and padding.
        eps: added to the variance.
        act: a name of ACTIVATIONS that has no slope.
        config: the tile.

    Raises:
        TypeError: a dtype that no kernel takes.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    refuse_dtypes(x, packed, bias, scale, shift)
    c = x.shape[1]
    if packed.shape != (kernel[0] * kernel[1], c):
        raise ValueError(f"the weight {tuple(packed.shape)} is not [{kernel[0]}*{kernel[1]}, {c}]")
    for name, vector in (("bias", bias), ("scale", scale), ("shift", shift)):
        if vector.shape != (c,):
            raise ValueError(f"the {name} is {tuple(vector.shape)}, not [{c}]")
    reason = fallback_reason(x, packed)
    if reason:
        raise ValueError(reason)
    p, q = _size(x, kernel, stride, padding)
    y = channels_last(x.shape[0], c, p, q, x)
    fixed = constants(c, kernel, stride, padding, act, config)
    total = x.shape[0] * p * q
    depthwise_norm_kernel[(triton.cdiv(total, int(fixed["BM"])),)](
        x, packed, bias, scale, shift, y,
        total, x.shape[2], x.shape[3], p, q, rows(x)[0], eps, **fixed, num_warps=config.warps,
    )  # fmt: skip
    return y


def constants(
    channels: int, kernel: list[int], stride: list[int], padding: list[int], act: str,
    config: DepthwiseConfig,
) -> dict[str, int]:  # fmt: skip
    """The constexpr parameters of the kernel."""
    block = triton.next_power_of_2(channels)
    return {
        "C": channels, "R": kernel[0], "S": kernel[1],
        "STRIDE_H": stride[0], "STRIDE_W": stride[1], "PAD_H": padding[0], "PAD_W": padding[1],
        "ACT": ACTIVATIONS[act], "BM": min(128, config.numbers // block), "BC": block,
    }  # fmt: skip


def key(x: Tensor, kernel: list[int], stride: list[int], padding: list[int], act: str) -> str:
    """What a measurement is filed under: dtype, sizes and geometry, exactly."""
    geometry = "/".join("x".join(map(str, pair)) for pair in (kernel, stride, padding))
    return f"depthwise_norm {str(x.dtype)[6:]} {'x'.join(map(str, x.shape))} {geometry} {act}"


@torch.library.custom_op(f"{NAMESPACE}::depthwise_norm", mutates_args=())
def depthwise_norm(
    x: Tensor, weight: Tensor, packed: Tensor, bias: Tensor, scale: Tensor, shift: Tensor,
    stride: list[int], padding: list[int], eps: float, act: str,
) -> Tensor:  # fmt: skip
    """A depthwise convolution with what follows: our kernel where the table says so."""
    name, kernel = None, list(weight.shape[2:])
    if (x.is_cuda or INTERPRETED) and accepts("depthwise_norm", fallback_reason(x, packed)):
        name = chosen(key(x, kernel, stride, padding, act), DEFAULT)
    if name is None:
        return reference(x, weight, bias, scale, shift, stride, padding, eps, act)
    rest = (kernel, stride, padding, eps, act)
    return launch(x, packed, bias, scale, shift, *rest, config=CONFIGS[name])


@depthwise_norm.register_fake
def _(x, weight, packed, bias, scale, shift, stride, padding, eps, act):
    p, q = _size(x, list(weight.shape[2:]), stride, padding)
    return channels_last(x.shape[0], x.shape[1], p, q, x)
