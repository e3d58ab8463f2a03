"""Convolution as implicit GEMM, channels last, with its epilogue in the same kernel.

    y = after(act(conv(x, weight) + bias + image_bias) + residual)

Pixels are the rows, output channels the columns, and one flat loop walks over kernel taps and
blocks of input channels: nested or unrolled tap loops spill registers. Any stride, dilation and
zero padding; the input may be a slice of the channels of a larger map, so that concatenations need
no copy, and so may the output.
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
    block_depth,
    channels_last,
    fits_int32,
    pipeline_stages,
    refuse_dtypes,
    rows,
)
from .router import accepts, chosen


@triton.jit
def conv_kernel(
    X, Weight, Y, Bias, ImageBias, Residual,
    M, H, W, P, Q, x_pixel, y_pixel, r_pixel, slope,
    C: tl.constexpr, K: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    STRIDE_H: tl.constexpr, STRIDE_W: tl.constexpr,
    PAD_H: tl.constexpr, PAD_W: tl.constexpr,
    DIL_H: tl.constexpr, DIL_W: tl.constexpr,
    ACT: tl.constexpr, AFTER: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """One BM x BN tile: X [N, H, W, C], Weight [R * S * C, K], Y and Residual [N, P, Q, K].

    Bias is [K]; ImageBias, which differs from image to image, [N, K].
    """
    tiles_m = tl.cdiv(M, BM)
    tiles_n: tl.constexpr = (K + BN - 1) // BN
    pid = tl.program_id(0)
    # Tiles of GROUP rows of tiles run together, so that they share the weights in L2.
    band = pid // (GROUP * tiles_n)
    height = tl.minimum(tiles_m - band * GROUP, GROUP)
    inside = pid % (GROUP * tiles_n)
    tile_m = band * GROUP + inside % height
    tile_n = inside // height

    pixels = tile_m * BM + tl.arange(0, BM)
    real = pixels < M
    image = pixels // (P * Q)
    h0 = (pixels // Q) % P * STRIDE_H - PAD_H
    w0 = pixels % Q * STRIDE_W - PAD_W
    channels = tl.arange(0, BK)
    columns = tile_n * BN + tl.arange(0, BN)
    x_rows = X + ((image * H + h0) * W + w0) * x_pixel
    x_tile = x_rows[:, None] + channels[None, :]
    w_tile = Weight + channels[:, None] * K + columns[None, :]
    kept = columns < K

    BLOCKS: tl.constexpr = C // BK
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for step in tl.range(0, R * S * BLOCKS):
        tap = step // BLOCKS
        block = step % BLOCKS
        dh = tap // S * DIL_H
        dw = tap % S * DIL_W
        hh = h0 + dh
        ww = w0 + dw
        valid = real & (hh >= 0) & (hh < H) & (ww >= 0) & (ww < W)
        x = tl.load(x_tile + ((dh * W + dw) * x_pixel + block * BK), mask=valid[:, None], other=0.0)
        if K % BN == 0:
            w = tl.load(w_tile + step * BK * K)
        else:
            w = tl.load(w_tile + step * BK * K, mask=kept[None, :], other=0.0)
        acc = tl.dot(x, w, acc, input_precision=PRECISION)

    if Bias is not None:
        acc += tl.load(Bias + columns, mask=kept, other=0.0).to(tl.float32)[None, :]
    mask = real[:, None] & kept[None, :]
    if ImageBias is not None:
        own = ImageBias + image[:, None] * K + columns[None, :]
        acc += tl.load(own, mask=mask, other=0.0).to(tl.float32)
    acc = activate(acc, ACT, slope)
    if Residual is not None:
        residual = Residual + pixels[:, None] * r_pixel + columns[None, :]
        acc += tl.load(residual, mask=mask, other=0.0).to(tl.float32)
    acc = activate(acc, AFTER, slope)
    tl.store(
        Y + pixels[:, None] * y_pixel + columns[None, :], acc.to(Y.dtype.element_ty), mask=mask
    )


@dataclass(frozen=True)
class ConvConfig:
    """How a convolution is cut: rows, columns and depth of a tile, and its schedule."""

    bm: int
    bn: int
    bk: int
    warps: int
    stages: int
    group: int = 8


CONFIGS: dict[str, ConvConfig] = {
    "m128n128w4": ConvConfig(128, 128, 64, 4, 4),
    "m128n128w8": ConvConfig(128, 128, 64, 8, 4),
    "m128n256w8": ConvConfig(128, 256, 64, 8, 3),
    "m64n128w4": ConvConfig(64, 128, 64, 4, 4),
    "m128n64w4": ConvConfig(128, 64, 64, 4, 4),
    "m64n64w4": ConvConfig(64, 64, 64, 4, 4),
    "m64n32w4": ConvConfig(64, 32, 32, 4, 4),
    "m64n16w4": ConvConfig(64, 16, 64, 4, 4),
}
"""Tiles that may be launched. A smaller `bk` is taken where the channels do not divide by it."""

WITH_RESIDUAL = frozenset({"m64n128w4", "m128n64w4", "m128n128w8", "m64n64w4", "m64n32w4",
                           "m64n16w4"})  # fmt: skip
"""The tiles that leave registers for a residual or a bias of images: the others spill."""

SMALLEST_BLOCK = 16
OUT_MULTIPLE = 8


def pack(weight: Tensor) -> Tensor:
    """A weight [K, C, R, S] as the kernel reads it: [R * S * C, K]."""
    out, channels, height, width = weight.shape
    return weight.permute(2, 3, 1, 0).reshape(height * width * channels, out).contiguous()


def fallback_reason(x: Tensor, packed: Tensor, residual: Tensor | None) -> str:
    """Why the kernel cannot take these operands, or "" where it can."""
    channels, out = x.shape[1], packed.shape[1]
    if channels % SMALLEST_BLOCK:
        return f"no template: {channels} input channels do not divide by {SMALLEST_BLOCK}"
    if out % OUT_MULTIPLE:
        return f"no template: {out} output channels do not divide by {OUT_MULTIPLE}"
    try:
        refuse_dtypes(x, packed, residual)
        pixel, _ = rows(x)
        if residual is not None:
            rows(residual)
    except (TypeError, ValueError) as error:
        return str(error)
    if pixel % 8 or x.storage_offset() % 8:
        return "no template: pixels are not aligned to 16 bytes"
    if not fits_int32(x, packed, residual):
        return "no template: more than 2^30 elements"
    return ""


def default_config(pixels: int, out: int, *, residual: bool) -> str:
    """A tile that suits the size of the result; what the table of measurements overrules.

    `residual` also stands for a bias of images: both need registers.
    """
    if out <= 16:
        return "m64n16w4"
    if out <= 32:
        return "m64n32w4"
    if out <= 64:
        return "m128n64w4"
    if pixels * out < 132 * 2 * 128 * 128:
        return "m64n128w4"
    return "m128n128w8" if residual else "m128n128w4"


def out_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Pixels of the result along one axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def reference(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None,
    stride: list[int], padding: list[int], dilation: list[int],
    act: str, after: str, slope: float, image_bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The same in plain torch, in the dtype of the operands; `weight` is [K, C, R, S]."""
    y = F.conv2d(x, weight, bias, stride, padding, dilation)
    y = y if image_bias is None else y + image_bias[:, :, None, None]
    y = activated(y, act, slope)
    y = y if residual is None else y + residual
    return activated(y, after, slope).contiguous(memory_format=torch.channels_last)


