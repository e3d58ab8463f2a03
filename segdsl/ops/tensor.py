"""Operators that leave the plane of the map: matrix products, reshapes, patches as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import (
    MAX_RANK,
    any_map,
    count,
    equal_axes,
    float_map,
    network_float,
    product,
    same_rank,
)
from segdsl.ops.window import (
    MAX_STEP,
    NO_PAD,
    UNIT,
    check_range,
    check_window,
    fits,
    out_size,
    sides_of,
)
from segdsl.symbolic import Formula, Size, floor_div
from segdsl.taps import Nothing, Sliding, Taps, Whole
from segdsl.types import POINTWISE, Axis, Feature, Padding, Pair, Requirement, Sides, Window


@operator
@dataclass(frozen=True)
class Matmul(Op):
    """The matrix product over the last two axes: `matmul(attention, values)`.

    `[..., n, k]` times `[..., k, m]` is `[..., n, m]`; the leading axes agree.
    """

    name: ClassVar[str] = "matmul"
    operands: ClassVar[tuple[str, ...]] = ("a", "b")

    def infer(self, *inputs: Feature) -> Feature:
        a, b = (network_float(x, slot) for slot, x in enumerate(inputs))
        same_rank((a, b))
        if a.rank < 2:
            raise RuleError(f"needs matrices, got {a}", code="E3016", blame=(0, 1))
        return Feature((*a.shape[:-1], b.shape[-1]))

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        a, b = inputs
        yield from equal_axes(a, b, range(a.rank - 2), (0, 1))
        inner = (a.shape[-1], b.shape[-2])
        message = f"{a} times {b} is no matrix product: inner sizes {inner[0]} and {inner[1]}"
        yield Requirement("equal", *inner, "E3004", message, (0, 1))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        # Rows of the result come from rows of `a`, columns from columns of `b`; all else is summed.
        if inputs[slot].rank == 4 and slot == axis:
            return Sliding(window=POINTWISE)
        return Whole(tag="attend")

    def macs(self, *inputs: Feature) -> int:
        return count((*inputs[0].shape, inputs[1].shape[-1]))


@operator
@dataclass(frozen=True)
class Reshape(Op):
    """The same values in another shape: `x -> reshape([0, 8, -1])`, `-> reshape([0, 64], like=x)`.

    With `like`, height and width of that map follow the written sizes. One to six axes.

    Attributes:
        shape: the sizes; 0 keeps the size of that axis of `x`, one -1 is what remains.
    """

    name: ClassVar[str] = "reshape"
    operands: ClassVar[tuple[str, ...]] = ("x", "like")
    optional: ClassVar[int] = 1
    sizes_only: ClassVar[frozenset[str]] = frozenset({"like"})

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= MAX_RANK:
            message = f"`shape` needs 1 to {MAX_RANK} sizes, got {len(self.shape)}"
            raise RuleError(message, code="E2005", blame="shape")
        for size in self.shape:
            check_range("shape", size, -1, 2**31)
        if self.shape.count(-1) > 1:
            raise RuleError("`shape` may hold one -1 only", code="E2005", blame="shape")

    def infer(self, *inputs: Feature) -> Feature:
        x = inputs[0]
        sizes = self._written(x)
        if len(inputs) == 2:
            like = any_map(inputs[1], 1)
            sizes += [like.height, like.width]
        if len(sizes) > MAX_RANK:
            message = f"needs at most {MAX_RANK} axes, got {len(sizes)}"
            raise RuleError(message, code="E2005", blame="shape")
        if None in sizes:
            rest, known = self._remainder(x, sizes)
            sizes[sizes.index(None)] = floor_div(rest, known)
        return Feature(tuple(s for s in sizes if s is not None), x.dtype)

    def _written(self, x: Feature) -> list[Size | None]:
        """The sizes that are written, 0 replaced by the axis of `x`, None for -1."""
        sizes: list[Size | None] = []
        for axis, size in enumerate(self.shape):
            if size == 0 and axis >= x.rank:
                message = f"`shape` keeps axis {axis}, but {x} has {x.rank} axes"
                raise RuleError(message, code="E2005", blame="shape")
            sizes.append(x.shape[axis] if size == 0 else None if size == -1 else size)
        return sizes

    def _remainder(self, x: Feature, sizes: Sequence[Size | None]) -> tuple[Size, int]:
        """Values of `x`, and the written product, after what is equal on both sides is struck out.

        Raises:
            RuleError: a symbolic size remains below the fraction (E2010).
        """
        given = Counter(x.shape)
        wanted = Counter(size for size in sizes if size is not None)
        rest = product((given - wanted).elements())
        known = product((wanted - given).elements())
        if isinstance(known, Formula):
            if isinstance(rest, Formula):
                times = rest.terms[0][1] // known.terms[0][1]
                if known * times == rest:
                    return times, 1
            message = f"the -1 in `shape` cannot be told: {rest} values in parts of {known}"
            raise RuleError(message, code="E2010", blame="shape")
        return rest, known

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        x, out = inputs[0], self.infer(*inputs)
        if -1 in self.shape:
            sizes = self._written(x) + list(inputs[1].shape[2:] if len(inputs) == 2 else ())
            rest, known = self._remainder(x, sizes)
            message = f"{rest} values cannot be split into parts of {known}"
            return [Requirement("multiple", rest, known, "E3004", message, ("shape", 0))]
        left, right = product(x.shape), product(out.shape)
        message = f"{x} has {left} values, {out} has {right}"
        return [Requirement("equal", left, right, "E3004", message, ("shape", 0))]

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if self.operand_name(slot) == "like":
            return Nothing()
        x, out = inputs[0], self.infer(*inputs)
        same = x.rank == out.rank == 4 and x.shape[2:] == out.shape[2:]
        return Sliding(window=POINTWISE) if same else Whole(tag="attend")


@operator
@dataclass(frozen=True)
class Permute(Op):
    """The axes in another order: `x -> permute([0, 2, 1])`.

    Attributes:
        order: for each axis of the result, the axis of `x` that it is.
    """

    name: ClassVar[str] = "permute"

    order: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.order or sorted(self.order) != list(range(len(self.order))):
            shown = list(self.order)
            message = f"`order` must hold every axis from 0 up once, got {shown}"
            raise RuleError(message, code="E2005", blame="order")

    def infer(self, *inputs: Feature) -> Feature:
        (x,) = inputs
        if len(self.order) != x.rank:
            message = f"`order` has {len(self.order)} axes, but {x} has {x.rank}"
            raise RuleError(message, code="E3016", blame=("order", 0))
        return Feature(tuple(x.shape[axis] for axis in self.order), x.dtype)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        stays = inputs[slot].rank == 4 and self.order[2 + axis] == 2 + axis
        return Sliding(window=POINTWISE) if stays else Whole(tag="attend")


@operator
@dataclass(frozen=True)
class Flatten(Op):
    """Neighbouring axes as one: `x -> flatten`, `x -> flatten([2, 3])`.

    The first gives `[N, C*h*w]`, the second `[N, C, h*w]`.

    Attributes:
        axes: the axes that become one, neighbours in rising order; all but the batch if left out.
    """

    name: ClassVar[str] = "flatten"

    axes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        axes = self.axes
        if axes is not None and (
            not axes or axes[0] < 0 or axes != tuple(range(axes[0], axes[0] + len(axes)))
        ):
            message = f"`axes` must be neighbours in rising order, got {list(axes)}"
            raise RuleError(message, code="E2005", blame="axes")

    def span(self, rank: int) -> tuple[int, int]:
        """First and last axis that become one, for an operand of this rank."""
        return (1, rank - 1) if self.axes is None else (self.axes[0], self.axes[-1])

    def infer(self, *inputs: Feature) -> Feature:
        (x,) = inputs
        first, last = self.span(x.rank)
        if x.rank < 2 or last >= x.rank:
            message = f"{x} has no axis {max(last, 1)}"
            raise RuleError(message, code="E3016", blame=("axes", 0))
        merged = product(x.shape[first : last + 1])
        return Feature((*x.shape[:first], merged, *x.shape[last + 1 :]), x.dtype)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        first, last = self.span(inputs[slot].rank)
        return Sliding(window=POINTWISE) if first == last else Whole(tag="attend")


def _check_patches(kernel: Pair, stride: Pair, dilation: Pair, pad: Padding) -> None:
    """Refuse windows that torch's Unfold and Fold refuse: opposite sides are padded alike."""
    check_window(kernel, stride, dilation, pad)
    sides = sides_of(pad, kernel, dilation)
    if (sides.top, sides.left) != (sides.bottom, sides.right):
        message = "patches are taken with opposite sides padded alike"
        raise RuleError(message, code="E2005", blame="pad", help="pad the map before: `pad(...)`")


