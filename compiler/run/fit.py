"""Fitting a picture to a network: padding to an accepted size, and mapping the output back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import ceil, floor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compiler.run.alignment import Centre, centre
from compiler.run.prepare import picture_inputs
from compiler.run.refusals import no_mask, unfit
from segdsl.analysis.shapes import shapes
from segdsl.analysis.sizes import SizeSet, Undecidable, period
from segdsl.diagnostics import SegError
from segdsl.ir import Graph, Value
from segdsl.symbolic import Size, evaluate, symbol, symbols
from segdsl.types import Axis

Mode = Literal["reflect", "edge"]

_TRIES = 4_096
_NAMES = ("high", "wide")


@dataclass(frozen=True)
class AxisFit:
    """One axis of a fit, in pixels.

    `picture` pixels are padded by `before` and `after` in `mode`; the network answers with `out`.
    Enlarged to `grid` pixels (`grid == out` unless the output is coarse), they hold the picture's
    mask from `start` on.
    """

    picture: int
    before: int
    after: int
    mode: Mode
    out: int
    grid: int
    start: int

    @property
    def padded(self) -> int:
        """The size the network is given."""
        return self.before + self.picture + self.after


@dataclass(frozen=True)
class Fit:
    """How a picture goes into a network and its mask comes out."""

    height: AxisFit
    width: AxisFit

    @property
    def axes(self) -> tuple[AxisFit, AxisFit]:
        """Height and width."""
        return self.height, self.width

    @property
    def padded(self) -> bool:
        """Whether anything is added."""
        return any(axis.before or axis.after for axis in self.axes)

    @property
    def coarse(self) -> bool:
        """Whether the output has fewer pixels than the input it describes."""
        return any(axis.grid != axis.out for axis in self.axes)

    def pad(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """`[C, H, W]` with the padding around it."""
        for axis, fit in enumerate(self.axes, start=1):
            amounts = [(0, 0)] * 3
            amounts[axis] = (fit.before, fit.after)
            if any(amounts[axis]):
                values = np.pad(values, amounts, mode=fit.mode)
        return values

    def crop(self, classes: NDArray[np.generic]) -> NDArray[np.generic]:
        """The picture's part of `[grid rows, grid columns]`."""
        rows, columns = (slice(a.start, a.start + a.picture) for a in self.axes)
        return np.ascontiguousarray(classes[rows, columns])


def fit(graph: Graph, output: str, size: tuple[int, int], accepted: Mapping[str, SizeSet]) -> Fit:
    """The fit of a picture of `size` (height, width): the smallest accepted size that will do.

    Where input and output have the same number of pixels, they are the same pixels. Where the
    output lacks the border (valid convolutions), the picture is padded by what is lacking, so that
    the mask covers all of it: the mirrored border of the U-Net paper (arXiv:1505.04597, figure 2).
    Where the output is coarse, its pixels share the padded picture evenly, as
    `F.interpolate(..., align_corners=False)` has it. Padding reflects the picture, or repeats its
    last pixel where it is too small; of an odd amount the smaller half comes first.

    Args:
        graph: a network that takes one picture.
        output: the output node.
        size: of the picture.
        accepted: the accepted values of each size symbol.

    Raises:
        SegError: E0112 no accepted size, E0113 the output is no map of the picture.
    """
    name = picture_inputs(graph).name
    table = shapes(graph)
    before, after = table[Value(name)], table[Value(output)]
    if after.rank != 4:
        raise no_mask(f"the output is {after}, not a map [N, C, h, w]", "name another: `--output`")
    fitting = _Fitting(
        graph, output, accepted, (before.height, before.width), (after.height, after.width)
    )
    return fitting.solve(size)


