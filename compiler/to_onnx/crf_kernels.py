"""What the kernels of a conditional random field are made of in ONNX: amounts, widths, features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.site import Site
from segdsl.ops.crf import MeanField
from segdsl.ops.terms import Amount, Term
from segdsl.symbolic import Size
from segdsl.types import Feature, Slot


class Kernel(Protocol):
    """A kernel over pixels."""

    @property
    def images(self) -> Size:
        """How many images it is for: 1 where it does not depend on them."""
        ...

    def apply(self, q: ir.Value) -> ir.Value:
        """The messages K q; q is `[N, channels, h, w]`, or has one image where `images` is 1."""
        ...


def shape_of(value: ir.Value) -> Sequence[Any]:
    """The dimensions of a value as they were stated."""
    assert value.shape is not None
    return list(value.shape)


@dataclass(frozen=True)
class Operands:
    """The operator with its operands in the model."""

    op: MeanField
    site: Site
    values: tuple[ir.Value, ...]

    def space(self, count: int) -> ir.Value:
        """Height and width of the scores as a vector (`count` is 2), or their product (1)."""
        site, x = self.site, self.site.x
        if isinstance(x.height, int) and isinstance(x.width, int):
            return site.ints(x.height, x.width) if count == 2 else site.ints(x.height * x.width)
        both = site.sizes(self.values[0], 2, 4)
        if count == 2:
            return both
        return site.whole("ReduceProd", both, site.ints(0), shape=(1,))

    def side(self, axis: int) -> ir.Value:
        """Height (axis 0) or width as a vector of one."""
        size = self.site.x.shape[2 + axis]
        if isinstance(size, int):
            return self.site.ints(size)
        return self.site.sizes(self.values[0], 2 + axis, 3 + axis)

    def of(self, feature: Feature, channels: int, images: Size | None = None) -> Feature:
        """The type with other channels, and perhaps another batch."""
        first = feature.batch if images is None else images
        return Feature((first, channels, *feature.shape[2:]), "f32")

    def amount(self, amount: Amount) -> tuple[ir.Value, int]:
        """A weight that multiplies maps, and its rank; a matrix is the kernel of a Conv."""
        site, classes = self.site, self.site.x.channels
        if isinstance(amount, Slot):
            given = self.site.types[amount.index].shape
            rank = 0 if given == (1,) else len(given)
            to = {0: (1, 1, 1), 1: (classes, 1, 1), 2: (classes, classes, 1, 1)}[rank]
            value = site.add("Reshape", self.values[amount.index], site.ints(*to), to=Feature(to))
            return value, rank
        array = np.array(amount, np.float32)
        shape = {0: (), 1: (classes, 1, 1), 2: (classes, classes, 1, 1)}[array.ndim]
        return site.array(array.reshape(shape)), array.ndim

    def width(self, widths: Any, channels: int) -> ir.Value:
        """Standard deviations by channel, `[channels, 1, 1]` or `[1, 1, 1]`."""
        site = self.site
        if isinstance(widths, Slot):
            count = self.site.types[widths.index].shape[0]
            assert isinstance(count, int)
            to = Feature((count, 1, 1))
            return site.add("Reshape", self.values[widths.index], site.ints(count, 1, 1), to=to)
        array = np.array(widths, np.float32).reshape(-1)
        return site.array(array.reshape(-1, 1, 1))

    def guide(self, term: Term) -> tuple[ir.Value, Feature]:
        """The guide over its standard deviations."""
        assert term.guide is not None
        site, feature = self.site, self.site.types[term.guide.index]
        value = self.values[term.guide.index]
        single = Feature(feature.shape)
        if feature.dtype != "f32":
            value = site.cast(value, feature.shape)
        widths = getattr(term, term.widths[-1])
        return site.add("Div", value, self.width(widths, feature.channels), to=single), single


def scaled(reads: Operands, x: ir.Value, by: ir.Value | None) -> ir.Value:
    """`x` times a map of one channel, where there is one."""
    if by is None:
        return x
    return reads.site.add("Mul", x, by, to=like(reads, x))


def like(reads: Operands, x: ir.Value) -> Feature:
    """The type of maps of the scores' size with the channels and images of `x`."""
    shape = shape_of(x)
    first: Size = 1 if shape[0] == 1 else reads.site.x.batch
    return Feature((first, int(str(shape[1])), *reads.site.x.shape[2:]))