def launch(
    x: Tensor, packed: Tensor, bias: Tensor | None, residual: Tensor | None,
    kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
    act: str, after: str, slope: float,
    *, config: ConvConfig, precision: str = "ieee", out: Tensor | None = None,
    image_bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Run the kernel.

    Args:
        x: map [N, C, H, W], channels last, or a slice of the channels of one.
        packed: the weight as [R * S * C, K]: taps row by row, then input channels.
        bias: [K], or None.
        residual: map [N, K, P, Q] that is added behind `act`, or None.
        kernel: its height and width; likewise stride, padding, dilation.
        act: the activation behind the bias, a name of ACTIVATIONS.
        after: the one behind the residual.
        slope: of leaky_relu, or the alpha of elu.
        config: the tile.
        precision: of float32 products: "ieee", "tf32" or "tf32x3".
        out: where to write, as a slice of a wider map; None makes a new map.
        image_bias: [N, K], added to every pixel of an image beside `bias`, or None.

    Raises:
        TypeError: a dtype that no kernel takes.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    n, c, h, w = x.shape
    k = packed.shape[1]
    p = out_size(h, kernel[0], stride[0], padding[0], dilation[0])
    q = out_size(w, kernel[1], stride[1], padding[1], dilation[1])
    refuse_dtypes(x, packed, residual)
    if packed.shape[0] != kernel[0] * kernel[1] * c:
        raise ValueError(
            f"the weight {tuple(packed.shape)} is not [{kernel[0]}*{kernel[1]}*{c}, K]"
        )
    if residual is not None and residual.shape != (n, k, p, q):
        raise ValueError(f"the residual is {tuple(residual.shape)}, the result {(n, k, p, q)}")
    if image_bias is not None and (image_bias.shape != (n, k) or not image_bias.is_contiguous()):
        raise ValueError(f"the bias of images is {tuple(image_bias.shape)}, not {(n, k)}")
    reason = fallback_reason(x, packed, residual)
    if reason:
        raise ValueError(reason)
    y = channels_last(n, k, p, q, x) if out is None else out
    if y.shape != (n, k, p, q):
        raise ValueError(f"the output is {tuple(y.shape)}, the result {(n, k, p, q)}")
    bk = block_depth(config.bk, c, x.dtype)
    grid = (triton.cdiv(n * p * q, config.bm) * triton.cdiv(k, config.bn),)
    conv_kernel[grid](
        x, packed, y, bias, image_bias, residual,
        n * p * q, h, w, p, q, rows(x)[0], rows(y)[0],
        0 if residual is None else rows(residual)[0], slope,
        C=c, K=k, R=kernel[0], S=kernel[1], STRIDE_H=stride[0], STRIDE_W=stride[1],
        PAD_H=padding[0], PAD_W=padding[1], DIL_H=dilation[0], DIL_W=dilation[1],
        ACT=ACTIVATIONS[act], AFTER=ACTIVATIONS[after],
        PRECISION=precision if x.dtype == torch.float32 else "ieee",
        BM=config.bm, BN=config.bn, BK=bk, GROUP=config.group,
        num_warps=config.warps, num_stages=pipeline_stages(config.stages), enable_fp_fusion=True,
    )  # fmt: skip
    return y


def key(
    x: Tensor, weight: Tensor, residual: Tensor | None, numbers: list[list[int]],
    image_bias: Tensor | None = None,
) -> str:  # fmt: skip
    """What a measurement is filed under: dtype, sizes and geometry, exactly."""
    n, c, h, w = x.shape
    geometry = "/".join("x".join(map(str, pair)) for pair in [list(weight.shape[2:]), *numbers])
    tail = "+image" * (image_bias is not None) + "+res" * (residual is not None)
    return f"conv {str(x.dtype)[6:]} {n}x{c}x{h}x{w}->{weight.shape[0]} {geometry}{tail}"


@torch.library.custom_op(f"{NAMESPACE}::conv_block", mutates_args=())
def conv_block(
    x: Tensor, weight: Tensor, packed: Tensor, bias: Tensor | None, residual: Tensor | None,
    stride: list[int], padding: list[int], dilation: list[int],
    act: str, after: str, slope: float, image_bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Convolution with its epilogue: our kernel where the table says so, else the library's."""
    name = None
    if (x.is_cuda or INTERPRETED) and accepts("conv", fallback_reason(x, packed, residual)):
        pixels = x.shape[0] * x.shape[2] * x.shape[3]
        # Products of float32 are summed without the matrix units, which takes registers too.
        more = residual is not None or image_bias is not None or x.dtype == torch.float32
        default = default_config(pixels, weight.shape[0], residual=more)
        numbers = [stride, padding, dilation]
        name = chosen(key(x, weight, residual, numbers, image_bias), default)
    rest = (stride, padding, dilation, act, after, slope)
    if name is None:
        return reference(x, weight, bias, residual, *rest, image_bias)
    kernel = list(weight.shape[2:])
    tile = CONFIGS[name]
    return launch(x, packed, bias, residual, kernel, *rest, config=tile, image_bias=image_bias)


@conv_block.register_fake
def _(
    x, weight, packed, bias, residual, stride, padding, dilation, act, after, slope,
    image_bias=None,
):  # fmt: skip
    n, _, h, w = x.shape
    p = out_size(h, weight.shape[2], stride[0], padding[0], dilation[0])
    q = out_size(w, weight.shape[3], stride[1], padding[1], dilation[1])
    return channels_last(n, weight.shape[0], p, q, x)