@dataclass(frozen=True)
class _Fitting:
    graph: Graph
    output: str
    accepted: Mapping[str, SizeSet]
    inputs: tuple[Size, Size]
    outputs: tuple[Size, Size]

    def solve(self, size: tuple[int, int]) -> Fit:
        """The two axes, together where they share a symbol (square inputs), else one by one."""
        height, width = self.inputs
        if symbols(height) & symbols(width):
            found = self._first((0, 1), size)
            return Fit(found[0], found[1])
        return Fit(self._first((0,), size)[0], self._first((1,), size)[0])

    def _first(self, axes: tuple[Axis, ...], size: tuple[int, int]) -> list[AxisFit]:
        for values in islice(self._values(axes, size), _TRIES):
            found = [self._axis(axis, size[axis], values) for axis in axes]
            fits = [axis for axis in found if axis is not None]
            if len(fits) == len(found):
                return fits
        raise self._refused(axes[0], size)

    def _values(self, axes: tuple[Axis, ...], size: tuple[int, int]) -> Iterator[dict[str, int]]:
        """Accepted values of the axes' symbol, from the first that may be large enough."""
        names = sorted({name for axis in axes for name in symbols(self.inputs[axis])})
        if not names:
            yield {}
            return
        if len(names) > 1:
            raise no_mask(f"an input side depends on several sizes: {', '.join(names)}")
        (name,) = names
        plain = all(self.inputs[axis] == symbol(name) for axis in axes)
        value = self.accepted[name].at_least(max(size[axis] for axis in axes) if plain else 1)
        while value is not None:
            yield {name: value}
            value = self.accepted[name].at_least(value + 1)

    def _axis(self, axis: Axis, picture: int, values: Mapping[str, int]) -> AxisFit | None:
        """The fit along one axis at known sizes; None if the size is too small."""
        padded = evaluate(self.inputs[axis], values)
        out = self._out(axis, values)
        if padded < picture:
            return None
        stride = self._stride(axis, padded, out, values)
        if stride > 1:
            return _coarse(picture, padded, out, stride)
        shift = 0 if out == padded else self._shift(axis, padded - out, values)
        low, high = max(0, shift), min(padded - picture, shift + out - picture)
        if low > high:
            return None
        before = min(max(shift + (out - picture) // 2, low), high)
        return _axis_fit(picture, padded, before, out, out, before - shift)

    def _out(self, axis: Axis, values: Mapping[str, int]) -> int:
        try:
            return evaluate(self.outputs[axis], values)
        except KeyError as error:
            side = self.outputs[axis]
            raise no_mask(
                f"the output is {side} {_NAMES[axis]}: not the input's own axis"
            ) from error

    def _stride(self, axis: Axis, padded: int, out: int, values: Mapping[str, int]) -> Fraction:
        """Input pixels per output pixel."""
        if padded == out:
            return Fraction(1)
        stride = self._growth(axis) if values else self._fixed_stride(axis, padded, out)
        if stride is None:
            message = f"the output is {self.outputs[axis]} {_NAMES[axis]}"
            raise no_mask(f"{message}, the input {self.inputs[axis]}: it is no map of the picture")
        if stride < 1:
            raise no_mask(
                "the output has more pixels than the picture", "name another with `--output`"
            )
        return stride

    def _growth(self, axis: Axis) -> Fraction | None:
        try:
            (m, d), (k, e) = period(self.inputs[axis]), period(self.outputs[axis])
        except Undecidable:
            return None
        return Fraction(d, m) / Fraction(e, k) if e > 0 else None

    def _fixed_stride(self, axis: Axis, padded: int, out: int) -> Fraction | None:
        """For inputs of one size, where no formula tells a stride from a lost border."""
        place = self._centre(axis, {})
        if place is not None:
            return place[0]
        return Fraction(padded, out) if padded % out == 0 else None

    def _shift(self, axis: Axis, lack: int, values: Mapping[str, int]) -> int:
        """The input pixel under output pixel 0; where paths disagree, the output lies centred."""
        place = self._centre(axis, values)
        return floor(place[1]) if place is not None and place[0] == 1 else lack // 2

    def _centre(self, axis: Axis, values: Mapping[str, int]) -> Centre | None:
        table = shapes(self.graph, values)
        return centre(self.graph, table, Value(self.output), axis)

    def _refused(self, axis: Axis, size: tuple[int, int]) -> SegError:
        side = self.inputs[axis]
        only = (
            side if isinstance(side, int) else f"sizes with {takes(self.accepted, symbols(side))}"
        )
        message = (
            f"a picture {size[axis]} pixels {_NAMES[axis]} is too large: this net accepts {only}"
        )
        return unfit(message, "scale the picture down, or cut it into parts")


def takes(accepted: Mapping[str, SizeSet], names: Iterable[str]) -> str:
    """The accepted values of some symbols in words: `H = 16k, k >= 1; W = 16k, k >= 1`."""
    return "; ".join(str(accepted[name]) for name in names)


def _coarse(picture: int, padded: int, out: int, stride: Fraction) -> AxisFit:
    # One pixel more or less is rounding; more is a border that a resize would smear over the rest.
    if not floor(padded / stride) <= out <= ceil(padded / stride):
        message = f"the output is coarse and lacks its border ({out} pixels for {padded})"
        raise no_mask(
            message, "let the program pad its convolutions, or resize and crop its output"
        )
    before = (padded - picture) // 2
    return _axis_fit(picture, padded, before, out, padded, before)


def _axis_fit(picture: int, padded: int, before: int, out: int, grid: int, start: int) -> AxisFit:
    after = padded - picture - before
    mode: Mode = "reflect" if max(before, after) < picture else "edge"
    return AxisFit(picture, before, after, mode, out, grid, start)
