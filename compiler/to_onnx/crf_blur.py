"""Windows on a coarser grid in ONNX: features and scores are pooled, messages resized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.crf_kernels import Operands, shape_of
from compiler.to_onnx.crf_window import Grid, Tap
from segdsl.ops.terms import Term
from segdsl.symbolic import Size, ceil_div
from segdsl.types import Feature


@dataclass(frozen=True)
class BlurredKernel:
    """A window on a grid `blur` times coarser, of means of the features; messages are resized."""

    grid: Grid
    blur: int
    taps: tuple[Tap, ...]
    images: Size

    @staticmethod
    def of(reads: Operands, place: int, term: Term) -> BlurredKernel:
        """The window of a term; places are features like others, as cells at a border are cut."""
        x, blur = reads.site.x, reads.op.coarseness
        grid = Grid(reads, reads.op.size // 2, ceil_div(x.height, blur), ceil_div(x.width, blur))
        maps = [_place_map(reads, term)] if "sxy" in term.widths else []
        maps += [] if term.guide is None else [reads.guide(term)[0]]
        pooled = [_pooled(reads, grid, blur, each) for each in maps]
        taps = grid.taps([0.0] * len(grid.offsets), pooled)
        return BlurredKernel(grid, blur, tuple(taps), 1 if term.guide is None else x.batch)

    def apply(self, q: ir.Value) -> ir.Value:
        reads, grid, blur = self.grid.reads, self.grid, self.blur
        site, x = reads.site, reads.site.x
        message = grid.message(self.taps, _pooled(reads, grid, blur, q))
        to = grid.feature(message).with_spatial(grid.height * blur, grid.width * blur)
        factors = site.array(np.array([1, 1, blur, blur], np.float32))
        options = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        large = site.add("Resize", message, None, factors, to=to, given=options)
        starts = [_before(reads, axis, blur) for axis in (0, 1)]
        if all(isinstance(start, int) for start in starts):
            first = site.ints(*(int(str(start)) for start in starts))
        else:
            first = _join(reads, starts)
        last = site.whole("Add", first, reads.space(2), shape=(2,))
        cut = to.with_spatial(x.height, x.width)
        return site.add("Slice", large, first, last, site.ints(2, 3), to=cut)


def _place_map(reads: Operands, term: Term) -> ir.Value:
    """x/sx and y/sy of every pixel, `[1, 2, h, w]`."""
    site, x = reads.site, reads.site.x
    lines: list[ir.Value] = []
    one = Feature((1, 1, x.height, x.width))
    zero, step = (site.array(np.array(k, np.int64)) for k in (0, 1))
    for axis in (1, 0):
        size = x.shape[2 + axis]
        end = site.whole("Squeeze", reads.side(axis), site.ints(0), shape=())
        line = site.cast(site.whole("Range", zero, end, step, shape=(size,)), (size,))
        if axis == 0:
            line = site.add("Unsqueeze", line, site.ints(1), to=Feature((size, 1)))
        shape = site.join(site.ints(1, 1), reads.space(2))
        lines.append(site.add("Expand", line, shape, to=one))
    both = Feature((1, 2, x.height, x.width))
    places = site.add("Concat", *lines, to=both, axis=1)
    widths = reads.width(term.width("sxy"), 2)
    return site.add("Div", places, widths, to=both)


def _before(reads: Operands, axis: int, blur: int) -> int | ir.Value:
    """Pixels that the grid begins before the map: half of -n mod blur, rounded up."""
    size, site = reads.site.x.shape[2 + axis], reads.site
    if isinstance(size, int):
        return (-size % blur + 1) // 2
    missing = site.whole("Neg", reads.side(axis), shape=(1,))
    missing = site.whole("Mod", missing, site.ints(blur), shape=(1,))
    missing = site.whole("Add", missing, site.ints(1), shape=(1,))
    return site.whole("Div", missing, site.ints(2), shape=(1,))


def _join(reads: Operands, parts: Sequence[int | ir.Value]) -> ir.Value:
    site = reads.site
    return site.join(*(site.ints(p) if isinstance(p, int) else p for p in parts))


def _pooled(reads: Operands, grid: Grid, blur: int, x: ir.Value) -> ir.Value:
    """Means over the cells, of the pixels that are there."""
    site, field = reads.site, reads.site.x
    sides = [_before(reads, axis, blur) for axis in (0, 1)]
    images, channels = shape_of(x)[:2]
    to = grid.feature(x)
    if sides == [0, 0]:
        return _means(reads, x, blur, to)
    first: Size = 1 if images == 1 else field.batch
    wide = Feature(
        (
            first,
            int(str(channels)),
            grid.height * blur + (field.height + grid.height * blur) % 2,
            grid.width * blur + (field.width + grid.width * blur) % 2,
        )
    )
    pads = _join(reads, [0, 0, *sides, 0, 0, *sides])
    # Axes are stated, or ONNX Runtime (1.31) works the Pad into the pool.
    nothing, axes = site.number(0.0), site.ints(0, 1, 2, 3)
    space = Feature((1, 1, field.height, field.width))
    shape = site.join(site.ints(1, 1), reads.space(2))
    ones = site.add("Expand", site.number(1.0), shape, to=space)
    alone = Feature((1, 1, *wide.shape[2:]))
    sums, shares = (
        _means(
            reads,
            site.add("Pad", part, pads, nothing, axes, to=shaped, mode="constant"),
            blur,
            kind,
        )
        for part, shaped, kind in ((x, wide, to), (ones, alone, Feature((1, 1, *to.shape[2:]))))
    )
    return site.add("Div", sums, shares, to=to)


def _means(reads: Operands, x: ir.Value, blur: int, to: Feature) -> ir.Value:
    window = {"kernel_shape": [blur, blur], "strides": [blur, blur]}
    return reads.site.add("AveragePool", x, to=to, given=window)