@operator
@dataclass(frozen=True)
class Unfold(Op):
    """Patches as columns, `[N, C*kh*kw, L]`: `x -> unfold(3, pad=1)`.

    As torch's Unfold: L windows, row by row.

    Attributes:
        kernel: rows and columns of a patch.
        stride: pixels between neighbouring patches.
        pad: zeros around the map, opposite sides alike.
        dilation: pixels between neighbouring taps.
    """

    name: ClassVar[str] = "unfold"

    kernel: Pair
    _: KW_ONLY
    stride: Pair = UNIT
    pad: Padding = NO_PAD
    dilation: Pair = UNIT

    def __post_init__(self) -> None:
        _check_patches(self.kernel, self.stride, self.dilation, self.pad)

    @property
    def sides(self) -> Sides:
        """The padding in numbers."""
        return sides_of(self.pad, self.kernel, self.dilation)

    def patch_window(self, axis: Axis) -> Window:
        """The window that a patch is, along an axis of `x`."""
        before, after = self.sides.along(axis)
        return Window(self.kernel[axis], self.stride[axis], before, after, self.dilation[axis])

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        height, width = (out_size(x.spatial(a), self.patch_window(a)) for a in (0, 1))
        return Feature((x.batch, x.channels * self.kernel[0] * self.kernel[1], height * width))

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        return [fits(inputs[0].spatial(a), self.patch_window(a), a) for a in (0, 1)]

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return Whole(tag="attend")


