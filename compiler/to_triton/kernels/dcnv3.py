"""The sampling of DCNv3 (arXiv:2211.05778), with the softmax of its masks, and its gradients.

    y[i, g] = sum over points t of m[i, g, t] * x[place(i, g, t), g],  bilinear, zero outside

Rows are pairs (pixel, group of channels), so that neighbouring lanes read neighbouring channels of
one corner. Coordinates and sums are float32 whatever the dtype of the maps. Maps are channels last;
for each group and point, column of points by column, the offsets hold (dx, dy).

The gradient of `x` is added up by float32 atomics, in any order; under
`torch.use_deterministic_algorithms` by `index_add_`, one corner of one point after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from .common import (
    INTERPRETED,
    NAMESPACE,
    channels_last,
    fits_int32,
    refuse_dtypes,
    rows,
)
from .router import active, chosen, policy


@triton.jit
def axis_place(
    out, step, moved, scale, limit, size,
    STRIDE: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr, K: tl.constexpr,
    LIMITED: tl.constexpr,
):  # fmt: skip
    """A point along an axis: the neighbour before it, its distance, d place / d offset."""
    middle: tl.constexpr = DIL * (K - 1) // 2
    moved = moved * scale
    slope = moved * 0.0 + scale
    if LIMITED:
        slope = tl.where((moved >= -limit) & (moved <= limit), slope, 0.0)
        # written so that NaN stays NaN, as in torch
        moved = tl.where(moved < -limit, -limit, tl.where(moved > limit, limit, moved))
    place = (out * STRIDE + (middle - PAD)).to(tl.float32) + (step * DIL - middle) * scale + moved
    slope = tl.where((place > -1.0) & (place < size), slope, 0.0)
    end = size * 1.0  # an int, or a constexpr where it is 1
    place = tl.where(place < -1.0, -1.0, tl.where(place > end, end, place))
    low = tl.floor(place)
    return low.to(tl.int32), place - low, slope


@triton.jit
def shares(Mask, real, T: tl.constexpr, BT: tl.constexpr):
    """The largest logit of each row, and the sum of the exponentials of the others to it."""
    taps = tl.arange(0, BT)
    logits = tl.load(Mask[:, None] + taps[None, :], mask=real[:, None] & (taps < T)[None, :],
                     other=0.0).to(tl.float32)  # fmt: skip
    logits = tl.where((taps < T)[None, :], logits, float("-inf"))
    high = tl.max(logits, axis=1)
    return high, tl.sum(tl.exp(logits - high[:, None]), axis=1)


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


@dataclass(frozen=True)
class Dcnv3Config:
    """How the rows are cut: rows of a program, the most channels at once, warps."""

    bm: int
    bd: int
    warps: int


CONFIGS: dict[str, Dcnv3Config] = {
    "r64c16w4": Dcnv3Config(64, 16, 4),
    "r128c16w4": Dcnv3Config(128, 16, 4),
    "r32c32w4": Dcnv3Config(32, 32, 4),
}
"""Tiles that may be launched. Fewer channels are taken where a group has fewer."""

MOST_POINTS = 49
"""Points are unrolled: more would take minutes to compile."""


def default_config(each: int) -> str:
    """A tile for groups of so many channels; what the table of measurements overrules."""
    return "r64c16w4" if each <= 16 else "r32c32w4"


@dataclass(frozen=True)
class Sampling:
    """Where the points of DCNv3 lie, and what becomes of the mask.

    Attributes:
        groups: groups of channels, each with offsets and a mask of its own.
        kernel: rows and columns of points; likewise stride, padding (top and left), dilation.
        offset_scale: multiplies the distances between the points, and the offsets.
        softmax: whether the mask of a group goes through a softmax over its points.
        remove_center: whether the point in the middle is left out.
        offset_limit: the most that a point is moved by along an axis, in pixels; None: any.
    """

    groups: int
    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    offset_scale: float
    softmax: bool
    remove_center: bool
    offset_limit: float | None

    @property
    def points(self) -> int:
        """How many there are."""
        return self.kernel[0] * self.kernel[1] - self.remove_center


@dataclass(frozen=True)
class Points:
    """Every point of every row, [N, P, Q, G, T], over a table of cells with a margin of zeros.

    Attributes:
        cell: the row of the table at the top left of each point.
        fy: its distance below that cell; likewise `fx`, to the right.
        slope_y: how its row changes with its offset; likewise `slope_x`.
        share: what its value is multiplied by.
    """

    cell: Tensor
    fy: Tensor
    fx: Tensor
    slope_y: Tensor
    slope_x: Tensor
    share: Tensor

    def corner(self, number: int) -> Tensor:
        """The share of one of the four cells around a point, before the mask."""
        by_y = self.fy if number // 2 else 1 - self.fy
        by_x = self.fx if number % 2 else 1 - self.fx
        return by_y * by_x


def working(x: Tensor) -> torch.dtype:
    """The dtype of coordinates and sums."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def cells(x: Tensor, groups: int) -> Tensor:
    """[N, C, H, W] as rows of a table, [N * (H + 2) * (W + 2) * G, C / G], with zeros around."""
    padded = F.pad(x.to(working(x)).permute(0, 2, 3, 1), [0, 0, 1, 1, 1, 1])
    return padded.reshape(-1, x.shape[1] // groups)


def _along(
    moved: Tensor, lines: Tensor, steps: Tensor, axis: int, size: int, how: Sampling
) -> tuple[Tensor, Tensor, Tensor]:
    """As the kernel's `axis_place`, for a whole map of offsets."""
    middle = how.dilation[axis] * (how.kernel[axis] - 1) // 2
    grid = lines * how.stride[axis] + (middle - how.padding[axis])
    grid = grid + (steps * how.dilation[axis] - middle) * how.offset_scale
    moved = moved * how.offset_scale
    slope = torch.full_like(moved, how.offset_scale)
    if how.offset_limit is not None:
        slope = slope * (moved.abs() <= how.offset_limit)
        moved = moved.clamp(-how.offset_limit, how.offset_limit)
    place = grid + moved
    slope = slope * ((place > -1) & (place < size))
    place = place.clamp(-1, size)
    low = place.floor().long().clamp(-1, size - 1)
    return low, place - low, slope


def points_of(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> Points:
    """Where the points lie, in plain torch."""
    (n, _, h, w), (p, q) = x.shape, offset.shape[2:]
    kind, device, shape = working(x), x.device, (n, p, q, how.groups, how.points)
    order = torch.arange(how.kernel[0] * how.kernel[1], device=device)
    if how.remove_center:
        order = order[order != len(order) // 2]
    moved = offset.permute(0, 2, 3, 1).to(kind).reshape(*shape, 2)
    ys = torch.arange(p, device=device, dtype=kind).view(-1, 1, 1, 1)
    xs = torch.arange(q, device=device, dtype=kind).view(-1, 1, 1)
    down, across = (order % how.kernel[0]).to(kind), (order // how.kernel[0]).to(kind)
    top, fy, slope_y = _along(moved[..., 1], ys, down, 0, h, how)
    left, fx, slope_x = _along(moved[..., 0], xs, across, 1, w, how)
    image = torch.arange(n, device=device).view(-1, 1, 1, 1, 1)
    group = torch.arange(how.groups, device=device).view(-1, 1)
    cell = ((image * (h + 2) + top + 1) * (w + 2) + left + 1) * how.groups + group
    share = mask.permute(0, 2, 3, 1).to(kind).reshape(shape)
    share = share.softmax(-1) if how.softmax else share
    return Points(cell, fy, fx, slope_y, slope_x, share)


def _steps(x: Tensor, groups: int) -> list[int]:
    """How many rows of the table lie between a cell and its neighbours."""
    down = (x.shape[3] + 2) * groups
    return [0, groups, down, down + groups]


def reference(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> Tensor:
    """The same in plain torch: in float64 for a float64 map, else in float32."""
    table, found = cells(x, how.groups), points_of(x, offset, mask, how)
    cell = found.cell.reshape(-1, how.points)
    total = table.new_zeros(len(cell), table.shape[1])
    for corner, step in enumerate(_steps(x, how.groups)):
        share = (found.corner(corner) * found.share).reshape(cell.shape)
        total += F.embedding_bag(cell + step, table, per_sample_weights=share, mode="sum")
    y = total.reshape(x.shape[0], *offset.shape[2:], x.shape[1]).permute(0, 3, 1, 2)
    return y.to(x.dtype).contiguous(memory_format=torch.channels_last)


def input_gradient(grad: Tensor, x: Tensor, found: Points, groups: int) -> Tensor:
    """The gradient of `x`, the same at every run under deterministic algorithms."""
    (n, c, h, w), kind = x.shape, working(x)
    upstream = grad.permute(0, 2, 3, 1).reshape(-1, c // groups).to(kind)
    table = upstream.new_zeros(n * (h + 2) * (w + 2) * groups, c // groups)
    for corner, step in enumerate(_steps(x, groups)):
        part = (found.corner(corner) * found.share).flatten(0, 3)
        for t, cell in enumerate(found.cell.flatten(0, 3).unbind(1)):
            table.index_add_(0, cell + step, part[:, t : t + 1] * upstream)
    inner = table.view(n, h + 2, w + 2, c)[:, 1:-1, 1:-1].permute(0, 3, 1, 2)
    return inner.to(x.dtype).contiguous(memory_format=torch.channels_last)


def _as_map(rows: Tensor, like: Tensor) -> Tensor:
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
        for step in _steps(x, how.groups)
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
    return to_x, _as_map(torch.stack([to_dx, to_dy], -1), offset), _as_map(to_share, mask)


def check_shapes(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> None:
    """Refuse maps that do not go together.

    Raises:
        ValueError: channels that do not split into groups, or that do not fit the points; maps of
            other sizes or batches.
    """
    if x.shape[1] % how.groups:
        raise ValueError(f"{x.shape[1]} channels do not split into {how.groups} groups")
    rest = (x.shape[0], *offset.shape[2:])
    for what, map_, each in (("offset", offset, 2), ("mask", mask, 1)):
        channels = each * how.groups * how.points
        if map_.shape != (rest[0], channels, *rest[1:]):
            raise ValueError(
                f"the {what} is {tuple(map_.shape)}, not {(rest[0], channels, *rest[1:])}"
            )


def fallback_reason(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> str:
    """Why the kernels cannot take these operands, or "" where they can."""
    if how.points > MOST_POINTS:
        return f"no template: {how.points} points; the most is {MOST_POINTS}"
    if not (x.numel() and offset.numel()):
        return "no template: an empty map"
    try:
        refuse_dtypes(x, offset, mask)
        for map_ in (x, offset, mask):
            rows(map_)
    except (TypeError, ValueError) as error:
        return str(error)
    out = offset.shape[0] * offset.shape[2] * offset.shape[3] * x.shape[1]
    if not fits_int32(x, offset, mask) or out >= 2**30:
        return "no template: more than 2^30 elements"
    return ""


def _checked(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> None:
    refuse_dtypes(x, offset, mask)
    check_shapes(x, offset, mask, how)
    reason = fallback_reason(x, offset, mask, how)
    if reason:
        raise ValueError(reason)


def _empty_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _numbers(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> tuple[int | float, ...]:
    """The run-time parameters of both kernels, in order."""
    (n, _, h, w), (p, q) = x.shape, offset.shape[2:]
    limit = 0.0 if how.offset_limit is None else how.offset_limit
    pixels = (rows(x)[0], rows(offset)[0], rows(mask)[0])
    return (n * p * q * how.groups, h, w, p, q, *pixels, float(how.offset_scale), float(limit))


def constants(each: int, how: Sampling, config: Dcnv3Config) -> dict[str, int | bool]:
    """The constexpr parameters of both kernels for groups of `each` channels."""
    return {
        "G": how.groups, "D": each, "T": how.points, "KH": how.kernel[0], "KW": how.kernel[1],
        "STRIDE_H": how.stride[0], "STRIDE_W": how.stride[1],
        "PAD_H": how.padding[0], "PAD_W": how.padding[1],
        "DIL_H": how.dilation[0], "DIL_W": how.dilation[1],
        "SOFTMAX": how.softmax, "REMOVE_CENTER": how.remove_center,
        "LIMITED": how.offset_limit is not None,
        "BM": config.bm, "BD": min(config.bd, triton.next_power_of_2(each)),
        "BT": triton.next_power_of_2(how.points),
    }  # fmt: skip


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
    _checked(x, offset, mask, how)
    n, c = x.shape[:2]
    y = channels_last(n, c, offset.shape[2], offset.shape[3], x)
    numbers, fixed = _numbers(x, offset, mask, how), constants(c // how.groups, how, config)
    grid = (triton.cdiv(int(numbers[0]), config.bm), triton.cdiv(c // how.groups, fixed["BD"]))
    dcnv3_kernel[grid](x, offset, mask, y, *numbers, **fixed, num_warps=config.warps)
    return y


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
    _checked(x, offset, mask, how)
    refuse_dtypes(grad)
    n, c, h, w = x.shape
    if grad.shape != (n, c, *offset.shape[2:]) or rows(grad)[0] != c:
        raise ValueError(f"the gradient {tuple(grad.shape)} is not a dense channels last result")
    atomic = needs_x and not torch.are_deterministic_algorithms_enabled()
    wide = (
        channels_last(n, c, h, w, x.new_empty(0, dtype=torch.float32)).zero_() if atomic else None
    )
    to_offset, to_mask = _empty_like(offset), _empty_like(mask)
    numbers, fixed = _numbers(x, offset, mask, how), constants(c // how.groups, how, config)
    dcnv3_backward_kernel[(triton.cdiv(int(numbers[0]), config.bm),)](
        grad, x, offset, mask, wide, to_offset, to_mask, *numbers, **fixed, num_warps=config.warps
    )
    if not needs_x:
        return x.new_empty(0), to_offset, to_mask
    if wide is None:
        found = points_of(x, offset, mask, how)
        return input_gradient(grad, x, found, how.groups), to_offset, to_mask
    return wide.to(x.dtype), to_offset, to_mask


def key(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling, *, backward: bool = False) -> str:
    """What a measurement is filed under: dtypes, sizes and geometry, exactly."""
    n, c, h, w = x.shape
    dtypes = ",".join(str(map_.dtype)[6:] for map_ in (x, offset, mask))
    pairs = (how.kernel, how.stride, how.padding, how.dilation)
    geometry = "/".join("x".join(map(str, pair)) for pair in pairs)
    words = ["dcnv3" + "_backward" * backward, dtypes, f"{n}x{c}x{h}x{w}->{how.groups}x"]
    words[-1] += "x".join(map(str, offset.shape[2:]))
    words += [geometry, f"scale={how.offset_scale:g}"]
    words += ["softmax"] * how.softmax + ["remove_center"] * how.remove_center
    words += [f"limit={how.offset_limit:g}"] if how.offset_limit is not None else []
    return " ".join(words)


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
    if (x.is_cuda or INTERPRETED) and not fallback_reason(x, offset, mask, how):
        name = chosen(key(x, offset, mask, how), default_config(x.shape[1] // groups))
    if name is None:
        return reference(x, offset, mask, how)
    return launch(x, offset, mask, how, config=CONFIGS[name])


@dcnv3.register_fake
def _(x, offset, mask, *rest):
    return channels_last(x.shape[0], x.shape[1], offset.shape[2], offset.shape[3], x)


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
    if (x.is_cuda or INTERPRETED) and not fallback_reason(x, offset, mask, how):
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
