"""Convolutions whose points move: they read where a learned offset map says.

Points between pixels are interpolated bilinearly; what lies outside of the map is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from math import isfinite
from typing import ClassVar

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import (
    count,
    equal_axes,
    float_map,
    same_channels,
    split_channels,
)
from segdsl.ops.window import (
    MAX_CHANNELS,
    MAX_EXTENT,
    MAX_KERNEL,
    NO_PAD,
    UNIT,
    check_range,
    check_window,
    fits,
    out_size,
    sides_of,
)
from segdsl.taps import Displaced, Sliding, Tag, Taps, Whole
from segdsl.types import (
    POINTWISE,
    TORCH_DEFAULT,
    Axis,
    Feature,
    Initialiser,
    Padding,
    Pair,
    Param,
    Requirement,
    Sides,
    Window,
)

KERNEL_3 = Pair(3, 3)
SIDES: tuple[tuple[Axis, str], ...] = ((0, "high"), (1, "wide"))


@operator
@dataclass(frozen=True)
class DeformConv(Op):
    """A deformable convolution: `x -> deform_conv(offset, 256, 3, mask=m, pad=1) @conv2`.

    As torchvision's deform_conv2d: version 1 (arXiv:1703.06211) without `mask`, version 2
    (arXiv:1811.11168) with it. The mask is used as it is: the published layers put a sigmoid before
    it. Weight `[out, C/groups, kh, kw]`. The offset map has `2 * offset_groups * kh * kw` channels
    and the size of the result: for each offset group and point, row by row, first the rows (dy),
    then the columns (dx) to move it by. The mask has `offset_groups * kh * kw`.

    Attributes:
        out: output channels.
        kernel: rows and columns of the kernel.
        stride: input pixels between neighbouring outputs.
        pad: zeros around the map: one number, `[h, w]`, four sides, `same` or `valid`.
        dilation: input pixels between neighbouring points, before they are moved.
        groups: independent groups of channels.
        offset_groups: groups of input channels, each with offsets of its own.
        offset_limit: the pixels of `x` that a point may be moved by along an axis; what is beyond
            is clamped. Without it the receptive field is the whole map.
        bias: whether a learned `[out]` is added.
        init: how the weight starts.
        bias_init: how the bias starts.
        train: false freezes the arrays; they still count as parameters.
    """

    name: ClassVar[str] = "deform_conv"
    operands: ClassVar[tuple[str, ...]] = ("x", "offset", "mask")
    optional: ClassVar[int] = 1

    out: int
    kernel: Pair
    _: KW_ONLY
    stride: Pair = UNIT
    pad: Padding = NO_PAD
    dilation: Pair = UNIT
    groups: int = 1
    offset_groups: int = 1
    offset_limit: float | None = None
    bias: bool = True
    init: Initialiser = TORCH_DEFAULT
    bias_init: Initialiser = TORCH_DEFAULT
    train: bool = True

    def __post_init__(self) -> None:
        check_range("out", self.out, 1, MAX_CHANNELS)
        check_range("groups", self.groups, 1, MAX_CHANNELS)
        check_range("offset_groups", self.offset_groups, 1, MAX_CHANNELS)
        check_window(self.kernel, self.stride, self.dilation, self.pad)
        sides_of(self.pad, self.kernel, self.dilation)
        split_channels(self.out, self.groups)
        _check_limit(self.offset_limit)

    @property
    def sides(self) -> Sides:
        """The padding in numbers."""
        return sides_of(self.pad, self.kernel, self.dilation)

    def nominal(self, axis: Axis) -> Window:
        """The window that it is while no point is moved."""
        before, after = self.sides.along(axis)
        return Window(self.kernel[axis], self.stride[axis], before, after, self.dilation[axis])

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        split_channels(x.channels, self.groups)
        split_channels(x.channels, self.offset_groups, "offset_groups")
        _check_maps(inputs, self.kernel, self.kernel[0] * self.kernel[1], self.offset_groups)
        height, width = (out_size(x.spatial(axis), self.nominal(axis)) for axis in (0, 1))
        return x.with_channels(self.out).with_spatial(height, width)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        yield from (fits(inputs[0].spatial(a), self.nominal(a), a) for a in (0, 1))
        yield from _same_places(self.infer(*inputs), inputs)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if slot:
            return _branch(slot)
        window = self.nominal(axis)
        if self.offset_limit is None:
            return Sliding(window=window, also="offset")
        points = tuple(Fraction(j * window.dilation - window.before) for j in range(window.kernel))
        margin = Fraction(self.offset_limit)
        moved = Displaced(tag="offset", points=points, stride=window.stride, margin=margin)
        return Sliding(window=window, also="offset", beyond=moved)

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        group = inputs[0].channels // self.groups
        fan_in = group * self.kernel.height * self.kernel.width
        shape = (self.out, group, *self.kernel)
        arrays = {"weight": Param(shape, self.init, trained=self.train, fan_in=fan_in)}
        if self.bias:
            arrays["bias"] = Param((self.out,), self.bias_init, trained=self.train, fan_in=fan_in)
        return arrays

    def macs(self, *inputs: Feature) -> int:
        """Those of the convolution; interpolation is free, as in a resize."""
        group = inputs[0].channels // self.groups
        return count((*self.infer(*inputs).shape, group, *self.kernel))


@operator
@dataclass(frozen=True)
class Dcnv3Core(Op):
    """The sampling of InternImage's DCNv3: `v -> dcnv3_core(offset, mask, groups=4)`.

    The layer with its branches and projections is `dcnv3` of `std.dcn`. The result is, for each
    group of channels, the sum of the points' values times the mask. Point (i, j) of output (y, x)
    lies at column `stride*x - pad + c + (dilation*i - c)*offset_scale + dx*offset_scale`, where
    c is dilation*(kernel - 1)//2, and likewise in its row by j and dy: the scale multiplies the
    regular grid too (arXiv:2211.05778; OpenGVLab/InternImage, ops_dcnv3). The offset map has
    `2 * groups * points` channels: for each group and point, column by column, first dx, then dy.
    The mask has `groups * points`.

    Attributes:
        groups: groups of channels, each with offsets and a mask of its own.
        kernel: rows and columns of points.
        stride: input pixels between neighbouring outputs.
        pad: zeros around the map: one number, `[h, w]`, four sides, `same` or `valid`.
        dilation: input pixels between neighbouring points, before they are scaled and moved.
        offset_scale: multiplies the distances between the points, and the offsets.
        softmax: whether the mask of a group goes through a softmax over its points.
        remove_center: whether the point in the middle is left out; needs an odd square kernel.
        offset_limit: the pixels of `x` that a point may be moved by along an axis; what is beyond,
            after `offset_scale`, is clamped. Without it the receptive field is the whole map.
    """

    name: ClassVar[str] = "dcnv3_core"
    operands: ClassVar[tuple[str, ...]] = ("x", "offset", "mask")

    _: KW_ONLY
    groups: int
    kernel: Pair = KERNEL_3
    stride: Pair = UNIT
    pad: Padding = "same"
    dilation: Pair = UNIT
    offset_scale: float = 1.0
    softmax: bool = True
    remove_center: bool = False
    offset_limit: float | None = None

    def __post_init__(self) -> None:
        check_range("groups", self.groups, 1, MAX_CHANNELS)
        check_window(self.kernel, self.stride, self.dilation, self.pad)
        sides_of(self.pad, self.kernel, self.dilation)
        _check_scale(self.offset_scale, self.kernel, self.dilation)
        _check_limit(self.offset_limit)
        if self.remove_center:
            _check_center(self.kernel)

    @property
    def sides(self) -> Sides:
        """The padding in numbers."""
        return sides_of(self.pad, self.kernel, self.dilation)

    @property
    def points(self) -> tuple[tuple[int, int], ...]:
        """The points as (j, i), row and column in the kernel, in the order of the offset map."""
        rows, columns = self.kernel
        every = [(j, i) for i in range(columns) for j in range(rows)]
        if self.remove_center:
            every.remove((rows // 2, columns // 2))
        return tuple(every)

    def nominal(self, axis: Axis) -> Window:
        """The window whose positions the result has; the points lie in it if the scale is 1."""
        before, after = self.sides.along(axis)
        return Window(self.kernel[axis], self.stride[axis], before, after, self.dilation[axis])

    def places(self, axis: Axis) -> tuple[Fraction, ...]:
        """Where the rows (or columns) of points lie for output 0, while none is moved."""
        window = self.nominal(axis)
        middle, scale = (window.extent - 1) // 2, Fraction(self.offset_scale)
        first = middle - window.before
        return tuple(first + (j * window.dilation - middle) * scale for j in range(window.kernel))

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        split_channels(x.channels, self.groups)
        _check_maps(inputs, self.kernel, len(self.points), self.groups)
        height, width = (out_size(x.spatial(axis), self.nominal(axis)) for axis in (0, 1))
        return x.with_spatial(height, width)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        yield from (fits(inputs[0].spatial(a), self.nominal(a), a) for a in (0, 1))
        yield from _same_places(self.infer(*inputs), inputs)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if slot:
            return _branch(slot)
        places, stride = self.places(axis), self.stride[axis]
        moved = None
        if self.offset_limit is not None:
            margin = Fraction(self.offset_limit)
            moved = Displaced(tag="offset", points=places, stride=stride, margin=margin)
        if self.offset_scale == 1:
            return Sliding(window=self.nominal(axis), also="offset", beyond=moved)
        return Displaced(points=places, stride=stride, also="offset", beyond=moved)

    def macs(self, *inputs: Feature) -> int:
        """Five per channel and point: four corners and the mask (OpenGVLab/InternImage)."""
        return count((5, *self.infer(*inputs).shape, len(self.points)))


@operator
@dataclass(frozen=True)
class CenterFeatureScale(Op):
    """DCNv3's blend with the centre: `s -> center_feature_scale(v, f, weight, bias)`.

    `s*(1 - g) + v*g`, where g, one number per group of channels and pixel, is the sigmoid of
    `weight` [groups, C] times the channels of `f`, plus `bias` [groups] (OpenGVLab/InternImage,
    CenterFeatureScaleModule). `s` is what was sampled, `v` the values at the pixel itself.
    """

    name: ClassVar[str] = "center_feature_scale"
    operands: ClassVar[tuple[str, ...]] = ("x", "v", "f", "weight", "bias")

    def infer(self, *inputs: Feature) -> Feature:
        x, v, f = (float_map(map_, slot) for slot, map_ in enumerate(inputs[:3]))
        weight, bias = inputs[3:]
        if weight.rank != 2 or weight.shape[1] != f.channels:
            message = f"needs a weight [groups, {f.channels}], got {weight}"
            raise RuleError(message, code="E3016", blame=3)
        if bias.shape != weight.shape[:1]:
            message = f"needs a bias [{weight.shape[0]}], got {bias}"
            raise RuleError(message, code="E3016", blame=4)
        split_channels(x.channels, int(str(weight.shape[0])), 3)
        same_channels((x, v))
        return x

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        x, v, f = inputs[:3]
        yield from equal_axes(x, v, (0, 2, 3), (0, 1))
        yield from equal_axes(x, f, (0, 2, 3), (0, 2))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if slot > 2:
            return Whole(tag="attend")
        return Sliding(window=POINTWISE, tag="gate" if slot == 2 else "value")

    def macs(self, *inputs: Feature) -> int:
        """Those of the linear layer."""
        return count((*inputs[2].shape, inputs[3].shape[0]))


def _check_limit(limit: float | None) -> None:
    if limit is None:
        return
    if not (isfinite(limit) and limit >= 0):
        message = f"`offset_limit` must be at least 0, got {limit}"
        raise RuleError(message, code="E2005", blame="offset_limit")
    if limit > MAX_KERNEL:
        message = f"`offset_limit` is {limit}; the limit is {MAX_KERNEL}"
        raise RuleError(message, code="E2009", blame="offset_limit")


def _check_scale(scale: float, kernel: Pair, dilation: Pair) -> None:
    if not (isfinite(scale) and scale > 0):
        message = f"`offset_scale` must be above 0, got {scale}"
        raise RuleError(message, code="E2005", blame="offset_scale")
    extent = max(k * d for k, d in zip(kernel, dilation, strict=True)) * scale
    if extent > MAX_EXTENT:
        message = f"`kernel * dilation * offset_scale` is {extent:g}; the limit is {MAX_EXTENT}"
        raise RuleError(message, code="E2009", blame="offset_scale")


def _check_center(kernel: Pair) -> None:
    rows, columns = kernel
    if rows != columns or rows % 2 == 0:
        message = f"`remove_center` needs an odd square kernel, got {rows}x{columns}"
        help = f"kernel {max(kernel) | 1}, or `remove_center=false`"
        raise RuleError(message, code="E2017", blame=("remove_center", "kernel"), help=help)
    if rows == 1:
        message = "`remove_center` leaves a 1x1 kernel without a point"
        raise RuleError(message, code="E2017", blame=("remove_center", "kernel"))


def _check_maps(inputs: tuple[Feature, ...], kernel: Pair, points: int, groups: int) -> None:
    """Refuse an offset map or a mask with another number of channels than the points need."""
    for slot, (feature, what, each) in enumerate(
        zip(inputs[1:], ("offset map", "mask"), (2, 1), strict=False), 1
    ):
        wanted, found = each * groups * points, float_map(feature, slot).channels
        if found == wanted:
            continue
        parts = ["2 coordinates"] if each == 2 else []
        parts += [f"{points} point{'s' * (points != 1)} of the {kernel[0]}x{kernel[1]} kernel"]
        parts += [f"{groups} group{'s' * (groups != 1)} of offsets"]
        raise RuleError(
            f"the {what} has {found} channels; it needs {wanted}",
            code="E3018",
            blame=slot,
            help=f"make it with {wanted} channels, as by `conv({wanted}, 3, pad=1)`",
            notes=(f"{wanted} = {' x '.join(parts)}",),
        )


def _same_places(y: Feature, inputs: tuple[Feature, ...]) -> Iterable[Requirement]:
    """Offset map and mask have the batch and the size of the result."""
    for slot, what in enumerate(("offset map", "mask")[: len(inputs) - 1], 1):
        yield from equal_axes(inputs[0], inputs[slot], (0,), (0, slot))
        for axis, side in SIDES:
            sizes = (inputs[slot].spatial(axis), y.spatial(axis))
            message = f"the {what} is {sizes[0]} {side}, the result {sizes[1]}: it needs its size"
            yield Requirement("equal", *sizes, "E3004", message, (slot,))


def _branch(slot: int) -> Taps:
    """Offsets move the points and the mask weighs them: neither is a value that comes through."""
    tag: Tag = "offset" if slot == 1 else "gate"
    return Sliding(window=POINTWISE, tag=tag)