@operator
@dataclass(frozen=True)
class Fold(Op):
    """Sums columns back into a map: `columns -> fold(3, like=x, pad=1)`, `-> fold(2, to=[8, 8])`.

    As torch's Fold: `[N, C*kh*kw, L]` to `[N, C, h, w]`, the sizes from `to` or `like`.

    Attributes:
        kernel: rows and columns of a patch.
        to: rows and columns of the result, where `like` gives no map.
        stride: pixels between neighbouring patches.
        pad: pixels of the margin that is cut off, opposite sides alike.
        dilation: pixels between neighbouring taps.
    """

    name: ClassVar[str] = "fold"
    operands: ClassVar[tuple[str, ...]] = ("x", "like")
    optional: ClassVar[int] = 1
    sizes_only: ClassVar[frozenset[str]] = frozenset({"like"})

    kernel: Pair
    _: KW_ONLY
    to: Pair | None = None
    stride: Pair = UNIT
    pad: Padding = NO_PAD
    dilation: Pair = UNIT

    def __post_init__(self) -> None:
        _check_patches(self.kernel, self.stride, self.dilation, self.pad)
        if self.to is not None:
            check_range("to", min(self.to), 1, None)
            check_range("to", max(self.to), 1, MAX_STEP)

    @property
    def sides(self) -> Sides:
        """The padding in numbers."""
        return sides_of(self.pad, self.kernel, self.dilation)

    def patch_window(self, axis: Axis) -> Window:
        """The window that a patch is, along an axis of the result."""
        before, after = self.sides.along(axis)
        return Window(self.kernel[axis], self.stride[axis], before, after, self.dilation[axis])

    def infer(self, *inputs: Feature) -> Feature:
        x = network_float(inputs[0])
        if x.rank != 3 or not isinstance(x.shape[1], int):
            message = f"needs columns [N, C*kh*kw, L], got {x}"
            raise RuleError(message, code="E3016", blame=0)
        if (self.to is None) != (len(inputs) == 2):
            raise RuleError("needs exactly one of `to` and `like`", code="E2017", blame="to")
        patch = self.kernel[0] * self.kernel[1]
        if x.channels % patch:
            message = f"{x.channels} rows of columns are no whole number of {patch}-pixel patches"
            raise RuleError(message, code="E3001", blame=("kernel", 0))
        size = self.to or any_map(inputs[1], 1).shape[2:]
        return Feature((x.batch, x.channels // patch, *size))

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        out = self.infer(*inputs)
        yield from (fits(out.spatial(a), self.patch_window(a), a) for a in (0, 1))
        height, width = (out_size(out.spatial(a), self.patch_window(a)) for a in (0, 1))
        columns = inputs[0].shape[2]
        message = f"{out} has {height * width} patches, but there are {columns} columns"
        yield Requirement("equal", columns, height * width, "E3004", message, (0,))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if self.operand_name(slot) == "like":
            return Nothing()
        return Whole(tag="attend")
