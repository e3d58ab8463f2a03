"""Kernels over all pairs of pixels in ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.crf_kernels import Operands, like
from segdsl.ops.terms import Term
from segdsl.symbolic import Size
from segdsl.types import Feature, Slot


@dataclass(frozen=True)
class SeparableKernel:
    """A kernel of places alone: one matrix per axis.

    Without a pixel's own message it is K - I = (Ky - I) x Kx + I x (Kx - I), as `compiler.crf`
    computes it: subtracting q would cancel small kernels.
    """

    reads: Operands
    down: ir.Value
    across: ir.Value
    hollow: tuple[ir.Value, ir.Value] | None
    images: Size = 1

    @staticmethod
    def of(reads: Operands, place: int, term: Term) -> SeparableKernel:
        """The matrices of a Gaussian term."""
        widths = term.width("sxy")
        across = _axis(reads, 1, widths)
        down = _axis(reads, 0, widths)
        hollow = None
        if not reads.op.include_self:
            hollow = _hollow(reads, down, 0), _hollow(reads, across, 1)
        return SeparableKernel(reads, down, across, hollow)

    def apply(self, q: ir.Value) -> ir.Value:
        site, to = self.reads.site, like(self.reads, q)
        rows = site.add("MatMul", q, self.across, to=to)
        if self.hollow is None:
            return site.add("MatMul", self.down, rows, to=to)
        down, across = self.hollow
        far = site.add("MatMul", down, rows, to=to)
        return site.add("Add", far, site.add("MatMul", q, across, to=to), to=to)


@dataclass(frozen=True)
class DenseKernel:
    """The matrix of all pairs, `[N, P, P]` with P = h w."""

    reads: Operands
    matrix: ir.Value
    images: Size

    @staticmethod
    def of(reads: Operands, place: int, term: Term) -> DenseKernel:
        """Sum of squared differences, channel by channel: products would cancel in f32."""
        site, x = reads.site, reads.site.x
        pixels = x.height * x.width
        guide, feature = reads.guide(term)
        channels = [
            *(_places(reads, axis, term) for axis in (1, 0) if "sxy" in term.widths),
            *_flat_channels(reads, guide, feature),
        ]
        to = Feature((x.batch, pixels, pixels))
        total: ir.Value | None = None
        sum_of: Size = 1  # places are alike for all images, so their sum has one
        for row, column, images in channels:
            pair = Feature((images, pixels, pixels))
            gap = site.add("Sub", row, column, to=pair)
            square = site.add("Mul", gap, gap, to=pair)
            sum_of = images if sum_of == 1 else sum_of
            both = Feature((sum_of, pixels, pixels))
            total = square if total is None else site.add("Add", total, square, to=both)
        assert total is not None
        matrix = site.add("Exp", site.add("Mul", total, site.number(-0.5), to=to), to=to)
        if not reads.op.include_self:
            apart = _apart(reads, reads.space(1), pixels)
            matrix = site.add("Mul", matrix, apart, to=to)
        return DenseKernel(reads, matrix, x.batch)

    def apply(self, q: ir.Value) -> ir.Value:
        """K is symmetric, so that q K holds the messages of all classes."""
        site, to = self.reads.site, like(self.reads, q)
        pixels = to.height * to.width
        flat = Feature((to.batch, to.channels, pixels))
        rows = site.add("Reshape", q, site.ints(0, 0, -1), to=flat)
        sums = site.add("MatMul", rows, self.matrix, to=flat)
        shape = site.join(site.ints(0, 0), self.reads.space(2))
        return site.add("Reshape", sums, shape, to=to)


def _range(reads: Operands, count: ir.Value, size: Size) -> ir.Value:
    """0, 1, ... as f32."""
    site = reads.site
    zero, one = (site.array(np.array(k, np.int64)) for k in (0, 1))
    end = site.whole("Squeeze", count, site.ints(0), shape=())
    return site.cast(site.whole("Range", zero, end, one, shape=(size,)), (size,))


def _width(reads: Operands, widths: Any, axis: int) -> ir.Value:
    """The standard deviation along an axis; `[x, y]` states width first."""
    site, place = reads.site, 1 - axis
    if not isinstance(widths, Slot):
        number = widths[place] if isinstance(widths, tuple) else widths
        return site.number(float(number))
    value = reads.values[widths.index]
    if reads.site.types[widths.index].shape == (1,):
        return value
    return site.add("Gather", value, site.ints(place), to=Feature((1,)), axis=0)


def _axis(reads: Operands, axis: int, widths: Any) -> ir.Value:
    """exp(-((i - j)/s)^2 / 2) along an axis."""
    site, size = reads.site, reads.site.x.shape[2 + axis]
    line = Feature((size,))
    places = site.add(
        "Div", _range(reads, reads.side(axis), size), _width(reads, widths, axis), to=line
    )
    to = Feature((size, size))
    column = site.add("Unsqueeze", places, site.ints(1), to=Feature((size, 1)))
    gap = site.add("Sub", column, places, to=to)
    square = site.add("Mul", gap, gap, to=to)
    return site.add("Exp", site.add("Mul", square, site.number(-0.5), to=to), to=to)


def _apart(reads: Operands, count: ir.Value, size: Size) -> ir.Value:
    """1 for two different pixels, 0 for one and itself."""
    site = reads.site
    places = _range(reads, count, size)
    column = site.add("Unsqueeze", places, site.ints(1), to=Feature((size, 1)))
    same = site.add("Equal", column, places, to=Feature((size, size), "bool"))
    other = site.add("Not", same, to=Feature((size, size), "bool"))
    return site.cast(other, (size, size))


def _hollow(reads: Operands, kernel: ir.Value, axis: int) -> ir.Value:
    size = reads.site.x.shape[2 + axis]
    apart = _apart(reads, reads.side(axis), size)
    return reads.site.add("Mul", kernel, apart, to=Feature((size, size)))


def _places(reads: Operands, axis: int, term: Term) -> tuple[ir.Value, ir.Value, Size]:
    """The places of all pixels along an axis, as a column and as a row of pairs."""
    site, x = reads.site, reads.site.x
    height, width = x.height, x.width
    size = x.shape[2 + axis]
    line = _range(reads, reads.side(axis), size)
    widths = term.width("sxy")
    line = site.add("Div", line, _width(reads, widths, axis), to=Feature((size,)))
    if axis == 0:
        line = site.add("Unsqueeze", line, site.ints(1), to=Feature((height, 1)))
    grid = site.add("Expand", line, reads.space(2), to=Feature((height, width)))
    return _pairs(reads, grid, 1)


def _flat_channels(
    reads: Operands, guide: ir.Value, feature: Feature
) -> list[tuple[ir.Value, ir.Value, Size]]:
    site, count = reads.site, feature.channels
    one = Feature((feature.batch, 1, *feature.shape[2:]))
    if count == 1:
        return [_pairs(reads, guide, feature.batch)]
    parts = site.values.add(
        "Split", [guide], [one] * count, site.stem, {"axis": 1, "num_outputs": count}
    )
    return [_pairs(reads, part, feature.batch) for part in parts]


def _pairs(reads: Operands, values: ir.Value, images: Size) -> tuple[ir.Value, ir.Value, Size]:
    """A value per pixel as `[images, P, 1]` and `[images, 1, P]`."""
    site, x = reads.site, reads.site.x
    pixels = x.height * x.width
    first = site.ints(images) if isinstance(images, int) else site.sizes(reads.values[0], 0, 1)
    column = site.add(
        "Reshape", values, site.join(first, site.ints(-1, 1)), to=Feature((images, pixels, 1))
    )
    row = site.add(
        "Reshape", values, site.join(first, site.ints(1, -1)), to=Feature((images, 1, pixels))
    )
    return column, row, images
