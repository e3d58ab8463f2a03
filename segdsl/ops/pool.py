"""Pooling and its undoing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import AXES, any_map, equal_axes, float_map
from segdsl.ops.window import (
    MAX_STEP,
    NO_PAD,
    UNIT,
    check_range,
    check_window,
    fits,
    out_size,
    sides_of,
    transposed_size,
)
from segdsl.taps import Bins, Nothing, Sliding, Spread, Taps, Whole
from segdsl.types import (
    EVERYWHERE,
    Axis,
    Everywhere,
    Feature,
    Padding,
    Pair,
    Requirement,
    Sides,
    Window,
)

HALVING = Pair(2, 2)


def _check_pool(kernel: Pair, stride: Pair, dilation: Pair, pad: Padding) -> None:
    """Refuse windows that torch's pools refuse: pads are symmetric and at most half the kernel.

    Half the *undilated* kernel: torch 2.13 refuses more on the CPU.

    Raises:
        RuleError: E2005, E2009, or E3009 for `same` with an even kernel.
    """
    check_window(kernel, stride, dilation, pad)
    sides = sides_of(pad, kernel, dilation)
    if (sides.top, sides.left) != (sides.bottom, sides.right):
        raise RuleError(
            "a pool pads opposite sides alike",
            code="E2005",
            blame="pad",
            help="pad the map before: `pad([top, left, bottom, right])`",
        )
    for k, side in zip(kernel, (sides.top, sides.left), strict=True):
        if side > k // 2:
            message = f"`pad` must be at most half the kernel, {k // 2}, got {side}"
            raise RuleError(message, code="E2005", blame="pad")


def _pool_window(kernel: Pair, stride: Pair, dilation: Pair, pad: Padding, axis: Axis) -> Window:
    before, after = sides_of(pad, kernel, dilation).along(axis)
    return Window(kernel[axis], stride[axis], before, after, dilation[axis])


@operator
@dataclass(frozen=True)
class MaxPool(Op):
    """The largest value under a window: `x -> max_pool(3, stride=2, pad=1)`.

    As torch's MaxPool2d. With `ceil` the last window must start inside the map or the padding
    before it. With `indices` there are two results, `values` and `indices` (i64, positions in each
    h*w plane).

    Attributes:
        kernel: rows and columns of the window.
        stride: input pixels between neighbouring windows; the kernel if left out.
        pad: minus infinity around the map, opposite sides alike, at most half the kernel.
        dilation: input pixels between neighbouring taps.
        ceil: whether the number of windows is rounded up.
        indices: whether the places of the maxima are a second result.
    """

    name: ClassVar[str] = "max_pool"

    kernel: Pair
    _: KW_ONLY
    stride: Pair | None = None
    pad: Padding = NO_PAD
    dilation: Pair = UNIT
    ceil: bool = False
    indices: bool = False

    def __post_init__(self) -> None:
        _check_pool(self.kernel, self.step, self.dilation, self.pad)

    @property
    def step(self) -> Pair:
        """The stride in numbers."""
        return self.kernel if self.stride is None else self.stride

    @property
    def sides(self) -> Sides:
        """The padding in numbers."""
        return sides_of(self.pad, self.kernel, self.dilation)

    @property
    def results(self) -> tuple[str, ...]:
        return ("values", "indices") if self.indices else ("y",)

    def window(self, axis: Axis) -> Window:
        return _pool_window(self.kernel, self.step, self.dilation, self.pad, axis)

    def infer(self, *inputs: Feature) -> Feature | tuple[Feature, ...]:
        x = float_map(inputs[0])
        sizes = (out_size(x.spatial(axis), self.window(axis), self.ceil) for axis in (0, 1))
        y = x.with_spatial(*sizes)
        return (y, Feature(y.shape, "i64")) if self.indices else y

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        (x,) = inputs
        return [fits(x.spatial(axis), self.window(axis), axis, self.ceil) for axis in (0, 1)]


@operator
@dataclass(frozen=True)
class AvgPool(Op):
    """The mean under a window: `x -> avg_pool(2)`.

    As torch's AvgPool2d. Positions beyond the map and its padding are never part of the divisor.

    Attributes:
        kernel: rows and columns of the window.
        stride: input pixels between neighbouring windows; the kernel if left out.
        pad: zeros around the map, opposite sides alike, at most half the kernel.
        ceil: whether the number of windows is rounded up.
        count_include_pad: whether the padding counts in the divisor.
    """

    name: ClassVar[str] = "avg_pool"

    kernel: Pair
    _: KW_ONLY
    stride: Pair | None = None
    pad: Padding = NO_PAD
    ceil: bool = False
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        _check_pool(self.kernel, self.step, UNIT, self.pad)

    @property
    def step(self) -> Pair:
        """The stride in numbers."""
        return self.kernel if self.stride is None else self.stride

    @property
    def sides(self) -> Sides:
        """The padding in numbers."""
        return sides_of(self.pad, self.kernel, UNIT)

    def window(self, axis: Axis) -> Window:
        return _pool_window(self.kernel, self.step, UNIT, self.pad, axis)

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        sizes = (out_size(x.spatial(axis), self.window(axis), self.ceil) for axis in (0, 1))
        return x.with_spatial(*sizes)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        (x,) = inputs
        return [fits(x.spatial(axis), self.window(axis), axis, self.ceil) for axis in (0, 1)]


@operator
@dataclass(frozen=True)
class MaxUnpool(Op):
    """Puts values back where a max pool found them: `x -> max_unpool(pool.indices, like=skip)`.

    As torch's MaxUnpool2d; the rest is zero. `kernel`, `stride`, `pad` and `ceil` are those of the
    pool. Without `like` the result has (n - 1)*stride - 2*pad + kernel pixels.

    Attributes:
        kernel: rows and columns of the pool's window.
        stride: the pool's stride; the kernel if left out.
        pad: the pool's padding.
        ceil: whether the pool rounded up; needed only with `like`.
    """

    name: ClassVar[str] = "max_unpool"
    operands: ClassVar[tuple[str, ...]] = ("x", "indices", "like")
    optional: ClassVar[int] = 1
    sizes_only: ClassVar[frozenset[str]] = frozenset({"like"})

    _: KW_ONLY
    kernel: Pair = HALVING
    stride: Pair | None = None
    pad: Padding = NO_PAD
    ceil: bool = False

    def __post_init__(self) -> None:
        _check_pool(self.kernel, self.step, UNIT, self.pad)

    @property
    def step(self) -> Pair:
        """The stride in numbers."""
        return self.kernel if self.stride is None else self.stride

    @property
    def sides(self) -> Sides:
        """The padding in numbers."""
        return sides_of(self.pad, self.kernel, UNIT)

    def pool_window(self, axis: Axis) -> Window:
        """The window of the pool that is undone; it slides over the result."""
        return _pool_window(self.kernel, self.step, UNIT, self.pad, axis)

    def infer(self, *inputs: Feature) -> Feature:
        x, places = float_map(inputs[0]), any_map(inputs[1], 1)
        if places.dtype != "i64":
            message = f"needs the `indices` of a max pool, got {places.dtype}"
            raise RuleError(message, code="E3017", blame=1, help="`max_pool(2, indices=true)`")
        if len(inputs) == 3:
            like = any_map(inputs[2], 2)
            return x.with_spatial(like.height, like.width)
        sizes = (transposed_size(x.spatial(a), self.pool_window(a), 0) for a in (0, 1))
        return x.with_spatial(*sizes)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        x, out = inputs[0], self.infer(*inputs)
        found = equal_axes(x, inputs[1], (0, 1, 2, 3), (0, 1))
        axes: tuple[Axis, Axis] = (0, 1)
        for axis in axes:
            window, size, name = self.pool_window(axis), out.spatial(axis), AXES[2 + axis]
            found.append(fits(size, window, axis, self.ceil))
            message = f"the result would have {name} {size}"
            found.append(Requirement("at_least", size, 1, "E3006", message, ("kernel", 0)))
            if len(inputs) == 3:
                made = out_size(size, window, self.ceil)
                given = x.spatial(axis)
                message = f"this pool makes {name} {made} of `like`, but the map has {given}"
                found.append(Requirement("equal", made, given, "E3004", message, (0, 2)))
        return found

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        window = self.pool_window(axis)
        match self.operand_name(slot):
            case "like":
                return Nothing()
            case "indices":
                return Spread(tag="index", window=window)
            case _:
                return Spread(window=window)


@operator
@dataclass(frozen=True)
class AdaptiveAvgPool(Op):
    """Means over a fixed number of bins: `x -> adaptive_avg_pool(6)`.

    As torch's AdaptiveAvgPool2d: bin y of m covers floor(y*n/m) .. ceil((y + 1)*n/m) - 1.

    Attributes:
        bins: rows and columns of the result.
    """

    name: ClassVar[str] = "adaptive_avg_pool"

    bins: Pair

    def __post_init__(self) -> None:
        check_range("bins", min(self.bins), 1, None)
        check_range("bins", max(self.bins), 1, MAX_STEP)

    def infer(self, *inputs: Feature) -> Feature:
        return float_map(inputs[0]).with_spatial(*self.bins)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        bins, size = self.bins[axis], inputs[slot].spatial(axis)
        if bins == 1:
            return Whole()
        if not isinstance(size, int):
            return Bins(bins=bins)
        if size % bins:
            return Bins(tag="value", bins=bins)
        return Sliding(window=Window(size // bins, size // bins))


@operator
@dataclass(frozen=True)
class GlobalAvgPool(Op):
    """The mean of each channel, `[N, C, 1, 1]`: `x -> global_avg_pool`."""

    name: ClassVar[str] = "global_avg_pool"

    def infer(self, *inputs: Feature) -> Feature:
        return float_map(inputs[0]).with_spatial(1, 1)

    def window(self, axis: Axis) -> Everywhere:
        return EVERYWHERE
