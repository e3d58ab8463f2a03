"""What both kernels of DCNv3 are made of: places of points, shares of the mask, tiles.

Rows are pairs (pixel, group of channels), so that neighbouring lanes read neighbouring channels of
one corner. Coordinates and sums are float32 whatever the dtype of the maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from .common import rows
from .dcnv3_sampling import Sampling


@triton.jit
def axis_place(
    out, step, moved, scale, limit, size,
    STRIDE: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr, K: tl.constexpr,
    LIMITED: tl.constexpr,
):  # fmt: skip
    """A point along an axis: the neighbour before it, its distance, d place / d offset.

    Distances are taken from the pixel that the point belongs to, and so keep their digits however
    far that is from the edge.
    """
    middle: tl.constexpr = DIL * (K - 1) // 2
    moved = moved * scale
    slope = moved * 0.0 + scale
    if LIMITED:
        slope = tl.where((moved >= -limit) & (moved <= limit), slope, 0.0)
        # written so that NaN stays NaN, as in torch
        moved = tl.where(moved < -limit, -limit, tl.where(moved > limit, limit, moved))
    own = out * STRIDE + (middle - PAD)
    first = -1.0 - own.to(tl.float32)
    last = size * 1.0 - own.to(tl.float32)  # an int, or a constexpr where it is 1
    place = (step * DIL - middle) * scale + moved
    slope = tl.where((place > first) & (place < last), slope, 0.0)
    place = tl.where(place < first, first, tl.where(place > last, last, place))
    low = tl.floor(place)
    return own + low.to(tl.int32), place - low, slope


@triton.jit
def shares(Mask, real, T: tl.constexpr, BT: tl.constexpr):
    """The largest logit of each row, and the sum of the exponentials of the others to it."""
    taps = tl.arange(0, BT)
    logits = tl.load(Mask[:, None] + taps[None, :], mask=real[:, None] & (taps < T)[None, :],
                     other=0.0).to(tl.float32)  # fmt: skip
    logits = tl.where((taps < T)[None, :], logits, float("-inf"))
    high = tl.max(logits, axis=1)
    return high, tl.sum(tl.exp(logits - high[:, None]), axis=1)


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


def default_config(each: int) -> str:
    """A tile for groups of so many channels; what the table of measurements overrules."""
    return "r64c16w4" if each <= 16 else "r32c32w4"


def numbers_of(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> tuple[int | float, ...]:
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
