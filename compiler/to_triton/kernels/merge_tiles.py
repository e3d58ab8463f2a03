"""The tiles of the convolution over two maps: the kernel, and how a result may be cut."""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl

from .common import activate

FORMS = {"plain": 0, "nearest": 1, "fold": 2, "pad": 3}
"""How `a` is read: as it is, by repeating pixels, by the four phases, with zeros around it."""


@triton.jit
def merge_conv_kernel(
    A, B, WeightA, WeightB, Y, Bias, Residual,
    M, h, w, H, W, P, Q, top, left, a_pixel, b_pixel, y_pixel, r_pixel, scale_h, scale_w, slope,
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
            elif FORM == 3:
                hh = hh - top
                ww = ww - left
                valid = valid & (hh >= 0) & (hh < h) & (ww >= 0) & (ww < w)
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
