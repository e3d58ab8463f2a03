"""Kernels cut off outside a window in ONNX: shifts of padded maps.

An im2col has no operator in ONNX, and a Conv with one filter per offset would hold k^2 C maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.crf_kernels import Operands, shape_of
from segdsl.ops.terms import Term
from segdsl.symbolic import Size
from segdsl.types import Feature, Slot

END = 2**63 - 1
"""A slice up to here goes to the end of the axis."""

Tap = float | ir.Value
"""The kernel at one offset: a number, or a map `[images, 1, h, w]`."""


@dataclass(frozen=True)
class Grid:
    """Maps of one size and the offsets of a window on them."""

    reads: Operands
    radius: int
    height: Size
    width: Size

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """All (dy, dx), rows first."""
        line = range(-self.radius, self.radius + 1)
        return [(dy, dx) for dy in line for dx in line]

    def feature(self, of: ir.Value) -> Feature:
        """The type of a map of this size with the images and channels of a value."""
        images, channels = shape_of(of)[:2]
        first: Size = 1 if images == 1 else self.reads.site.x.batch
        return Feature((first, int(str(channels)), self.height, self.width))

    def padded(self, x: ir.Value) -> ir.Value:
        """`x` with zeros around it, as far as the window reaches."""
        r, to = self.radius, self.feature(x)
        if not r:
            return x
        wide = to.with_spatial(self.height + 2 * r, self.width + 2 * r)
        site = self.reads.site
        return site.add("Pad", x, site.ints(0, 0, r, r, 0, 0, r, r), to=wide, mode="constant")

    def shifted(self, padded: ir.Value, offset: tuple[int, int]) -> ir.Value:
        """The map whose pixel i is the padded one's pixel i + offset."""
        if not self.radius:
            return padded
        site, r = self.reads.site, self.radius
        starts = [r + step for step in offset]
        ends = [step - r or END for step in offset]
        to = self.feature(padded)
        return site.add(
            "Slice", padded, site.ints(*starts), site.ints(*ends), site.ints(2, 3), to=to
        )

    def message(self, taps: Sequence[Tap], q: ir.Value) -> ir.Value:
        """The sum over offsets o of K_o(i) q(i + o)."""
        site, to = self.reads.site, self.feature(q)
        wide = self.padded(q)
        if any(not isinstance(tap, float) and shape_of(tap)[0] != 1 for tap in taps):
            to = Feature((site.x.batch, *to.shape[1:]))
        total: ir.Value | None = None
        for offset, tap in zip(self.offsets, taps, strict=True):
            if tap == 0.0:
                continue
            factor = site.number(tap) if isinstance(tap, float) else tap
            part = site.add("Mul", self.shifted(wide, offset), factor, to=to)
            total = part if total is None else site.add("Add", total, part, to=to)
        return site.add("Mul", q, site.number(0.0), to=to) if total is None else total

    def taps(self, places: Sequence[Tap], maps: Sequence[ir.Value]) -> list[Tap]:
        """exp(-|f_i - f_j|^2 / 2) by offset.

        Args:
            places: by offset, what the places add to the exponent.
            maps: further features, `[images, d, h, w]` each.
        """
        own = 1.0 if self.reads.op.include_self else 0.0
        half = len(places) // 2
        if not maps:
            taps = [self._exp(place) for place in places]
            taps[half] = own
            return taps
        wide = [self.padded(x) for x in maps]
        first = [
            self._tap(offset, place, maps, wide)
            for offset, place in zip(self.offsets[:half], places[:half], strict=True)
        ]
        # K_-o(i) = K_o(i - o): zeros come in from outside, where there is no pixel.
        offsets = self.offsets[half + 1 :]
        second = [
            self.shifted(self.padded(tap), offset)
            for tap, offset in zip(reversed(first), offsets, strict=True)
        ]
        return [*first, own, *second]

    def _exp(self, exponent: Tap) -> Tap:
        if isinstance(exponent, float):
            return float(np.exp(exponent))
        return self.reads.site.add("Exp", exponent, to=Feature((1, 1, 1)))

    def _tap(
        self,
        offset: tuple[int, int],
        place: Tap,
        maps: Sequence[ir.Value],
        wide: Sequence[ir.Value],
    ) -> ir.Value:
        site = self.reads.site
        total: ir.Value | None = None
        for x, padded in zip(maps, wide, strict=True):
            to = self.feature(x)
            gap = site.add("Sub", x, self.shifted(padded, offset), to=to)
            one = Feature((to.batch, 1, *to.shape[2:]))
            square = site.add("ReduceSumSquare", gap, site.ints(1), to=one, keepdims=1)
            total = square if total is None else site.add("Add", total, square, to=one)
        assert total is not None
        one = self.feature(maps[-1])
        one = Feature((one.batch, 1, *one.shape[2:]))
        exponent = site.add("Mul", total, site.number(-0.5), to=one)
        if place != 0.0:
            far = site.number(place) if isinstance(place, float) else place
            exponent = site.add("Add", exponent, far, to=one)
        return site.add("Exp", exponent, to=one)


