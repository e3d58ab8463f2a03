"""Convolution that works a batch norm and its activation into what it reads.

    y = act(conv(pad(before(concat([a, b]) * scale + shift)), weight) + bias)

The layers of dense networks (DenseNet, Tiramisu) are of this form. The norm comes first, so it
cannot be worked into the weights: a padded pixel is exactly 0 to the convolution, not
before(shift). Each tile is normalised in registers on its way to the matrix units, and the padding
is put in after that. `a` and `b` may be slices of the channels of larger maps, and so may the
result: a layer reads the first channels of a buffer and writes the next ones.
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
from .conv import out_size
from .router import accepts, chosen

MULTIPLE = 16
"""Channels are rounded up to it in the packed weight: the depth of the smallest tile."""

ALIGNED = 8
"""Pixels must lie at multiples of as many elements: 16 bytes of half precision."""


@triton.jit
def prologue(
    x, Scale, Shift, places, valid, there, slope, BEFORE: tl.constexpr, MASK: tl.constexpr
):  # fmt: skip
    """A tile behind its norm and activation, 0 where there is no pixel or no channel."""
    if MASK:
        factor = tl.load(Scale + places, mask=there, other=0.0).to(tl.float32)
        offset = tl.load(Shift + places, mask=there, other=0.0).to(tl.float32)
    else:
        factor = tl.load(Scale + places).to(tl.float32)
        offset = tl.load(Shift + places).to(tl.float32)
    y = activate(x.to(tl.float32) * factor[None, :] + offset[None, :], BEFORE, slope)
    y = tl.where(valid[:, None], y, 0.0)
    if MASK:
        y = tl.where(there[None, :], y, 0.0)
    return y.to(x.dtype)


@triton.jit
def pre_conv_kernel(
    A, B, Scale, Shift, Weight, Y, Bias,
    M, H, W, P, Q, a_pixel, b_pixel, y_pixel, before_slope, slope,
    CA: tl.constexpr, CB: tl.constexpr, K: tl.constexpr, KP: tl.constexpr,
    R: tl.constexpr, S: tl.constexpr, STRIDE_H: tl.constexpr, STRIDE_W: tl.constexpr,
    PAD_H: tl.constexpr, PAD_W: tl.constexpr, DIL_H: tl.constexpr, DIL_W: tl.constexpr,
    BEFORE: tl.constexpr, ACT: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """One BM x BN tile: A [N, H, W, CA], B [N, H, W, CB] or None, Y [N, P, Q, K].

    Scale and Shift are [CA + CB]. Weight is [R * S * CA, KP] and then [R * S * CB, KP], where CA,
    CB and K are rounded up to 16 by zeros.
    """
    tiles_n: tl.constexpr = (KP + BN - 1) // BN
    pid = tl.program_id(0)
    pixels = pid // tiles_n * BM + tl.arange(0, BM)
    real = pixels < M
    image = pixels // (P * Q)
    h0 = (pixels // Q) % P * STRIDE_H - PAD_H
    w0 = pixels % Q * STRIDE_W - PAD_W
    first = (image * H + h0) * W + w0
    channels = tl.arange(0, BK)
    columns = pid % tiles_n * BN + tl.arange(0, BN)
    stored = columns < KP
    w_tile = Weight + channels[:, None] * KP + columns[None, :]
    acc = tl.zeros((BM, BN), dtype=tl.float32)

    BLOCKS_A: tl.constexpr = (CA + BK - 1) // BK
    MASK_A: tl.constexpr = CA % BK != 0
    a_tile = A + first[:, None] * a_pixel + channels[None, :]
    for step in tl.range(0, R * S * BLOCKS_A):
        tap = step // BLOCKS_A
        base = step % BLOCKS_A * BK
        dh = tap // S * DIL_H
        dw = tap % S * DIL_W
        valid = real & (h0 + dh >= 0) & (h0 + dh < H) & (w0 + dw >= 0) & (w0 + dw < W)
        there = base + channels < CA
        mask = valid[:, None]
        if MASK_A:
            mask = mask & there[None, :]
        x = tl.load(a_tile + ((dh * W + dw) * a_pixel + base), mask=mask, other=0.0)
        places = base + channels
        x = prologue(x, Scale, Shift, places, valid, there, before_slope, BEFORE, MASK_A)
        if KP % BN == 0:
            weight = tl.load(w_tile + step * BK * KP)
        else:
            weight = tl.load(w_tile + step * BK * KP, mask=stored[None, :], other=0.0)
        acc = tl.dot(x, weight, acc, input_precision=PRECISION)

    if B is not None:
        BLOCKS_B: tl.constexpr = (CB + BK - 1) // BK
        MASK_B: tl.constexpr = CB % BK != 0
        b_tile = B + first[:, None] * b_pixel + channels[None, :]
        w_next = w_tile + R * S * BLOCKS_A * BK * KP
        for step in tl.range(0, R * S * BLOCKS_B):
            tap = step // BLOCKS_B
            base = step % BLOCKS_B * BK
            dh = tap // S * DIL_H
            dw = tap % S * DIL_W
            valid = real & (h0 + dh >= 0) & (h0 + dh < H) & (w0 + dw >= 0) & (w0 + dw < W)
            there = base + channels < CB
            mask = valid[:, None]
            if MASK_B:
                mask = mask & there[None, :]
            x = tl.load(b_tile + ((dh * W + dw) * b_pixel + base), mask=mask, other=0.0)
            places = CA + base + channels
            x = prologue(x, Scale, Shift, places, valid, there, before_slope, BEFORE, MASK_B)
            if KP % BN == 0:
                weight = tl.load(w_next + step * BK * KP)
            else:
                weight = tl.load(w_next + step * BK * KP, mask=stored[None, :], other=0.0)
            acc = tl.dot(x, weight, acc, input_precision=PRECISION)

    kept = columns < K
    if Bias is not None:
        acc += tl.load(Bias + columns, mask=kept, other=0.0).to(tl.float32)[None, :]
    acc = activate(acc, ACT, slope)
    tl.store(
        Y + pixels[:, None] * y_pixel + columns[None, :], acc.to(Y.dtype.element_ty),
        mask=real[:, None] & kept[None, :],
    )  # fmt: skip


@dataclass(frozen=True)
class PreConfig:
    """How a result is cut: rows, columns and depth of a tile, and its schedule."""

    bm: int
    bn: int
    bk: int
    warps: int
    stages: int


CONFIGS: dict[str, PreConfig] = {
    "m128n16w4": PreConfig(128, 16, 64, 4, 3),
    "m128n64w4": PreConfig(128, 64, 64, 4, 3),
    "m128n128w8": PreConfig(128, 128, 64, 8, 3),
}
"""Tiles that may be launched. A smaller `bk` is taken where the channels do not divide by it."""


@dataclass(frozen=True)
class Geometry:
    """What a call is besides its tensors.

    Attributes:
        out: channels of the result.
        kernel: height and width of the kernel; likewise `stride`, `padding`, `dilation`.
        before: the activation behind the norm, a name of ACTIVATIONS.
        before_slope: its slope, of leaky_relu, or the alpha of elu.
        act: the activation behind the bias; `slope` is that of this one.
    """

    out: int
    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    before: str = "relu"
    before_slope: float = 0.0
    act: str = "none"
    slope: float = 0.0

    def result(self, x: Tensor) -> tuple[int, int]:
        """Height and width of what comes of a map."""
        numbers = (list(x.shape[2:]), self.kernel, self.stride, self.padding, self.dilation)
        p, q = (out_size(*axis) for axis in zip(*numbers, strict=True))
        return p, q


def rounded(channels: int) -> int:
    """The next multiple of the smallest block."""
    return -(-channels // MULTIPLE) * MULTIPLE


def pack(weight: Tensor, parts: list[int]) -> Tensor:
    """A weight [K, C, R, S] as the kernel reads it, for maps whose channels are `parts`."""
    found = []
    for part in weight.split(parts, 1):
        extra = [0, 0, 0, 0, 0, rounded(part.shape[1]) - part.shape[1]]
        extra += [0, rounded(len(part)) - len(part)]
        wide = F.pad(part, extra)
        found.append(wide.permute(2, 3, 1, 0).reshape(-1, wide.shape[0]))
    return torch.cat(found).contiguous()


def normalised(x: Tensor, scale: Tensor, shift: Tensor, before: str, slope: float) -> Tensor:
    """The norm and the activation in plain torch, in the dtype of `x`."""
    factor, offset = (v.to(x.dtype)[:, None, None] for v in (scale, shift))
    return activated(torch.addcmul(offset, x, factor), before, slope)


def reference(
    x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor | None, call: Geometry
) -> Tensor:
    """The same in plain torch, in the dtype of the operands; `weight` is [K, C, R, S]."""
    z = normalised(x, scale, shift, call.before, call.before_slope)
    y = F.conv2d(z, weight, bias, call.stride, call.padding, call.dilation)
    y = activated(y, call.act, call.slope)
    return y.contiguous(memory_format=torch.channels_last)


def fallback_reason(maps: list[Tensor], packed: Tensor, call: Geometry) -> str:
    """Why the kernel cannot take these maps, or "" where it can."""
    try:
        refuse_dtypes(*maps, packed)
        pixels = [rows(x)[0] for x in maps]
    except (TypeError, ValueError) as error:
        return str(error)
    if any(pixel % ALIGNED for pixel in pixels) or any(x.storage_offset() % ALIGNED for x in maps):
        return "no template: pixels are not aligned to 16 bytes"
    p, q = call.result(maps[0])
    if not fits_int32(*maps, packed) or maps[0].shape[0] * p * q * call.out >= 2**30:
        return "no template: more than 2^30 elements"
    return ""


def default_config(out: int) -> str:
    """A tile that suits the channels of the result; what the table of measurements overrules."""
    if out <= 16:
        return "m128n16w4"
    return "m128n64w4" if out <= 64 else "m128n128w8"


def launch(
    maps: list[Tensor], scale: Tensor, shift: Tensor, packed: Tensor, bias: Tensor | None,
    call: Geometry,
    *, config: PreConfig, precision: str = "ieee", out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Run the kernel.

    Args:
        maps: one map [N, CA, H, W], or two that lie beside each other; channels last, or slices of
            the channels of such maps.
        scale: [CA + CB], the factor of the norm; likewise `shift`.
        packed: the weight as `pack` lays it.
        bias: [K], or None.
        call: geometry and activations.
        config: the tile.
        precision: of float32 products: "ieee", "tf32" or "tf32x3".
        out: where to write, as a slice of a wider map, which may be that of `maps`; None makes a
            new map.

    Raises:
        TypeError: a dtype that no kernel takes.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    a, b = (maps[0], maps[1]) if len(maps) == 2 else (maps[0], None)
    n, ca, h, w = a.shape
    cb, k = 0 if b is None else b.shape[1], call.out
    p, q = call.result(a)
    refuse_dtypes(*maps, packed)
    depth = (rounded(ca) + rounded(cb)) * call.kernel[0] * call.kernel[1]
    if packed.shape != (depth, rounded(k)):
        raise ValueError(f"the weight {tuple(packed.shape)} is not {(depth, rounded(k))}")
    if scale.shape != (ca + cb,) or shift.shape != (ca + cb,):
        raise ValueError(f"the norm is {tuple(scale.shape)}, the channels {ca + cb}")
    if b is not None and (b.shape[0], *b.shape[2:]) != (n, h, w):
        raise ValueError(f"the second map is {tuple(b.shape)}, the first {tuple(a.shape)}")
    reason = fallback_reason(maps, packed, call)
    if reason:
        raise ValueError(reason)
    y = channels_last(n, k, p, q, a) if out is None else out
    if y.shape != (n, k, p, q):
        raise ValueError(f"the output is {tuple(y.shape)}, the result {(n, k, p, q)}")
    grid = (triton.cdiv(n * p * q, config.bm) * triton.cdiv(rounded(k), config.bn),)
    pre_conv_kernel[grid](
        a, b, scale, shift, packed, y, bias,
        n * p * q, h, w, p, q, rows(a)[0], 0 if b is None else rows(b)[0], rows(y)[0],
        call.before_slope, call.slope,
        CA=ca, CB=cb, K=k, KP=rounded(k), R=call.kernel[0], S=call.kernel[1],
        STRIDE_H=call.stride[0], STRIDE_W=call.stride[1],
        PAD_H=call.padding[0], PAD_W=call.padding[1],
        DIL_H=call.dilation[0], DIL_W=call.dilation[1],
        BEFORE=ACTIVATIONS[call.before], ACT=ACTIVATIONS[call.act],
        PRECISION=precision if a.dtype == torch.float32 else "ieee",
        BM=config.bm, BN=config.bn,
        BK=block_depth(config.bk, gcd(rounded(ca), rounded(cb)), a.dtype),
        num_warps=config.warps, num_stages=pipeline_stages(config.stages), enable_fp_fusion=True,
    )  # fmt: skip
    return y


def key(x: Tensor, call: Geometry) -> str:
    """What a measurement is filed under: dtype, sizes and geometry, exactly."""
    sizes = "x".join(map(str, x.shape))
    numbers = (call.kernel, call.stride, call.padding, call.dilation)
    geometry = "/".join("x".join(map(str, pair)) for pair in numbers)
    return f"pre_conv {str(x.dtype)[6:]} {sizes}->{call.out} {geometry}"


@torch.library.custom_op(f"{NAMESPACE}::pre_conv", mutates_args=())
def pre_conv(
    x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, packed: Tensor, bias: Tensor | None,
    stride: list[int], padding: list[int], dilation: list[int], before: str, before_slope: float,
    act: str, slope: float,
) -> Tensor:  # fmt: skip
    """Norm, activation and convolution: our kernel where the table says so, else the library's."""
    rest = (stride, padding, dilation, before, before_slope, act, slope)
    call = Geometry(weight.shape[0], list(weight.shape[2:]), *rest)
    name = None
    if (x.is_cuda or INTERPRETED) and accepts("pre_conv", fallback_reason([x], packed, call)):
        name = chosen(key(x, call), default_config(call.out))
    if name is None:
        return reference(x, scale, shift, weight, bias, call)
    return launch([x], scale, shift, packed, bias, call, config=CONFIGS[name])


@pre_conv.register_fake
def _(
    x, scale, shift, weight, packed, bias, stride, padding, dilation, before, before_slope, act,
    slope,
):  # fmt: skip
    call = Geometry(weight.shape[0], list(weight.shape[2:]), stride, padding, dilation)
    return channels_last(x.shape[0], call.out, *call.result(x), x)
