"""The gradients of DCNv3's sampling: of the map, of the offsets, of the masks.

The gradient of `x` is added up by float32 atomics, in any order; under
`torch.use_deterministic_algorithms` by `index_add_`, one corner of one point after the other.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .common import (
    INTERPRETED,
    NAMESPACE,
    channels_last,
    refuse_dtypes,
    rows,
)
from .dcnv3_points import Points, cells, points_of, steps, working
from .dcnv3_sampling import Sampling, checked, fallback_reason, key
from .dcnv3_tiles import (
    CONFIGS,
    Dcnv3Config,
    axis_place,
    constants,
    default_config,
    numbers_of,
    shares,
)
from .router import accepts, chosen, policy


@triton.jit
def dcnv3_backward_kernel(
    Grad, X, Offset, Mask, GradX, GradOffset, GradMask,
    total, H, W, P, Q, x_pixel, o_pixel, m_pixel, scale, limit,
    G: tl.constexpr, D: tl.constexpr, T: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    STRIDE_H: tl.constexpr, STRIDE_W: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr,
    DIL_H: tl.constexpr, DIL_W: tl.constexpr,
    SOFTMAX: tl.constexpr, REMOVE_CENTER: tl.constexpr, LIMITED: tl.constexpr,
    BM: tl.constexpr, BD: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Grad as [total, D]; GradX [N, H, W, G * D], float32 zeros, or None; the others as rows."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    real = row < total
    pixel = row // G
    group = row % G
    image = pixel // (P * Q)
    offset = Offset + pixel * o_pixel + group * (2 * T)
    share = Mask + pixel * m_pixel + group * T
    taps = tl.arange(0, BT)
    if SOFTMAX:
        high, norm = shares(share, real, T, BT)
    to_mask = tl.zeros((BM, BT), dtype=tl.float32)
    # Not unrolled, unlike the forward kernel: nine points at once spill registers.
    for t in tl.range(0, T):
        place = t
        if REMOVE_CENTER:
            place = tl.where(t >= T // 2, t + 1, t)
        dx = tl.load(offset + 2 * t, mask=real, other=0.0).to(tl.float32)
        dy = tl.load(offset + 2 * t + 1, mask=real, other=0.0).to(tl.float32)
        left, fx, slope_x = axis_place(pixel % Q, place // KH, dx, scale, limit, W,
                                       STRIDE_W, PAD_W, DIL_W, KW, LIMITED)  # fmt: skip
        top, fy, slope_y = axis_place(pixel // Q % P, place % KH, dy, scale, limit, H,
                                      STRIDE_H, PAD_H, DIL_H, KH, LIMITED)  # fmt: skip
        m = tl.load(share + t, mask=real, other=0.0).to(tl.float32)
        if SOFTMAX:
            m = tl.exp(m - high) / norm
        to_share = tl.zeros((BM,), dtype=tl.float32)
        to_dx = tl.zeros((BM,), dtype=tl.float32)
        to_dy = tl.zeros((BM,), dtype=tl.float32)
        for corner in tl.static_range(0, 4):
            y = top + corner // 2
            x = left + corner % 2
            by_y = fy if corner // 2 else 1.0 - fy
            by_x = fx if corner % 2 else 1.0 - fx
            valid = real & (y >= 0) & (y < H) & (x >= 0) & (x < W)
            cell = image * (H * W) + y * W + x
            pull = tl.zeros((BM,), dtype=tl.float32)
            for start in tl.range(0, D, BD):
                channels = start + tl.arange(0, BD)
                kept = real[:, None] & (channels < D)[None, :]
                grad = tl.load(Grad + row[:, None] * D + channels[None, :], mask=kept, other=0.0)
                grad = grad.to(tl.float32)
                at = (group * D)[:, None] + channels[None, :]
                there = valid[:, None]
                if D % BD != 0:
                    there = there & (channels < D)[None, :]
                value = tl.load(X + (cell * x_pixel)[:, None] + at, mask=there, other=0.0)
                pull += tl.sum(grad * value.to(tl.float32), axis=1)
                if GradX is not None:
                    part = (m * by_y * by_x)[:, None] * grad
                    tl.atomic_add(GradX + (cell * (G * D))[:, None] + at, part, mask=there,
                                  sem="relaxed")  # fmt: skip
            to_share += by_y * by_x * pull
            to_dx += (by_y if corner % 2 else -by_y) * pull
            to_dy += (by_x if corner // 2 else -by_x) * pull
        found = GradOffset + row * (2 * T) + 2 * t
        tl.store(found, (to_dx * m * slope_x).to(GradOffset.dtype.element_ty), mask=real)
        tl.store(found + 1, (to_dy * m * slope_y).to(GradOffset.dtype.element_ty), mask=real)
        to_mask = tl.where((taps == t)[None, :], to_share[:, None], to_mask)
    kept = real[:, None] & (taps < T)[None, :]
    if SOFTMAX:
        logits = tl.load(share[:, None] + taps[None, :], mask=kept, other=0.0).to(tl.float32)
        m_all = tl.exp(logits - high[:, None]) / norm[:, None]
        m_all = tl.where(kept, m_all, 0.0)
        to_mask = m_all * (to_mask - tl.sum(m_all * to_mask, axis=1)[:, None])
    tl.store(GradMask + row[:, None] * T + taps[None, :], to_mask.to(GradMask.dtype.element_ty),
             mask=kept)  # fmt: skip


def input_gradient(grad: Tensor, x: Tensor, found: Points, groups: int) -> Tensor:
    """The gradient of `x`, the same at every run under deterministic algorithms."""
    (n, c, h, w), kind = x.shape, working(x)
    upstream = grad.permute(0, 2, 3, 1).reshape(-1, c // groups).to(kind)
    table = upstream.new_zeros(n * (h + 2) * (w + 2) * groups, c // groups)
    for corner, step in enumerate(steps(x, groups)):
        part = (found.corner(corner) * found.share).flatten(0, 3)
        for t, cell in enumerate(found.cell.flatten(0, 3).unbind(1)):
            table.index_add_(0, cell + step, part[:, t : t + 1] * upstream)
    inner = table.view(n, h + 2, w + 2, c)[:, 1:-1, 1:-1].permute(0, 3, 1, 2)
    return inner.to(x.dtype).contiguous(memory_format=torch.channels_last)


def as_map(rows: Tensor, like: Tensor) -> Tensor:
    """[N, P, Q, G, T] or [N, P, Q, G, T, 2] as the map of channels that it came from."""
    y = rows.flatten(3).permute(0, 3, 1, 2).to(like.dtype)
    return y.contiguous(memory_format=torch.channels_last)


def reference_backward(
    grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, how: Sampling, needs_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x (empty if not needed), offset and mask in plain torch."""
    table, found = cells(x, how.groups), points_of(x, offset, mask, how)
    upstream = grad.permute(0, 2, 3, 1).reshape(-1, table.shape[1]).to(table.dtype)
    pulls = [
        torch.stack(
            [(table[cell + step] * upstream).sum(1) for cell in found.cell.flatten(0, 3).unbind(1)],
            1,
        ).view_as(found.fy)
        for step in steps(x, how.groups)
    ]
    above = pulls[0] + found.fx * (pulls[1] - pulls[0])
    below = pulls[2] + found.fx * (pulls[3] - pulls[2])
    to_share = above + found.fy * (below - above)
    to_dy = (below - above) * found.share * found.slope_y
    across = (1 - found.fy) * (pulls[1] - pulls[0]) + found.fy * (pulls[3] - pulls[2])
    to_dx = across * found.share * found.slope_x
    if how.softmax:
        to_share = found.share * (to_share - (found.share * to_share).sum(-1, keepdim=True))
    to_x = input_gradient(grad, x, found, how.groups) if needs_x else x.new_empty(0)
    return to_x, as_map(torch.stack([to_dx, to_dy], -1), offset), as_map(to_share, mask)


