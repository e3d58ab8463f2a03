"""Convolution over two maps beside each other, neither enlarged nor concatenated in memory.

    y = after(act(conv(concat([enlarge(a), b]), weight) + bias) + residual)

The reduction walks over the taps and channels of `a`, then over those of `b`, into one accumulator.
`a` may be smaller: then its pixels are repeated (mode=nearest), which is index arithmetic where it
is read. With a 3x3 kernel and just twice the size there is less to multiply: a result pixel at an
even place sees the small pixels (i-1, i, i) along an axis, one at an odd place (i, i, i+1). So each
of the four phases is a 2x2 convolution of the small map, whose weights are sums of the old ones:
4/9 of the products (form "fold" below). Zero padding stays exact, since it is as large as a tap.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

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
from .conv import OUT_MULTIPLE, SMALLEST_BLOCK, out_size
from .conv import pack as packed_rows
from .router import chosen

FORMS = {"plain": 0, "nearest": 1, "fold": 2}
"""How `a` is read: as it is, by repeating pixels, by the four phases."""


@triton.jit
def merge_conv_kernel(
    A, B, WeightA, WeightB, Y, Bias, Residual,
    M, h, w, H, W, P, Q, a_pixel, b_pixel, y_pixel, r_pixel, scale_h, scale_w, slope,
    CA: tl.constexpr, CB: tl.constexpr, K: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    STRIDE_H: tl.constexpr, STRIDE_W: tl.constexpr,
    PAD_H: tl.constexpr, PAD_W: tl.constexpr,
    DIL_H: tl.constexpr, DIL_W: tl.constexpr, FORM: tl.constexpr,
    ACT: tl.constexpr, AFTER: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """One BM x BN tile: A [N, h, w, CA], B [N, H, W, CB] or None, Y and Residual [N, P, Q, K].

    WeightA is [R * S * CA, K], by phases [4 * 2 * 2 * CA, K]; WeightB [R * S * CB, K]. M counts the
    pixels of the result, by phases those of one phase.
    """
    tiles_m = tl.cdiv(M, BM)
    if FORM == 2:
        tiles_m = tiles_m * 4
    tiles_n: tl.constexpr = (K + BN - 1) // BN
    pid = tl.program_id(0)
    # Tiles of GROUP rows of tiles run together, so that they share the weights in L2.
    band = pid // (GROUP * tiles_n)
    height = tl.minimum(tiles_m - band * GROUP, GROUP)
    inside = pid % (GROUP * tiles_n)
    tile_m = band * GROUP + inside % height
    tile_n = inside // height

    if FORM == 2:  # the phases of the same small pixels run together: they read the same maps
        phase = tile_m % 4
        odd_h = phase // 2
        odd_w = phase % 2
        places = tile_m // 4 * BM + tl.arange(0, BM)
        image = places // (h * w)
        small_h = places // w % h
        small_w = places % w
        p = small_h * 2 + odd_h
        q = small_w * 2 + odd_w
    else:
        places = tile_m * BM + tl.arange(0, BM)
        image = places // (P * Q)
        p = places // Q % P
        q = places % Q
    real = places < M
    pixels = (image * P + p) * Q + q
    h0 = p * STRIDE_H - PAD_H
    w0 = q * STRIDE_W - PAD_W
    channels = tl.arange(0, BK)
    columns = tile_n * BN + tl.arange(0, BN)
    kept = columns < K
    acc = tl.zeros((BM, BN), dtype=tl.float32)

    BLOCKS_A: tl.constexpr = CA // BK
    wa_tile = WeightA + channels[:, None] * K + columns[None, :]
    if FORM == 2:
        wa_tile += phase * (4 * CA * K)
        a0 = small_h + odd_h - 1
        b0 = small_w + odd_w - 1
        a_tile = A + ((image * h + a0) * w + b0)[:, None] * a_pixel + channels[None, :]
        for step in tl.range(0, 4 * BLOCKS_A):
            tap = step // BLOCKS_A
            dh = tap // 2
            dw = tap % 2
            valid = real & (a0 + dh >= 0) & (a0 + dh < h) & (b0 + dw >= 0) & (b0 + dw < w)
            offset = (dh * w + dw) * a_pixel + step % BLOCKS_A * BK
            x = tl.load(a_tile + offset, mask=valid[:, None], other=0.0)
            if K % BN == 0:
                weight = tl.load(wa_tile + step * BK * K)
            else:
                weight = tl.load(wa_tile + step * BK * K, mask=kept[None, :], other=0.0)
            acc = tl.dot(x, weight, acc, input_precision=PRECISION)
    else:
        for step in tl.range(0, R * S * BLOCKS_A):
            tap = step // BLOCKS_A
            hh = h0 + tap // S * DIL_H
            ww = w0 + tap % S * DIL_W
            valid = real & (hh >= 0) & (hh < H) & (ww >= 0) & (ww < W)
            if FORM == 1:
                hh = tl.minimum((hh.to(tl.float32) * scale_h).to(tl.int32), h - 1)
                ww = tl.minimum((ww.to(tl.float32) * scale_w).to(tl.int32), w - 1)
            offset = ((image * h + hh) * w + ww) * a_pixel + step % BLOCKS_A * BK
            x = tl.load(
                A + offset[:, None] + channels[None, :], mask=valid[:, None], other=0.0
            )  # fmt: skip
            if K % BN == 0:
                weight = tl.load(wa_tile + step * BK * K)
            else:
                weight = tl.load(wa_tile + step * BK * K, mask=kept[None, :], other=0.0)
            acc = tl.dot(x, weight, acc, input_precision=PRECISION)

    if B is not None:
        BLOCKS_B: tl.constexpr = CB // BK
        wb_tile = WeightB + channels[:, None] * K + columns[None, :]
        b_tile = B + ((image * H + h0) * W + w0)[:, None] * b_pixel + channels[None, :]
        for step in tl.range(0, R * S * BLOCKS_B):
            tap = step // BLOCKS_B
            dh = tap // S * DIL_H
            dw = tap % S * DIL_W
            valid = real & (h0 + dh >= 0) & (h0 + dh < H) & (w0 + dw >= 0) & (w0 + dw < W)
            offset = (dh * W + dw) * b_pixel + step % BLOCKS_B * BK
            x = tl.load(b_tile + offset, mask=valid[:, None], other=0.0)
            if K % BN == 0:
                weight = tl.load(wb_tile + step * BK * K)
            else:
                weight = tl.load(wb_tile + step * BK * K, mask=kept[None, :], other=0.0)
            acc = tl.dot(x, weight, acc, input_precision=PRECISION)

    if Bias is not None:
        acc += tl.load(Bias + columns, mask=kept, other=0.0).to(tl.float32)[None, :]
    acc = activate(acc, ACT, slope)
    mask = real[:, None] & kept[None, :]
    if Residual is not None:
        residual = Residual + pixels[:, None] * r_pixel + columns[None, :]
        acc += tl.load(residual, mask=mask, other=0.0).to(tl.float32)
    acc = activate(acc, AFTER, slope)
    tl.store(
        Y + pixels[:, None] * y_pixel + columns[None, :], acc.to(Y.dtype.element_ty), mask=mask
    )


@dataclass(frozen=True)
class MergeConfig:
    """How a result is cut: rows, columns and depth of a tile, its schedule, and how `a` is read.

    With `fold` by the four phases, which asks for a 3x3 kernel and just twice the size.
    """

    bm: int
    bn: int
    bk: int
    warps: int
    stages: int
    fold: bool = False
    group: int = 8


CONFIGS: dict[str, MergeConfig] = {
    "m128n128w8": MergeConfig(128, 128, 64, 8, 3),
    "m128n64w4": MergeConfig(128, 64, 64, 4, 3),
    "m64n32w4": MergeConfig(64, 32, 32, 4, 4),
    "fold m128n128w8": MergeConfig(128, 128, 64, 8, 3, fold=True),
    "fold m128n64w4": MergeConfig(128, 64, 64, 4, 3, fold=True),
    "fold m64n32w4": MergeConfig(64, 32, 32, 4, 4, fold=True),
}
"""Tiles that may be launched. A smaller `bk` is taken where the channels do not divide by it."""


@dataclass(frozen=True)
class Geometry:
    """What a call is besides its tensors.

    Attributes:
        size: height and width of the maps beside each other, to which `a` is enlarged.
        kernel: its height and width; likewise `stride`, `padding`, `dilation`.
        act: the activation behind the bias, a name of ACTIVATIONS.
        after: the one behind the residual.
        slope: of leaky_relu, or the alpha of elu.
        swapped: whether the channels of `b` come before those of `a` in the weight.
    """

    size: list[int]
    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    act: str = "none"
    after: str = "none"
    slope: float = 0.0
    swapped: bool = False

    @property
    def result(self) -> tuple[int, int]:
        """Height and width of the result."""
        numbers = (self.size, self.kernel, self.stride, self.padding, self.dilation)
        p, q = (out_size(*axis) for axis in zip(*numbers, strict=True))
        return p, q

    def folds(self, a: Tensor) -> bool:
        """Whether the four phases compute this call."""
        plain = (self.kernel, self.stride, self.padding, self.dilation)
        doubled = [2 * n for n in a.shape[2:]] == self.size
        return doubled and plain == ([3, 3], [1, 1], [1, 1], [1, 1])


@dataclass(frozen=True)
class Packed:
    """The weight as the kernel reads it: rows of taps, then of channels, [rows, K].

    Attributes:
        a: of the first map.
        folded: of the first map by phases; empty where they cannot be asked for.
        b: of the second map; empty without one.
    """

    a: Tensor
    folded: Tensor
    b: Tensor


def phases(weight: Tensor) -> Tensor:
    """The weights of the four phases, [4 * 2 * 2 * C, K], of a weight [K, C, 3, 3].

    They are summed in at least float32 and rounded once.
    """
    sums = torch.tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], device=weight.device)
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    sums = sums.to(wide.dtype)
    found = torch.einsum("pry,qsx,kcyx->pqrsck", sums, sums, wide).flatten(0, 4)
    return found.to(weight.dtype).contiguous()


def pack(weight: Tensor, channels: int, *, folded: bool, swapped: bool = False) -> Packed:
    """A weight [K, CA + CB, R, S] for maps of which `a` has `channels`."""
    rest = weight.shape[1] - channels
    parts = weight.split([rest, channels] if swapped else [channels, rest], 1)
    a, b = parts[::-1] if swapped else parts
    none = weight.new_empty(0)
    by_phases = folded and tuple(weight.shape[2:]) == (3, 3)
    return Packed(packed_rows(a), phases(a) if by_phases else none, packed_rows(b))


def reference(
    a: Tensor, b: Tensor | None, weight: Tensor, bias: Tensor | None, residual: Tensor | None,
    call: Geometry,
) -> Tensor:  # fmt: skip
    """The same in plain torch, in the dtype of the operands; `weight` is [K, CA + CB, R, S]."""
    x = a if list(a.shape[2:]) == call.size else F.interpolate(a, call.size, mode="nearest")
    x = x if b is None else torch.cat([b, x] if call.swapped else [x, b], 1)
    y = F.conv2d(x, weight, bias, call.stride, call.padding, call.dilation)
    y = activated(y, call.act, call.slope)
    y = y if residual is None else y + residual
    return activated(y, call.after, call.slope).contiguous(memory_format=torch.channels_last)


def fallback_reason(
    a: Tensor, b: Tensor | None, weight: Tensor, residual: Tensor | None, call: Geometry
) -> str:
    """Why the kernel cannot take these operands, or "" where it can."""
    maps = [a] if b is None else [a, b]
    for x in maps:
        if x.shape[1] % SMALLEST_BLOCK:
            return f"no template: {x.shape[1]} input channels do not divide by {SMALLEST_BLOCK}"
    if weight.shape[0] % OUT_MULTIPLE:
        return f"no template: {weight.shape[0]} output channels do not divide by {OUT_MULTIPLE}"
    try:
        refuse_dtypes(*maps, weight, residual)
        pixels = [rows(x)[0] for x in maps]
        if residual is not None:
            rows(residual)
    except (TypeError, ValueError) as error:
        return str(error)
    if any(pixel % 8 for pixel in pixels) or any(x.storage_offset() % 8 for x in maps):
        return "no template: pixels are not aligned to 16 bytes"
    p, q = call.result
    result = a.shape[0] * p * q * weight.shape[0]
    if not fits_int32(*maps, weight, residual) or result >= 2**30:
        return "no template: more than 2^30 elements"
    return ""


def default_config(out: int, *, fold: bool) -> str:
    """A tile that suits the channels of the result; what the table of measurements overrules."""
    tile = "m64n32w4" if out <= 32 else "m128n64w4" if out <= 64 else "m128n128w8"
    return f"fold {tile}" if fold else tile


def launch(
    a: Tensor, b: Tensor | None, weight: Tensor, packed: Packed, bias: Tensor | None,
    residual: Tensor | None, call: Geometry,
    *, config: MergeConfig, precision: str = "ieee", out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Run the kernel.

    Args:
        a: map [N, CA, h, w], channels last, or a slice of the channels of one; enlarged to
            `call.size` by repeating pixels.
        b: map [N, CB, H, W] of just that size, likewise; or None.
        weight: [K, CA + CB, R, S], or CB + CA where `call.swapped`; for its shape.
        packed: the same as `pack` lays it.
        bias: [K], or None.
        residual: map [N, K, P, Q] that is added behind the first activation, or None.
        call: sizes, geometry and activations.
        config: the tile, and how `a` is read.
        precision: of float32 products: "ieee", "tf32" or "tf32x3".
        out: where to write, as a slice of a wider map; None makes a new map.

    Raises:
        TypeError: a dtype that no kernel takes.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    n, ca, h, w = a.shape
    cb = 0 if b is None else b.shape[1]
    k, (p, q) = weight.shape[0], call.result
    refuse_dtypes(a, b, weight, residual)
    _check(a, b, weight, packed, residual, call)
    if config.fold and not (call.folds(a) and packed.folded.numel()):
        raise ValueError("the four phases need a 3x3 kernel, padding 1 and just twice the size")
    reason = fallback_reason(a, b, weight, residual, call)
    if reason:
        raise ValueError(reason)
    y = channels_last(n, k, p, q, a) if out is None else out
    if y.shape != (n, k, p, q):
        raise ValueError(f"the output is {tuple(y.shape)}, the result {(n, k, p, q)}")
    same = [h, w] == call.size
    form = FORMS["fold" if config.fold else "plain" if same else "nearest"]
    pixels = n * h * w if config.fold else n * p * q
    tiles = triton.cdiv(pixels, config.bm) * (4 if config.fold else 1)
    merge_conv_kernel[(tiles * triton.cdiv(k, config.bn),)](
        a, b, packed.folded if config.fold else packed.a, packed.b if cb else None, y, bias,
        residual, pixels, h, w, *call.size, p, q, rows(a)[0], 0 if b is None else rows(b)[0],
        rows(y)[0], 0 if residual is None else rows(residual)[0],
        h / call.size[0], w / call.size[1], call.slope,
        CA=ca, CB=cb, K=k, R=call.kernel[0], S=call.kernel[1],
        STRIDE_H=call.stride[0], STRIDE_W=call.stride[1],
        PAD_H=call.padding[0], PAD_W=call.padding[1],
        DIL_H=call.dilation[0], DIL_W=call.dilation[1], FORM=form,
        ACT=ACTIVATIONS[call.act], AFTER=ACTIVATIONS[call.after],
        PRECISION=precision if a.dtype == torch.float32 else "ieee",
        BM=config.bm, BN=config.bn, BK=block_depth(config.bk, gcd(ca, cb), a.dtype),
        GROUP=config.group, num_warps=config.warps,
        num_stages=pipeline_stages(config.stages), enable_fp_fusion=True,
    )  # fmt: skip
    return y


def _check(
    a: Tensor, b: Tensor | None, weight: Tensor, packed: Packed, residual: Tensor | None,
    call: Geometry,
) -> None:  # fmt: skip
    """Refuse operands whose sizes do not go together."""
    n, ca = a.shape[:2]
    cb = 0 if b is None else b.shape[1]
    k, taps = weight.shape[0], call.kernel[0] * call.kernel[1]
    if tuple(weight.shape[1:]) != (ca + cb, *call.kernel):
        raise ValueError(f"the weight {tuple(weight.shape)} is not [K, {ca} + {cb}, R, S]")
    if packed.a.shape != (taps * ca, k) or (cb and packed.b.shape != (taps * cb, k)):
        raise ValueError("the packed weight is not that of these maps")
    if b is not None and (b.shape[0] != n or list(b.shape[2:]) != call.size):
        raise ValueError(f"the second map is {tuple(b.shape)}, not {n} of {call.size}")
    if residual is not None and residual.shape != (n, k, *call.result):
        raise ValueError(f"the residual is {tuple(residual.shape)}, not {(n, k, *call.result)}")


def key(
    a: Tensor, b: Tensor | None, out: int, residual: Tensor | None, call: Geometry
) -> str:  # fmt: skip
    """What a measurement is filed under: dtype, sizes and geometry, exactly."""
    maps = "+".join("x".join(map(str, x.shape)) for x in ([a] if b is None else [a, b]))
    numbers = (call.kernel, call.stride, call.padding, call.dilation)
    geometry = "/".join("x".join(map(str, pair)) for pair in numbers)
    size = "" if b is not None else f"@{call.size[0]}x{call.size[1]}"
    tail = "+res" * (residual is not None)
    return f"merge_conv {str(a.dtype)[6:]} {maps}{size}->{out} {geometry}{tail}"


@torch.library.custom_op(f"{NAMESPACE}::merge_conv", mutates_args=())
def merge_conv(
    a: Tensor, b: Tensor | None, weight: Tensor, packed: list[Tensor], bias: Tensor | None,
    residual: Tensor | None, size: list[int], stride: list[int], padding: list[int],
    dilation: list[int], act: str, after: str, slope: float, swapped: bool,
) -> Tensor:  # fmt: skip
    """Convolution over two maps: our kernel where the table says so, else the library's.

    `packed` holds the three tensors of Packed, in order.
    """
    kernel = list(weight.shape[2:])
    call = Geometry(size, kernel, stride, padding, dilation, act, after, slope, swapped)
    name = None
    if (a.is_cuda or INTERPRETED) and not fallback_reason(a, b, weight, residual, call):
        fold = call.folds(a) and packed[1].numel() > 0
        default = default_config(weight.shape[0], fold=fold)
        name = chosen(key(a, b, weight.shape[0], residual, call), default)
    if name is None:
        return reference(a, b, weight, bias, residual, call)
    return launch(a, b, weight, Packed(*packed), bias, residual, call, config=CONFIGS[name])


@merge_conv.register_fake
def _(
    a, b, weight, packed, bias, residual, size, stride, padding, dilation, act, after, slope,
    swapped,
):  # fmt: skip
    call = Geometry(size, list(weight.shape[2:]), stride, padding, dilation)
    return channels_last(a.shape[0], weight.shape[0], *call.result, a)
