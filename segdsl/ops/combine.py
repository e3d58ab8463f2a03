"""Putting maps together and taking them apart: concat, split, slice, crop, pad."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from typing import ClassVar, Literal

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import (
    any_map,
    axis_index,
    axis_name,
    equal_axes,
    float_map,
    same_channels,
    same_dtype,
    same_rank,
)
from segdsl.ops.window import MAX_CHANNELS, MAX_STEP, check_range
from segdsl.symbolic import Size, ceil_div, floor_div
from segdsl.taps import Edge, Nothing, Shifted, Sliding, Taps
from segdsl.types import POINTWISE, Axis, Feature, Pair, Requirement, Sides

AxisName = Literal["batch", "channels", "height", "width"]
PadMode = Literal["zeros", "reflect", "replicate", "constant"]

EDGES: dict[str, Edge] = {
    "zeros": "drop",
    "constant": "drop",
    "reflect": "reflect",
    "replicate": "clamp",
}


def _known(size: Size) -> int | None:
    return size if isinstance(size, int) else None


def _is_spatial(at: int, along: Axis, x: Feature) -> bool:
    return x.rank == 4 and at == 2 + along


@operator
@dataclass(frozen=True)
class Concat(Op):
    """Maps beside each other along an axis: `concat([skip, up])`, `concat(parts, axis=height)`.

    All other sizes must agree.

    Attributes:
        axis: the axis that grows, by name, or by number where the operands are no maps.
    """

    name: ClassVar[str] = "concat"
    operands: ClassVar[tuple[str, ...]] = ("maps",)
    variadic: ClassVar[bool] = True

    _: KW_ONLY
    axis: AxisName | int = "channels"

    def infer(self, *inputs: Feature) -> Feature:
        same_rank(inputs)
        same_dtype(inputs)
        first = inputs[0]
        at = axis_index(self.axis, first.rank)
        if at != 1:
            same_channels(inputs)
        total = sum((x.shape[at] for x in inputs[1:]), start=first.shape[at])
        return Feature((*first.shape[:at], total, *first.shape[at + 1 :]), first.dtype)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        rank = inputs[0].rank
        at = axis_index(self.axis, rank)
        others = [axis for axis in range(rank) if axis != at]
        for slot, x in enumerate(inputs[1:], 1):
            yield from equal_axes(inputs[0], x, others, (0, slot))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        at = axis_index(self.axis, inputs[0].rank)
        if not _is_spatial(at, axis, inputs[0]):
            return Sliding(window=POINTWISE)
        before: Size = sum((x.shape[at] for x in inputs[:slot]), start=0)
        offset = _known(before)
        return Shifted(offset=None if offset is None else -offset)


@operator
@dataclass(frozen=True)
class Split(Op):
    """Pieces along an axis, one result each: `a, b = x -> split(2)`, `x -> split([16, 48])`.

    Results are `part0`, `part1`, ... Height and width of a map are cut by `slice` instead.

    Attributes:
        parts: how many equal pieces, or their sizes.
        axis: the axis that is cut, by name, or by number where `x` is no map.
    """

    name: ClassVar[str] = "split"

    parts: int | tuple[int, ...]
    _: KW_ONLY
    axis: AxisName | int = "channels"

    def __post_init__(self) -> None:
        count = self.parts if isinstance(self.parts, int) else len(self.parts)
        check_range("parts", count, 1, MAX_STEP)
        for size in () if isinstance(self.parts, int) else self.parts:
            check_range("parts", size, 1, MAX_CHANNELS)

    @property
    def results(self) -> tuple[str, ...]:
        count = self.parts if isinstance(self.parts, int) else len(self.parts)
        return tuple(f"part{i}" for i in range(count))

    def infer(self, *inputs: Feature) -> tuple[Feature, ...]:
        (x,) = inputs
        at = axis_index(self.axis, x.rank)
        if x.rank == 4 and at >= 2:
            raise RuleError(
                f"`split` cannot cut the {axis_name(at, 4)} of a map",
                code="E2017",
                blame="axis",
                help=f"one `slice(start, stop, axis={axis_name(at, 4)})` for each part",
            )
        sizes = self.sizes(x.shape[at])
        return tuple(Feature((*x.shape[:at], s, *x.shape[at + 1 :]), x.dtype) for s in sizes)

    def sizes(self, whole: Size) -> tuple[Size, ...]:
        """The sizes of the pieces of an axis of size `whole`."""
        if isinstance(self.parts, int):
            return (floor_div(whole, self.parts),) * self.parts
        return self.parts

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        (x,) = inputs
        at = axis_index(self.axis, x.rank)
        size, noun = x.shape[at], axis_name(at, x.rank)
        code = "E3001" if noun == "channels" else "E3004"
        if isinstance(self.parts, int):
            message = f"{noun} of size {size} cannot be split into {self.parts} equal parts"
            return [
                Requirement("multiple", size, self.parts, code, message, ("parts", 0)),
                Requirement("at_least", size, self.parts, code, message, ("parts", 0)),
            ]
        message = f"the parts sum to {sum(self.parts)}, but {noun} has size {size}"
        return [Requirement("equal", sum(self.parts), size, code, message, ("parts", 0))]

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return Sliding(window=POINTWISE)


@operator
@dataclass(frozen=True)
class Slice(Op):
    """A stretch of an axis: `x -> slice(0, 64)`, `x -> slice(1, none, axis=height, step=2)`.

    As Python slices, but a bound outside of the axis is an error.

    Attributes:
        start: the first index; negative counts from the end.
        stop: the index after the last; negative counts from the end, none is the end.
        axis: the axis that is cut, by name, or by number where `x` is no map.
        step: the distance of the indices that are kept.
    """

    name: ClassVar[str] = "slice"

    start: int
    stop: int | None = None
    _: KW_ONLY
    axis: AxisName | int = "channels"
    step: int = 1

    def __post_init__(self) -> None:
        check_range("step", self.step, 1, MAX_STEP)
        for bound in ("start", "stop"):
            value = getattr(self, bound)
            if value is not None and abs(value) > MAX_CHANNELS:
                message = f"`{bound}` is {value}; the limit is {MAX_CHANNELS}"
                raise RuleError(message, code="E2009", blame=bound)

    def bounds(self, size: Size) -> tuple[Size, Size]:
        """First index and the index after the last, on an axis of this size, none negative."""
        stop: Size = size if self.stop is None else self.stop
        start: Size = self.start
        if self.start < 0:
            start = size + self.start
        if self.stop is not None and self.stop < 0:
            stop = size + self.stop
        return start, stop

    def infer(self, *inputs: Feature) -> Feature:
        (x,) = inputs
        at = axis_index(self.axis, x.rank)
        start, stop = self.bounds(x.shape[at])
        kept = ceil_div(stop - start, self.step)
        return Feature((*x.shape[:at], kept, *x.shape[at + 1 :]), x.dtype)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        (x,) = inputs
        at = axis_index(self.axis, x.rank)
        size, noun = x.shape[at], axis_name(at, x.rank)
        start, stop = self.bounds(size)
        message = f"the slice {start} to {stop} does not fit: {noun} has size {size}"
        blame = ("start", "stop", 0)
        yield Requirement("at_least", start, 0, "E3006", message, blame)
        yield Requirement("at_least", size, stop, "E3006", message, blame)
        empty = f"the slice {start} to {stop} is empty"
        yield Requirement("at_least", stop - start, 1, "E3006", empty, blame)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        (x,) = inputs
        at = axis_index(self.axis, x.rank)
        if not _is_spatial(at, axis, x):
            return Sliding(window=POINTWISE)
        return Shifted(offset=_known(self.bounds(x.shape[at])[0]), step=self.step)


@operator
@dataclass(frozen=True)
class Crop(Op):
    """A part of a map: `skip -> crop(like=up, offset=centre)`, `x -> crop(to=[64, 64], offset=5)`.

    `offset=auto` is a request to derive the offset from the alignment of the two maps; an operator
    knows no alignment, so `resolved` must have answered it before sizes are asked for.

    Attributes:
        to: rows and columns that are kept, where `like` gives no map.
        offset: pixels cut off at top and left: one number, `[y, x]`, `centre` (half the difference,
            rounded down) or `auto`.
    """

    name: ClassVar[str] = "crop"
    operands: ClassVar[tuple[str, ...]] = ("x", "like")
    optional: ClassVar[int] = 1
    sizes_only: ClassVar[frozenset[str]] = frozenset({"like"})

    _: KW_ONLY
    to: Pair | None = None
    offset: Pair | Literal["centre", "auto"]

    def __post_init__(self) -> None:
        if self.to is not None:
            check_range("to", min(self.to), 1, None)
            check_range("to", max(self.to), 1, MAX_STEP)
        if isinstance(self.offset, tuple):
            check_range("offset", min(self.offset), 0, None)
            check_range("offset", max(self.offset), 0, MAX_STEP)

    def infer(self, *inputs: Feature) -> Feature:
        x = any_map(inputs[0])
        if (self.to is None) != (len(inputs) == 2):
            raise RuleError("needs exactly one of `to` and `like`", code="E2017", blame="to")
        if self.offset == "auto" and len(inputs) == 1:
            message = "`offset=auto` aligns with the map of `like`; `to` has no place"
            raise RuleError(message, code="E2017", blame="offset")
        if self.to is not None:
            return x.with_spatial(*self.to)
        like = any_map(inputs[1], 1)
        return x.with_spatial(like.height, like.width)

    def cut(self, axis: Axis, *inputs: Feature) -> Size:
        """Pixels cut off before, along an axis.

        Raises:
            RuleError: the offset is `auto` and nobody derived it (E2017).
        """
        if isinstance(self.offset, tuple):
            return self.offset[axis]
        if self.offset == "auto":
            message = "`offset=auto` cannot be derived here"
            raise RuleError(
                message, code="E2017", blame="offset", help="write the number of pixels"
            )
        out = self.infer(*inputs)
        return floor_div(inputs[0].spatial(axis) - out.spatial(axis), 2)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        x, out = inputs[0], self.infer(*inputs)
        centred = self.offset == "centre"
        for axis, name in ((0, "height"), (1, "width")):
            kept, size = out.shape[2 + axis], x.shape[2 + axis]
            first = 0 if centred else self.cut(0 if axis == 0 else 1, *inputs)
            message = f"the crop of {kept} pixels from {first} does not fit: {name} has size {size}"
            if centred:
                message = f"the crop of {kept} pixels does not fit: {name} has size {size}"
            blame = (0, "offset", "to") if len(inputs) == 1 else (0, 1)
            yield Requirement("at_least", size, first + kept, "E3006", message, blame)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if self.operand_name(slot) == "like":
            return Nothing()
        return Shifted(offset=_known(self.cut(axis, *inputs)))


def _reflects(size: Size, side: Size, axis: int, blame: tuple[str | int, ...]) -> Requirement:
    noun = axis_name(2 + axis, 4)
    message = f"reflection needs more than {side} pixels: {noun} has size {size}"
    return Requirement("at_least", size, side + 1, "E3006", message, blame)


@operator
@dataclass(frozen=True)
class Pad(Op):
    """A margin around a map: `x -> pad([0, 1, 0, 1])`, `x -> pad(like=skip, mode=reflect)`.

    With `like` the margin is split evenly, the smaller half first.

    Attributes:
        sides: pixels on the four sides: one number, `[h, w]` or `[top, left, bottom, right]`.
        mode: `zeros`, `reflect` (without repeating the edge), `replicate` or `constant`.
        value: what `mode=constant` puts there.
    """

    name: ClassVar[str] = "pad"
    operands: ClassVar[tuple[str, ...]] = ("x", "like")
    optional: ClassVar[int] = 1
    sizes_only: ClassVar[frozenset[str]] = frozenset({"like"})

    sides: Sides | None = None
    _: KW_ONLY
    mode: PadMode = "zeros"
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.sides is not None:
            check_range("sides", min(self.sides), 0, None)
            check_range("sides", max(self.sides), 0, MAX_STEP)
        if self.mode != "constant" and self.value != 0:
            message = f"`value` has no effect with `mode={self.mode}`"
            raise RuleError(message, code="E2017", blame=("value", "mode"))
        if not isfinite(self.value):
            message = f"`value` must be finite, got {self.value}"
            raise RuleError(message, code="E2005", blame="value")

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        if (self.sides is None) != (len(inputs) == 2):
            raise RuleError("needs exactly one of `sides` and `like`", code="E2017", blame="sides")
        if len(inputs) == 2:
            like = any_map(inputs[1], 1)
            return x.with_spatial(like.height, like.width)
        top, left, bottom, right = self.sides or Sides(0, 0, 0, 0)
        return x.with_spatial(x.height + top + bottom, x.width + left + right)

    def margins(self, axis: Axis, *inputs: Feature) -> tuple[Size, Size]:
        """Pixels added before and after, along an axis."""
        if self.sides is not None:
            return self.sides.along(axis)
        return _halves(inputs[1].spatial(axis) - inputs[0].spatial(axis))

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        x, out = inputs[0], self.infer(*inputs)
        axes: tuple[Axis, Axis] = (0, 1)
        for axis in axes:
            size, grown = x.spatial(axis), out.spatial(axis)
            noun = axis_name(2 + axis, 4)
            if len(inputs) == 2:
                message = f"`pad` cannot shrink: {noun} is {size}, but `like` has {grown}"
                yield Requirement("at_least", grown, size, "E3004", message, (0, 1))
            if self.mode == "reflect":
                for side in self.margins(axis, *inputs):
                    yield _reflects(size, side, axis, ("sides", 0))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if self.operand_name(slot) == "like":
            return Nothing()
        before = _known(self.margins(axis, *inputs)[0])
        return Shifted(edge=EDGES[self.mode], offset=None if before is None else -before)


def _halves(total: Size) -> tuple[Size, Size]:
    """An even split, the smaller half first."""
    before = floor_div(total, 2)
    return before, total - before


@operator
@dataclass(frozen=True)
class PadToMultiple(Op):
    """A margin that makes both sizes divisible: `image -> pad_to_multiple(32, mode=reflect)`.

    Split evenly, the smaller half first.

    Attributes:
        m: what divides height and width of the result: one number or `[h, w]`.
        mode: `zeros`, `reflect` (without repeating the edge) or `replicate`.
    """

    name: ClassVar[str] = "pad_to_multiple"

    m: Pair
    _: KW_ONLY
    mode: Literal["zeros", "reflect", "replicate"] = "zeros"

    def __post_init__(self) -> None:
        check_range("m", min(self.m), 1, None)
        check_range("m", max(self.m), 1, MAX_STEP)

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        height, width = (ceil_div(x.spatial(a), self.m[a]) * self.m[a] for a in (0, 1))
        return x.with_spatial(height, width)

    def margins(self, axis: Axis, *inputs: Feature) -> tuple[Size, Size]:
        """Pixels added before and after, along an axis."""
        return _halves(self.infer(*inputs).spatial(axis) - inputs[0].spatial(axis))

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        if self.mode != "reflect":
            return
        axes: tuple[Axis, Axis] = (0, 1)
        for axis in axes:
            after = self.margins(axis, *inputs)[1]
            yield _reflects(inputs[0].spatial(axis), after, axis, ("m", 0))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        before = _known(self.margins(axis, *inputs)[0])
        return Shifted(edge=EDGES[self.mode], offset=None if before is None else -before)