@dataclass(frozen=True)
class WindowKernel:
    """A window at full size."""

    grid: Grid
    taps: tuple[Tap, ...]
    images: Size

    @staticmethod
    def of(reads: Operands, place: int, term: Term) -> WindowKernel:
        """The window of a term; places give numbers, so that they need no maps."""
        x = reads.site.x
        grid = Grid(reads, reads.op.size // 2, x.height, x.width)
        maps = [] if term.guide is None else [reads.guide(term)[0]]
        taps = grid.taps(_places(reads, grid, term), maps)
        return WindowKernel(grid, tuple(taps), 1 if term.guide is None else x.batch)

    def apply(self, q: ir.Value) -> ir.Value:
        return self.grid.message(self.taps, q)

    def scaled(self, pre: ir.Value | None, post: ir.Value | None, weight: float) -> WindowKernel:
        """Weight * post(i) K(i, j) pre(j), as one kernel."""
        site, grid = self.grid.reads.site, self.grid
        after: Tap = weight
        if post is not None and shape_of(post)[2:] == [1, 1]:
            after = _scalar_map(site, post, weight)
        elif post is not None:
            after = site.add("Mul", post, site.number(weight), to=grid.feature(post))
        before = None if pre is None else grid.padded(pre)
        taps: list[Tap] = []
        for offset, tap in zip(grid.offsets, self.taps, strict=True):
            if before is not None and tap != 0.0:
                tap = self._times(tap, grid.shifted(before, offset))
            taps.append(self._times(tap, after))
        images: Size = 1 if all(_single(tap) for tap in taps) else site.x.batch
        return WindowKernel(grid, tuple(taps), images)

    def plus(self, other: WindowKernel) -> WindowKernel:
        """The sum of two kernels."""
        pairs = zip(self.taps, other.taps, strict=True)
        taps = tuple(self._sum(a, b) for a, b in pairs)
        images = self.grid.reads.site.x.batch if self.images != 1 else other.images
        return WindowKernel(self.grid, taps, images)

    def _times(self, a: Tap, b: Tap) -> Tap:
        return self._joined("Mul", a, b) if 0.0 not in (a, b) else 0.0

    def _sum(self, a: Tap, b: Tap) -> Tap:
        if a == 0.0 or b == 0.0:
            return b if a == 0.0 else a
        return self._joined("Add", a, b)

    def _joined(self, op_type: str, a: Tap, b: Tap) -> Tap:
        if isinstance(a, float) and isinstance(b, float):
            return a * b if op_type == "Mul" else a + b
        site = self.grid.reads.site
        values = [site.number(v) if isinstance(v, float) else v for v in (a, b)]
        to = _broadcast(self.grid, values)
        return site.add(op_type, *values, to=to)


def _single(tap: Tap) -> bool:
    return isinstance(tap, float) or shape_of(tap)[0] == 1 or len(shape_of(tap)) < 4


def _scalar_map(site: Any, post: ir.Value, weight: float) -> ir.Value:
    images = shape_of(post)[0]
    to = Feature((1 if images == 1 else site.x.batch, 1, 1, 1))
    scaled: ir.Value = site.add("Mul", post, site.number(weight), to=to)
    return scaled


def _broadcast(grid: Grid, values: Sequence[ir.Value]) -> Feature:
    """The type of an elementwise result: maps of the grid's size where any operand is one."""
    shapes = [shape_of(value) for value in values]
    images: Size = 1
    if any(len(shape) == 4 and shape[0] != 1 for shape in shapes):
        images = grid.reads.site.x.batch
    if any(len(shape) == 4 and shape[2:] != [1, 1] for shape in shapes):
        return Feature((images, 1, grid.height, grid.width))
    if any(len(shape) == 4 for shape in shapes):
        return Feature((images, 1, 1, 1))
    return Feature((1, 1, 1))


def _places(reads: Operands, grid: Grid, term: Term) -> list[Tap]:
    """What places add to the exponent, by offset: numbers, or scalars where widths are learned."""
    count = len(grid.offsets)
    if "sxy" not in term.widths:
        return [0.0] * count
    widths = term.width("sxy")
    steps = np.array([(dx, dy) for dy, dx in grid.offsets], np.float32)
    if not isinstance(widths, Slot):
        exponents = -0.5 * ((steps.astype(np.float64) / np.array(widths, np.float64)) ** 2).sum(1)
        return [float(number) for number in exponents]
    site, to = reads.site, Feature((count, 2))
    far = site.add("Div", site.array(steps), reads.values[widths.index], to=to)
    line = Feature((count,))
    squares = site.add("ReduceSumSquare", far, site.ints(1), to=line, keepdims=0)
    exponents_ = site.add("Mul", squares, site.number(-0.5), to=line)
    if count == 1:
        return [_cube(reads, exponents_)]
    options = {"axis": 0, "num_outputs": count}
    parts = site.values.add("Split", [exponents_], [Feature((1,))] * count, site.stem, options)
    return [_cube(reads, part) for part in parts]


def _cube(reads: Operands, scalar: ir.Value) -> ir.Value:
    return reads.site.add("Reshape", scalar, reads.site.ints(1, 1, 1), to=Feature((1, 1, 1)))