def _empty_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def launch_backward(
    grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, how: Sampling, needs_x: bool,
    *, config: Dcnv3Config,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Run the backward kernel; the gradients are of the dtypes of their maps, channels last.

    Args:
        grad: of the result, [N, C, P, Q], channels last and without gaps.
        needs_x: whether that of `x` is wanted; else an empty tensor is in its place.

    Raises:
        TypeError: a dtype that no kernel takes.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    checked(x, offset, mask, how)
    refuse_dtypes(grad)
    n, c, h, w = x.shape
    if grad.shape != (n, c, *offset.shape[2:]) or rows(grad)[0] != c:
        raise ValueError(f"the gradient {tuple(grad.shape)} is not a dense channels last result")
    atomic = needs_x and not torch.are_deterministic_algorithms_enabled()
    wide = (
        channels_last(n, c, h, w, x.new_empty(0, dtype=torch.float32)).zero_() if atomic else None
    )
    to_offset, to_mask = _empty_like(offset), _empty_like(mask)
    numbers, fixed = numbers_of(x, offset, mask, how), constants(c // how.groups, how, config)
    dcnv3_backward_kernel[(triton.cdiv(int(numbers[0]), config.bm),)](
        grad, x, offset, mask, wide, to_offset, to_mask, *numbers, **fixed, num_warps=config.warps
    )
    if not needs_x:
        return x.new_empty(0), to_offset, to_mask
    if wide is None:
        found = points_of(x, offset, mask, how)
        return input_gradient(grad, x, found, how.groups), to_offset, to_mask
    return wide.to(x.dtype), to_offset, to_mask


@torch.library.custom_op(f"{NAMESPACE}::dcnv3_backward", mutates_args=())
def dcnv3_backward(
    grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, groups: int,
    kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
    offset_scale: float, softmax: bool, remove_center: bool, offset_limit: float | None,
    needs_x: bool, route: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of x (empty unless needed), offset and mask, routed by the policy `route`."""
    how = Sampling(groups, kernel, stride, padding, dilation,
                   offset_scale, softmax, remove_center, offset_limit)  # fmt: skip
    name = None
    if (x.is_cuda or INTERPRETED) and accepts(
        "dcnv3_backward", fallback_reason(x, offset, mask, how)
    ):
        default = default_config(x.shape[1] // groups)
        with policy(route):
            name = chosen(key(x, offset, mask, how, backward=True), default)
    if name is None:
        return reference_backward(grad, x, offset, mask, how, needs_x)
    return launch_backward(grad, x, offset, mask, how, needs_x, config=CONFIGS[name])


@dcnv3_backward.register_fake
def _(grad, x, offset, mask, *rest):
    to_x = _empty_like(x) if rest[-2] else x.new_empty(0)
    return to_x, _empty_like(offset), _empty_like(mask)
