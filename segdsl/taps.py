"""Which input indices an output index reads along one axis: the one thing an operator states.

Receptive fields (concrete and periodic), alignment and tiling are derived from these. Indices are
on the unbounded axis; `edge` says what becomes of those outside `[0, n)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from struct import pack, unpack
from typing import Literal

from segdsl.types import POINTWISE, Window

ONE = Fraction(1)

Edge = Literal["drop", "clamp", "reflect"]
Tag = Literal["value", "gate", "stat", "attend", "index", "offset", "crf", "adaptive", "size"]
"""`value` edges carry the local receptive field; `size` edges (`like=`) carry nothing."""


def _inside(index: int, size: int, edge: Edge) -> int | None:
    """Where an index of the unbounded axis lands on an axis of `size` pixels; None: nowhere."""
    if 0 <= index < size:
        return index
    if edge == "clamp":
        return min(max(index, 0), size - 1)
    if edge == "reflect":
        mirrored = -index if index < 0 else 2 * (size - 1) - index
        return mirrored if 0 <= mirrored < size else None
    return None


def _single(value: float) -> float:
    """`value` rounded to float32, in which torch computes nearest neighbours."""
    rounded: float = unpack("f", pack("f", value))[0]
    return rounded


@dataclass(frozen=True)
class Taps:
    """Taps of one operand along one axis; the base of the forms below.

    `tag` says what kind of dependence it is; `edge` what an index outside the map becomes. `also`
    is the tag of a second dependence where an operator has one (statistics, moved points,
    messages): on the taps `beyond`, or on the whole axis without them.
    """

    tag: Tag = "value"
    edge: Edge = "drop"
    also: Tag | None = None
    beyond: Taps | None = None

    @property
    def dependences(self) -> tuple[Taps, ...]:
        """These taps without the second dependence, and that one, if there is one."""
        if self.also is None:
            return (self,)
        return replace(self, also=None, beyond=None), self.beyond or Whole(tag=self.also)

    def indices(self, y: int) -> Sequence[int]:
        """The input indices that output `y` reads, before the edge rule.

        Raises:
            ValueError: they depend on the sizes; `at` knows them.
        """
        raise ValueError(f"{type(self).__name__} depends on the sizes")

    def at(self, y: int, before: int, after: int) -> tuple[int, ...]:
        """The pixels that output `y` of `after` reads on an axis of `before`, in rising order.

        Exact at the borders: the edge rule is applied. Leaves out the dependence of `also`.

        Raises:
            ValueError: the taps depend on sizes that were not known when the operator was asked.
        """
        inside = (_inside(i, before, self.edge) for i in self.indices(y))
        return tuple(sorted({i for i in inside if i is not None}))

    @property
    def advance(self) -> tuple[int, int] | None:
        """The smallest (out, in) with indices(y + out) = indices(y) + in; None if there is none."""
        raise NotImplementedError

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        """(r, t): the centre of output y lies at input r*y + t; None where no such map exists."""
        raise NotImplementedError


@dataclass(frozen=True)
class Sliding(Taps):
    """A window: `stride*y - before + dilation*j` for j below `kernel`."""

    window: Window = POINTWISE

    def indices(self, y: int) -> Sequence[int]:
        w = self.window
        first = w.stride * y - w.before
        return range(first, first + w.extent, w.dilation)

    @property
    def advance(self) -> tuple[int, int] | None:
        return (1, self.window.stride)

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        w = self.window
        return Fraction(w.stride), Fraction(w.extent - 1, 2) - w.before


@dataclass(frozen=True)
class Displaced(Taps):
    """Bilinear samples at `stride*y + point`, each moved by up to `margin` pixels either way.

    A sample at a whole position reads that pixel alone, any other the two around it.
    """

    points: tuple[Fraction, ...] = (Fraction(0),)
    stride: int = 1
    margin: Fraction = Fraction(0)

    def indices(self, y: int) -> Sequence[int]:
        near = {i for p in self.points for i in range(*self._around(p))}
        return [self.stride * y + i for i in sorted(near)]

    def _around(self, point: Fraction) -> tuple[int, int]:
        """The first pixel that a sample near `point` may read, and the one after the last."""
        return floor(point - self.margin), ceil(point + self.margin) + 1

    @property
    def advance(self) -> tuple[int, int] | None:
        return (1, self.stride)

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        ends = [end for p in self.points for end in self._around(p)]
        return Fraction(self.stride), Fraction(min(ends) + max(ends) - 1, 2)


@dataclass(frozen=True)
class Spread(Taps):
    """A transposed window: `(y + before - dilation*j) / stride` where whole. May be empty."""

    window: Window = POINTWISE

    def indices(self, y: int) -> Sequence[int]:
        w = self.window
        reached = (y + w.before - w.dilation * j for j in range(w.kernel))
        return sorted(position // w.stride for position in reached if position % w.stride == 0)

    @property
    def advance(self) -> tuple[int, int] | None:
        return (self.window.stride, 1)

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        w = self.window
        return Fraction(1, w.stride), (w.before - Fraction(w.extent - 1, 2)) / w.stride


@dataclass(frozen=True)
class Nearest(Taps):
    """Nearest-neighbour resize: floor((y + shift) * ratio), ratio = in/out.

    The shift is 0, or 1/2 for nearest-exact.
    """

    ratio: Fraction = ONE
    exact: bool = False
    edge: Edge = "clamp"

    def indices(self, y: int) -> Sequence[int]:
        return (floor((y + Fraction(int(self.exact), 2)) * self.ratio),)

    def at(self, y: int, before: int, after: int) -> tuple[int, ...]:
        """As torch computes it, in float32: the rational rule differs in some odd ratios.

        Source: pytorch/pytorch aten/src/ATen/native/UpSample.h, `nearest_idx`. Equal and doubled
        sizes ignore the factor, which shows where n*factor was rounded down.
        """
        if not self.exact and after in (before, 2 * before):
            return (y * before // after,)
        place = _single(_single(y + 0.5 * self.exact) * _single(float(self.ratio)))
        return (min(floor(place), before - 1),)

    @property
    def advance(self) -> tuple[int, int] | None:
        return (self.ratio.denominator, self.ratio.numerator)

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        u, r = self.ratio.denominator, self.ratio
        if not self.exact:
            return r, -Fraction(u - 1, 2 * u)
        shift = (r - 1) / 2 if r.numerator % 2 else r / 2 - Fraction(u - 1, 2 * u)
        return r, shift


def _around(x: Fraction, reach: int) -> Sequence[int]:
    """The `2*reach` pixels around x; one alone where x is whole, which then has all the weight."""
    if x.denominator == 1:
        return (int(x),)
    return range(floor(x) - reach + 1, floor(x) + reach + 1)


@dataclass(frozen=True)
class Interpolated(Taps):
    """Half-pixel resize: taps around x = (y + 1/2)*ratio - 1/2.

    `reach` is 1 for bilinear, 2 for bicubic. Where x is whole, one tap has all the weight.
    """

    ratio: Fraction = ONE
    reach: int = 1
    edge: Edge = "clamp"

    def indices(self, y: int) -> Sequence[int]:
        return _around((y + Fraction(1, 2)) * self.ratio - Fraction(1, 2), self.reach)

    def at(self, y: int, before: int, after: int) -> tuple[int, ...]:
        """As torch computes it: bilinearly, an axis that keeps its size ignores the factor.

        Source: pytorch/pytorch aten/src/ATen/native/UpSample.h,
        `compute_source_index_and_lambda`.
        """
        same = before == after and self.reach == 1
        return (y,) if same else super().at(y, before, after)

    @property
    def advance(self) -> tuple[int, int] | None:
        return (self.ratio.denominator, self.ratio.numerator)

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        return self.ratio, (self.ratio - 1) / 2


@dataclass(frozen=True)
class Antialiased(Taps):
    """Half-pixel resize with antialiasing: all pixels under a kernel widened by the ratio."""

    ratio: Fraction = ONE
    reach: int = 1
    edge: Edge = "drop"

    def indices(self, y: int) -> Sequence[int]:
        middle = (y + Fraction(1, 2)) * self.ratio
        half = self.reach * max(Fraction(1), self.ratio)
        zero = half / 2 if self.reach == 2 else None
        near = range(floor(middle - half) - 1, ceil(middle + half) + 1)
        distance = {i: abs(i + Fraction(1, 2) - middle) for i in near}
        return [i for i in near if distance[i] < half and distance[i] != zero]

    def at(self, y: int, before: int, after: int) -> tuple[int, ...]:
        """As torch computes it: an axis that keeps its size is passed over, whatever the factor.

        Source: pytorch/pytorch aten/src/ATen/native/cpu/UpSampleKernel.cpp,
        `separable_upsample_generic_Nd_kernel_impl`.
        """
        return (y,) if before == after else super().at(y, before, after)

    @property
    def advance(self) -> tuple[int, int] | None:
        return (self.ratio.denominator, self.ratio.numerator)

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        return self.ratio, (self.ratio - 1) / 2


@dataclass(frozen=True)
class Corners(Taps):
    """Resizes whose ratio depends on the sizes, such as aligned corners: known for given n, m.

    `ratio` is that of aligned corners, (n - 1)/(m - 1), where it is known without the sizes.
    """

    mode: Literal["nearest", "nearest_exact", "bilinear", "bicubic"] = "bilinear"
    align_corners: bool = True
    antialias: bool = False
    ratio: Fraction | None = None
    edge: Edge = "clamp"

    def indices(self, y: int) -> Sequence[int]:
        if self.ratio is None:
            return super().indices(y)
        return _around(y * self.ratio, 2 if self.mode == "bicubic" else 1)

    def at(self, y: int, before: int, after: int) -> tuple[int, ...]:
        reach = 2 if self.mode == "bicubic" else 1
        if self.align_corners:
            x = Fraction(y * (before - 1), after - 1) if after > 1 else Fraction(0)
            near = _around(x, reach)
            return tuple(sorted({min(max(i, 0), before - 1) for i in near}))
        ratio = Fraction(before, after)
        if self.mode in ("nearest", "nearest_exact"):
            return Nearest(ratio=ratio, exact=self.mode == "nearest_exact").at(y, before, after)
        form = Antialiased if self.antialias else Interpolated
        return form(ratio=ratio, reach=reach).at(y, before, after)

    @property
    def advance(self) -> tuple[int, int] | None:
        return None if self.ratio is None else (self.ratio.denominator, self.ratio.numerator)

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        return None if self.ratio is None else (self.ratio, Fraction(0))


@dataclass(frozen=True)
class Bins(Taps):
    """Adaptive pooling to m bins: floor(y*n/m) .. ceil((y + 1)*n/m) - 1, known for a given n."""

    bins: int = 1
    tag: Tag = "adaptive"

    def at(self, y: int, before: int, after: int) -> tuple[int, ...]:
        return tuple(range(y * before // self.bins, -(-(y + 1) * before // self.bins)))

    @property
    def advance(self) -> tuple[int, int] | None:
        return None

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        return None


@dataclass(frozen=True)
class Shifted(Taps):
    """Crop, pad, slice: output y reads `offset + step*y`; None: known only for given sizes."""

    offset: int | None = 0
    step: int = 1

    def indices(self, y: int) -> Sequence[int]:
        if self.offset is None:
            raise ValueError("the offset of a centred crop is known only for given sizes")
        return (self.offset + self.step * y,)

    @property
    def advance(self) -> tuple[int, int] | None:
        return (1, self.step)

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        return None if self.offset is None else (Fraction(self.step), Fraction(self.offset))


@dataclass(frozen=True)
class Grouped(Taps):
    """Depth to space by `factor`: output y reads y // factor."""

    factor: int = 1

    def indices(self, y: int) -> Sequence[int]:
        return (y // self.factor,)

    @property
    def advance(self) -> tuple[int, int] | None:
        return (self.factor, 1)

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        return Fraction(1, self.factor), -Fraction(self.factor - 1, 2 * self.factor)


@dataclass(frozen=True)
class Blurred(Taps):
    """Messages on a grid `blur` times coarser, `rounds` times over.

    A pixel is interpolated from two cells, each of which hears all cells up to `radius` away, and
    each of those is the mean of its pixels. The grid starts ceil(off/2) pixels before the map, with
    off = -n mod blur, so that the taps depend on the size. Source: MarvinTeichmann/ConvCRF.
    """

    radius: int = 0
    rounds: int = 1
    blur: int = 2

    def at(self, y: int, before: int, after: int) -> tuple[int, ...]:
        before_first = (-before % self.blur + 1) // 2
        last_cell = -(-before // self.blur) - 1
        low = high = y
        for _ in range(self.rounds):
            first = self._cells(low + before_first)[0] - self.radius
            last = self._cells(high + before_first)[1] + self.radius
            low = max(max(first, 0) * self.blur - before_first, 0)
            high = min((min(last, last_cell) + 1) * self.blur - before_first, before) - 1
        return tuple(range(low, high + 1))

    def _cells(self, pixel: int) -> tuple[int, int]:
        """The two cells between whose middles a pixel of the padded map lies."""
        first = (2 * pixel + 1 - self.blur) // (2 * self.blur)
        return first, first + 1

    @property
    def advance(self) -> tuple[int, int] | None:
        return None

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        return None


@dataclass(frozen=True)
class First(Taps):
    """Pixel 0 for every output: an axis of size 1 that is stretched over a map, as by a gate."""

    tag: Tag = "gate"

    def indices(self, y: int) -> Sequence[int]:
        return (0,)

    @property
    def advance(self) -> tuple[int, int] | None:
        return None

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        return None


@dataclass(frozen=True)
class Whole(Taps):
    """The whole axis: global pools, spatial softmax, attention, statistics over space."""

    tag: Tag = "stat"

    def at(self, y: int, before: int, after: int) -> tuple[int, ...]:
        return tuple(range(before))

    @property
    def advance(self) -> tuple[int, int] | None:
        return None

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        return None


@dataclass(frozen=True)
class Nothing(Taps):
    """No pixel at all: the operand of a `like=`, of which only the size is read."""

    tag: Tag = "size"

    def indices(self, y: int) -> Sequence[int]:
        return ()

    @property
    def advance(self) -> tuple[int, int] | None:
        return (1, 1)

    @property
    def centre(self) -> tuple[Fraction, Fraction] | None:
        return None
