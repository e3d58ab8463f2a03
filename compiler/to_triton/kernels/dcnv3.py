"""The sampling of DCNv3 (arXiv:2211.05778), with the softmax of its masks.

    y[i, g] = sum over points t of m[i, g, t] * x[place(i, g, t), g],  bilinear, zero outside

Maps are channels last, or slices of the channels of such maps; for each group and point, column of
points by column, the offsets hold (dx, dy). The gradients are those of `dcnv3_backward`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from .common import INTERPRETED, NAMESPACE, channels_last
from .dcnv3_backward import dcnv3_backward
from .dcnv3_points import cells, points_of, steps
from .dcnv3_sampling import Sampling, check_shapes, checked, fallback_reason, key
from .dcnv3_tiles import (
    CONFIGS,
    Dcnv3Config,
    axis_place,
    constants,
    default_config,
    numbers_of,
    shares,
)
from .router import accepts, active, chosen


@triton.jit
def dcnv3_kernel(
    X, Offset, Mask, Y,
    total, H, W, P, Q, x_pixel, o_pixel, m_pixel, scale, limit,
    G: tl.constexpr, D: tl.constexpr, T: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    STRIDE_H: tl.constexpr, STRIDE_W: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr,
    DIL_H: tl.constexpr, DIL_W: tl.constexpr,
    SOFTMAX: tl.constexpr, REMOVE_CENTER: tl.constexpr, LIMITED: tl.constexpr,
    BM: tl.constexpr, BD: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """X [N, H, W, G * D], Offset [N, P, Q, G * T * 2], Mask [N, P, Q, G * T], Y as [total, D]."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    real = row < total
    pixel = row // G
    group = row % G
    image = pixel // (P * Q)
    channels = tl.program_id(1) * BD + tl.arange(0, BD)
    base = X + image * (H * W * x_pixel) + group * D
    offset = Offset + pixel * o_pixel + group * (2 * T)
    share = Mask + pixel * m_pixel + group * T
    if SOFTMAX:
        high, norm = shares(share, real, T, BT)
    acc = tl.zeros((BM, BD), dtype=tl.float32)
    for t in tl.static_range(0, T):
        place = t + (1 if REMOVE_CENTER and t >= T // 2 else 0)
        dx = tl.load(offset + 2 * t, mask=real, other=0.0).to(tl.float32)
        dy = tl.load(offset + 2 * t + 1, mask=real, other=0.0).to(tl.float32)
        left, fx, _ = axis_place(pixel % Q, place // KH, dx, scale, limit, W,
                                 STRIDE_W, PAD_W, DIL_W, KW, LIMITED)  # fmt: skip
        top, fy, _ = axis_place(pixel // Q % P, place % KH, dy, scale, limit, H,
                                STRIDE_H, PAD_H, DIL_H, KH, LIMITED)  # fmt: skip
        m = tl.load(share + t, mask=real, other=0.0).to(tl.float32)
        if SOFTMAX:
            m = tl.exp(m - high) / norm
        for corner in tl.static_range(0, 4):
            y = top + corner // 2
            x = left + corner % 2
            by_y = fy if corner // 2 else 1.0 - fy
            by_x = fx if corner % 2 else 1.0 - fx
            valid = real & (y >= 0) & (y < H) & (x >= 0) & (x < W)
            at = (base + (y * W + x) * x_pixel)[:, None] + channels[None, :]
            there = valid[:, None]  # the same for all channels, so that they load together
            if D % BD != 0:
                there = there & (channels < D)[None, :]
            value = tl.load(at, mask=there, other=0.0)
            acc += (m * by_y * by_x)[:, None] * value.to(tl.float32)
    kept = real[:, None] & (channels < D)[None, :]
    tl.store(Y + row[:, None] * D + channels[None, :], acc.to(Y.dtype.element_ty), mask=kept)


def reference(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> Tensor:
    """The same in plain torch: in float64 for a float64 map, else in float32."""
    table, found = cells(x, how.groups), points_of(x, offset, mask, how)
    cell = found.cell.reshape(-1, how.points)
    total = table.new_zeros(len(cell), table.shape[1])
    for corner, step in enumerate(steps(x, how.groups)):
        share = (found.corner(corner) * found.share).reshape(cell.shape)
        total += F.embedding_bag(cell + step, table, per_sample_weights=share, mode="sum")
    y = total.reshape(x.shape[0], *offset.shape[2:], x.shape[1]).permute(0, 3, 1, 2)
    return y.to(x.dtype).contiguous(memory_format=torch.channels_last)


def launch(
    x: Tensor, offset: Tensor, mask: Tensor, how: Sampling, *, config: Dcnv3Config
) -> Tensor:
    """Run the forward kernel.

    Args:
        x: map [N, C, H, W], channels last or a slice of the channels of one; likewise the others.
        offset: [N, G * T * 2, P, Q].
        mask: [N, G * T, P, Q]; logits where `how.softmax`.
        how: where the points lie.
        config: the tile.

    Raises:
        TypeError: a dtype that no kernel takes.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    checked(x, offset, mask, how)
    n, c = x.shape[:2]
    y = channels_last(n, c, offset.shape[2], offset.shape[3], x)
    numbers, fixed = numbers_of(x, offset, mask, how), constants(c // how.groups, how, config)
    grid = (triton.cdiv(int(numbers[0]), config.bm), triton.cdiv(c // how.groups, fixed["BD"]))
    dcnv3_kernel[grid](x, offset, mask, y, *numbers, **fixed, num_warps=config.warps)
    return y


@torch.library.custom_op(f"{NAMESPACE}::dcnv3", mutates_args=())
def dcnv3(
    x: Tensor, offset: Tensor, mask: Tensor, groups: int,
    kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
    offset_scale: float, softmax: bool, remove_center: bool, offset_limit: float | None,
) -> Tensor:  # fmt: skip
    """The sampling of DCNv3: our kernel where the table says so, else plain torch."""
    how = Sampling(groups, kernel, stride, padding, dilation,
                   offset_scale, softmax, remove_center, offset_limit)  # fmt: skip
    check_shapes(x, offset, mask, how)
    name = None
    if (x.is_cuda or INTERPRETED) and accepts("dcnv3", fallback_reason(x, offset, mask, how)):
        name = chosen(key(x, offset, mask, how), default_config(x.shape[1] // groups))
    if name is None:
        return reference(x, offset, mask, how)
    return launch(x, offset, mask, how, config=CONFIGS[name])


@dcnv3.register_fake
def _(x, offset, mask, *rest):
    return channels_last(x.shape[0], x.shape[1], offset.shape[2], offset.shape[3], x)


def _saved(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:3])
    # The gradient may be computed by another thread, which does not see a policy of this one.
    ctx.rest, ctx.route = inputs[3:], active()


def _gradients(ctx, grad):
    grad = grad.contiguous(memory_format=torch.channels_last)
    needs_x = ctx.needs_input_grad[0]
    to_x, to_offset, to_mask = dcnv3_backward(
        grad, *ctx.saved_tensors, *ctx.rest, needs_x, ctx.route
    )
    return (to_x if needs_x else None, to_offset, to_mask, *[None] * len(ctx.rest))


dcnv3.register_autograd(_gradients, setup_context=_saved)
