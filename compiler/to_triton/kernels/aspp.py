"""The branches of an atrous spatial pyramid in one launch, without the taps that see padding only.

    y[:, i*K:(i+1)*K] = act(conv(x, weight_i, padding=rate_i, dilation=rate_i) + bias_i)

At a rate of a third of the map most taps of most pixels fall outside it. Cut each axis at the rate
and at the rate from its end: inside each of the at most nine rectangles that result, all pixels
have the same valid taps, a range along both axes. So a tile of pixels of one rectangle walks over
just those, and masks nothing but the end of the rectangle. The tiles of all branches stand in one
table, those with the most work first, and each branch writes its slice of the channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

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
    block_depth,
    channels_last,
    fits_int32,
    pipeline_stages,
    refuse_dtypes,
    rows,
)
from .router import accepts, chosen

COLUMNS = 16
"""Numbers of a tile in the table: y0, x0, h, w of its rectangle, its first pixel in it, the pixels
of the rectangle in all images, first tap and taps along y, the same along x, the rate, the branch,
the slot of the branch's first tap in the packed weight, and three that are not used."""

POINTWISE = 0
"""The rate that stands for a branch with a 1x1 kernel."""


@triton.jit
def aspp_kernel(
    X, Weight, Y, Bias, Table,
    H, W, x_pixel, y_pixel, slope,
    C: tl.constexpr, K: tl.constexpr, ACT: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """One tile of the table: X [N, H, W, C], Weight [slots * C, K], Y [N, H, W, branches * K]."""
    tiles_n: tl.constexpr = (K + BN - 1) // BN
    pid = tl.program_id(0)
    row = Table + pid // tiles_n * 16
    y0 = tl.load(row)
    x0 = tl.load(row + 1)
    height = tl.load(row + 2)
    width = tl.load(row + 3)
    start = tl.load(row + 4)
    total = tl.load(row + 5)
    r_low = tl.load(row + 6)
    r_count = tl.load(row + 7)
    s_low = tl.load(row + 8)
    s_count = tl.load(row + 9)
    rate = tl.load(row + 10)
    branch = tl.load(row + 11)
    first = tl.load(row + 12)

    places = start + tl.arange(0, BM)
    real = places < total
    image = places // (height * width)
    inside = places % (height * width)
    pixels = (image * H + y0 + inside // width) * W + x0 + inside % width
    channels = tl.arange(0, BK)
    columns = pid % tiles_n * BN + tl.arange(0, BN)
    kept = columns < K
    x_tile = X + pixels[:, None] * x_pixel + channels[None, :]
    w_tile = Weight + channels[:, None] * K + columns[None, :]

    BLOCKS: tl.constexpr = C // BK
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for step in tl.range(0, r_count * s_count * BLOCKS):
        tap = step // BLOCKS
        block = step % BLOCKS
        r = r_low + tap // s_count
        s = s_low + tap % s_count
        moved = ((r - 1) * W + s - 1) * rate
        x = tl.load(x_tile + (moved * x_pixel + block * BK), mask=real[:, None], other=0.0)
        w_step = ((first + r * 3 + s) * C + block * BK) * K
        if K % BN == 0:
            w = tl.load(w_tile + w_step)
        else:
            w = tl.load(w_tile + w_step, mask=kept[None, :], other=0.0)
        acc = tl.dot(x, w, acc, input_precision=PRECISION)

    out = branch * K + columns
    acc += tl.load(Bias + out, mask=kept, other=0.0).to(tl.float32)[None, :]
    acc = activate(acc, ACT, slope)
    mask = real[:, None] & kept[None, :]
    tl.store(Y + pixels[:, None] * y_pixel + out[None, :], acc.to(Y.dtype.element_ty), mask=mask)


@dataclass(frozen=True)
class AsppConfig:
    """How a branch is cut: rows, columns and depth of a tile, and its schedule."""

    bm: int
    bn: int
    bk: int
    warps: int
    stages: int


CONFIGS: dict[str, AsppConfig] = {
    "m128n128w8": AsppConfig(128, 128, 64, 8, 4),
    "m128n128w4": AsppConfig(128, 128, 64, 4, 3),
    "m64n128w4": AsppConfig(64, 128, 64, 4, 4),
    "m64n64w4": AsppConfig(64, 64, 64, 4, 4),
}
"""Tiles that may be launched. A smaller `bk` is taken where the channels do not divide by it."""

SMALLEST_BLOCK = 16


@dataclass(frozen=True)
class Band:
    """Pixels along one axis with the same valid taps of a 3-tap kernel."""

    start: int
    size: int
    low: int
    taps: int


def bands(size: int, rate: int) -> list[Band]:
    """The bands of an axis, in order; their valid taps are a range, never an empty one."""
    if rate == POINTWISE:
        return [Band(0, size, 1, 1)]
    cuts = sorted({0, size, min(rate, size), max(size - rate, 0)})
    found = []
    for start, end in pairwise(cuts):
        valid = [tap for tap in range(3) if 0 <= start + (tap - 1) * rate < size]
        found.append(Band(start, end - start, valid[0], len(valid)))
    return found


def work_table(n: int, h: int, w: int, rates: tuple[int, ...], bm: int) -> list[list[int]]:
    """A row of COLUMNS numbers for every tile of `bm` pixels, those with the most work first."""
    found: list[list[int]] = []
    slot = 0
    for branch, rate in enumerate(rates):
        # The only tap of a 1x1 kernel is walked as the centre of a 3x3 one.
        first = slot - 4 if rate == POINTWISE else slot
        found += _tiles(n, h, w, rate, bm, branch, first)
        slot += 1 if rate == POINTWISE else 9
    return sorted(found, key=lambda row: -row[7] * row[9])


def _tiles(
    n: int, h: int, w: int, rate: int, bm: int, branch: int, first: int
) -> Iterator[list[int]]:
    for y in bands(h, rate):
        for x in bands(w, rate):
            total = n * y.size * x.size
            for start in range(0, total, bm):
                rectangle = [y.start, x.start, y.size, x.size, start, total]
                taps = [y.low, y.taps, x.low, x.taps]
                yield [*rectangle, *taps, rate, branch, first, 0, 0, 0]


@lru_cache(maxsize=64)
def _uploaded(
    n: int, h: int, w: int, rates: tuple[int, ...], bm: int, device: torch.device
) -> Tensor:
    """The table on a device. Made at the first call of a size: never while a graph is captured."""
    return torch.tensor(work_table(n, h, w, rates, bm), dtype=torch.int32, device=device)


def pack(weights: list[Tensor]) -> Tensor:
    """The weights [K, C, k, k] of all branches as the kernel reads them: [slots * C, K]."""
    parts = [w.permute(2, 3, 1, 0).reshape(-1, w.shape[0]) for w in weights]
    return torch.cat(parts).contiguous()


def reference(
    x: Tensor, weights: list[Tensor], bias: Tensor, rates: list[int], act: str, slope: float
) -> Tensor:
    """The same in plain torch, in the dtype of the operands; the weights are [K, C, k, k]."""
    own = bias.to(x.dtype).chunk(len(weights))
    found = [
        F.conv2d(x, weight, b, padding=rate, dilation=max(rate, 1))
        for weight, b, rate in zip(weights, own, rates, strict=True)
    ]
    y = activated(torch.cat(found, 1), act, slope)
    return y.contiguous(memory_format=torch.channels_last)


def fallback_reason(x: Tensor, packed: Tensor, branches: int) -> str:
    """Why the kernel cannot take these operands, or "" where it can."""
    channels, out = x.shape[1], packed.shape[1]
    if channels % SMALLEST_BLOCK:
        return f"no template: {channels} input channels do not divide by {SMALLEST_BLOCK}"
    if out % 8:
        return f"no template: {out} output channels do not divide by 8"
    try:
        refuse_dtypes(x, packed)
        pixel, _ = rows(x)
    except (TypeError, ValueError) as error:
        return str(error)
    if pixel % 8 or x.storage_offset() % 8:
        return "no template: pixels are not aligned to 16 bytes"
    result = x.shape[0] * x.shape[2] * x.shape[3] * branches * out
    if not fits_int32(x, packed) or result >= 2**30:
        return "no template: more than 2^30 elements"
    return ""


def default_config(pixels: int, out: int) -> str:
    """A tile that suits the size; what the table of measurements overrules."""
    if out <= 64:
        return "m64n64w4"
    return "m64n128w4" if pixels * out < 132 * 128 * 128 else "m128n128w8"


def launch(
    x: Tensor, packed: Tensor, bias: Tensor, rates: list[int], act: str, slope: float,
    *, config: AsppConfig, precision: str = "ieee", out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Run the kernel.

    Args:
        x: map [N, C, H, W], channels last, or a slice of the channels of one.
        packed: the weights as `pack` lays them.
        bias: [branches * K].
        rates: of the branches; POINTWISE has a 1x1 kernel, any other one of 3x3.
        act: the activation, a name of ACTIVATIONS.
        slope: of leaky_relu, or the alpha of elu.
        config: the tile.
        precision: of float32 products: "ieee", "tf32" or "tf32x3".
        out: where to write, [N, branches * K, H, W]; None makes a new map.

    Raises:
        TypeError: a dtype that no kernel takes.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    n, c, h, w = x.shape
    k = packed.shape[1]
    refuse_dtypes(x, packed)
    slots = sum(1 if rate == POINTWISE else 9 for rate in rates)
    if packed.shape[0] != slots * c or min(rates) < 0:
        raise ValueError(f"the weight {tuple(packed.shape)} is not [{slots}*{c}, K]")
    if bias.shape != (len(rates) * k,):
        raise ValueError(f"the bias is {tuple(bias.shape)}, not ({len(rates) * k},)")
    reason = fallback_reason(x, packed, len(rates))
    if reason:
        raise ValueError(reason)
    y = channels_last(n, len(rates) * k, h, w, x) if out is None else out
    if y.shape != (n, len(rates) * k, h, w):
        raise ValueError(f"the output is {tuple(y.shape)}, the result {n, len(rates) * k, h, w}")
    table = _uploaded(n, h, w, tuple(rates), config.bm, x.device)
    bk = block_depth(config.bk, c, x.dtype)
    aspp_kernel[(len(table) * triton.cdiv(k, config.bn),)](
        x, packed, y, bias, table, h, w, rows(x)[0], rows(y)[0], slope,
        C=c, K=k, ACT=ACTIVATIONS[act],
        PRECISION=precision if x.dtype == torch.float32 else "ieee",
        BM=config.bm, BN=config.bn, BK=bk,
        num_warps=config.warps, num_stages=pipeline_stages(config.stages), enable_fp_fusion=True,
    )  # fmt: skip
    return y


def key(x: Tensor, out: int, rates: list[int]) -> str:
    """What a measurement is filed under: dtype, sizes and rates, exactly."""
    n, c, h, w = x.shape
    return f"aspp {str(x.dtype)[6:]} {n}x{c}x{h}x{w}->{out} {'/'.join(map(str, rates))}"


@torch.library.custom_op(f"{NAMESPACE}::aspp_branches", mutates_args=())
def aspp_branches(
    x: Tensor, weights: list[Tensor], packed: Tensor, bias: Tensor, rates: list[int],
    act: str, slope: float,
) -> Tensor:  # fmt: skip
    """All branches beside each other: our kernel where the table says so, else the library's."""
    name = None
    if (x.is_cuda or INTERPRETED) and accepts("aspp", fallback_reason(x, packed, len(rates))):
        out = packed.shape[1]
        default = default_config(x.shape[0] * x.shape[2] * x.shape[3], out)
        name = chosen(key(x, out, rates), default)
    if name is None:
        return reference(x, weights, bias, rates, act, slope)
    return launch(x, packed, bias, rates, act, slope, config=CONFIGS[name])


@aspp_branches.register_fake
def _(x, weights, packed, bias, rates, act, slope):
    n, _, h, w = x.shape
    return channels_last(n, len(rates) * packed.shape[1], h, w, x)
