"""Convolution over two maps beside each other, neither enlarged nor concatenated in memory.

    y = after(act(conv(concat([enlarge(a), b]), weight) + bias) + residual)

The reduction walks over the taps and channels of `a`, then over those of `b`, into one accumulator.
`a` may be smaller: then its pixels are repeated (mode=nearest), or zeros are put around it, which
is index arithmetic where it is read. With a 3x3 kernel and just twice the size there is less to
multiply: a result pixel at an even place sees the small pixels (i-1, i, i) along an axis, one at an
odd place (i, i, i+1). So each of the four phases is a 2x2 convolution of the small map, whose
weights are sums of the old ones: 4/9 of the products (the tiles "fold"). Zero padding stays exact,
since it is as large as a tap.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from .common import (
    ACTIVATIONS,
    INTERPRETED,
    NAMESPACE,
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
from .merge_tiles import CONFIGS as CONFIGS
from .merge_tiles import FORMS
from .merge_tiles import MergeConfig as MergeConfig
from .merge_tiles import merge_conv_kernel as merge_conv_kernel
from .router import accepts, chosen


@dataclass(frozen=True)
class Geometry:
    """What a call is besides its tensors.

    Attributes:
        size: height and width of the maps beside each other, to which `a` is fitted.
        kernel: its height and width; likewise `stride`, `padding`, `dilation`.
        act: the activation behind the bias, a name of ACTIVATIONS.
        after: the one behind the residual.
        slope: of leaky_relu, or the alpha of elu.
        swapped: whether the channels of `b` come before those of `a` in the weight.
        fit: how `a` gets that size: "repeat" its pixels, or "pad" it evenly by zeros, an odd rest
            at the end.
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
    fit: str = "repeat"

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
        return doubled and self.fit == "repeat" and plain == ([3, 3], [1, 1], [1, 1], [1, 1])

    def margins(self, a: Tensor) -> tuple[int, int]:
        """The zeros above and on the left of `a`."""
        top, left = ((n - have) // 2 for n, have in zip(self.size, a.shape[2:], strict=True))
        return top, left

    def form(self, a: Tensor) -> str:
        """How the kernel reads `a`, but by phases."""
        if list(a.shape[2:]) == self.size:
            return "plain"
        return "pad" if self.fit == "pad" else "nearest"


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
    x = _fitted(a, call)
    x = x if b is None else torch.cat([b, x] if call.swapped else [x, b], 1)
    y = F.conv2d(x, weight, bias, call.stride, call.padding, call.dilation)
    y = activated(y, call.act, call.slope)
    y = y if residual is None else y + residual
    return activated(y, call.after, call.slope).contiguous(memory_format=torch.channels_last)


def _fitted(a: Tensor, call: Geometry) -> Tensor:
    form = call.form(a)
    if form == "plain":
        return a
    if form == "nearest":
        return F.interpolate(a, call.size, mode="nearest")
    (top, left), (height, width) = call.margins(a), call.size
    return F.pad(a, [left, width - a.shape[3] - left, top, height - a.shape[2] - top])


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
        a: map [N, CA, h, w], channels last, or a slice of the channels of one; fitted to
            `call.size`.
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
    form = FORMS["fold" if config.fold else call.form(a)]
    pixels = n * h * w if config.fold else n * p * q
    tiles = triton.cdiv(pixels, config.bm) * (4 if config.fold else 1)
    merge_conv_kernel[(tiles * triton.cdiv(k, config.bn),)](
        a, b, packed.folded if config.fold else packed.a, packed.b if cb else None, y, bias,
        residual, pixels, h, w, *call.size, p, q, *call.margins(a),
        rows(a)[0], 0 if b is None else rows(b)[0], rows(y)[0],
        0 if residual is None else rows(residual)[0],
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
    if call.fit == "pad" and min(call.margins(a)) < 0:
        raise ValueError(f"the first map is {tuple(a.shape)}, larger than {call.size}")
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
    tail = "+pad" * (call.form(a) == "pad") + "+res" * (residual is not None)
    return f"merge_conv {str(a.dtype)[6:]} {maps}{size}->{out} {geometry}{tail}"


@torch.library.custom_op(f"{NAMESPACE}::merge_conv", mutates_args=())
def merge_conv(
    a: Tensor, b: Tensor | None, weight: Tensor, packed: list[Tensor], bias: Tensor | None,
    residual: Tensor | None, size: list[int], stride: list[int], padding: list[int],
    dilation: list[int], act: str, after: str, slope: float, swapped: bool, fit: str,
) -> Tensor:  # fmt: skip
    """Convolution over two maps: our kernel where the table says so, else the library's.

    `packed` holds the three tensors of Packed, in order.
    """
    kernel = list(weight.shape[2:])
    call = Geometry(size, kernel, stride, padding, dilation, act, after, slope, swapped, fit)
    name = None
    if (a.is_cuda or INTERPRETED) and accepts(
        "merge_conv", fallback_reason(a, b, weight, residual, call)
    ):
        fold = call.folds(a) and packed[1].numel() > 0
        default = default_config(weight.shape[0], fold=fold)
        name = chosen(key(a, b, weight.shape[0], residual, call), default)
    if name is None:
        return reference(a, b, weight, bias, residual, call)
    return launch(a, b, weight, Packed(*packed), bias, residual, call, config=CONFIGS[name])


@merge_conv.register_fake
def _(
    a, b, weight, packed, bias, residual, size, stride, padding, dilation, act, after, slope,
    swapped, fit,
):  # fmt: skip
    call = Geometry(size, list(weight.shape[2:]), stride, padding, dilation)
    return channels_last(a.shape[0], weight.shape[0], *call.result, a)
