"""Receptive fields of every value for all input sizes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from segdsl.analysis.reach.alignment import Centre, Centres, centres
from segdsl.analysis.reach.periodic import (
    EVERYTHING,
    START,
    Everything,
    Phases,
    State,
    Unknown,
    merge,
    through,
    within,
)
from segdsl.analysis.reach.wiring import AXES, Wire, Wiring, wire
from segdsl.analysis.sizes import SizeSet
from segdsl.ir import Graph, Value
from segdsl.types import Axis

Tags = frozenset[str]
NO_TAGS: Tags = frozenset()


class Line(NamedTuple):
    """What a node depends on along one axis.

    `local` counts value edges only, `full` all of them. `tags` are the other kinds of edges on any
    path, `via` the last such edge of each path. `rests` is the size class that this holds for.
    """

    local: State
    full: State
    tags: Tags = NO_TAGS
    via: Tags = NO_TAGS
    rests: str | None = None


UNTOUCHED = Line(None, None)


class Cell(NamedTuple):
    """Both axes of a node, and whether its local set is rows x columns."""

    lines: tuple[Line, Line]
    product: bool = True


@dataclass(frozen=True)
class Reach:
    """The fields of all values of a graph; `line` and `axis` answer for one.

    Attributes:
        wiring: the graph with its taps.
        cells: what each node depends on.
        centres: where each node's pixels lie, per axis.
    """

    wiring: Wiring
    cells: Mapping[str, Cell]
    centres: tuple[Centres, Centres]

    @property
    def graph(self) -> Graph:
        """The network."""
        return self.wiring.graph

    def line(self, value: Value, axis: Axis) -> Line:
        """The dependence of a value along an axis."""
        return self.cells[value.node].lines[axis]

    def product(self, value: Value) -> bool:
        """Whether the exact 2-D set of a pixel is its rows times its columns."""
        return self.cells[value.node].product

    def axis(self, value: Value, axis: Axis) -> AxisReach:
        """All that is known of a value along an axis, for any size."""
        return describe(self.line(value, axis), self.centres[axis].get(value.node))


@dataclass(frozen=True)
class FullReach:
    """The field along all edges where it is neither the local one nor global."""

    rf_min: int | None
    rf_max: int | None
    by_phase: tuple[tuple[int, int] | None, ...] | None
    reason: str | None = None


@dataclass(frozen=True)
class AxisReach:
    """The receptive field of a value along one axis, in the interior, for any size.

    Attributes:
        jump: input pixels per output pixel.
        rf_min: the smallest local field over phases that read anything, in input pixels.
        rf_max: the largest.
        period: outputs after which the pattern repeats.
        shift: input pixels by which it moves then.
        by_phase: for output q*period + f, the first and last input pixel, less q*shift; None:
            this phase reads nothing.
        centre_offset: the mean of the phases' middles, less jump*f.
        path_offsets: smallest and largest centre of output 0 over the value paths; None: unknown.
        density: the least share of pixels inside the field that are read; None: not tracked.
        tags: kinds of the other dependences, sorted, with `global`; `local` alone without any.
        via: the kinds of edges by which they come in.
        full: the field along all edges; None: as the local one.
        assumes: the sizes for which this holds; None: for all.
        reason: why there are no numbers; None: there are.
    """

    jump: Fraction | None
    rf_min: int | None
    rf_max: int | None
    period: int | None
    shift: int | None
    by_phase: tuple[tuple[int, int] | None, ...] | None
    centre_offset: Fraction | None
    path_offsets: tuple[Fraction, Fraction] | None
    density: Fraction | None
    tags: tuple[str, ...]
    via: tuple[str, ...]
    full: FullReach | str | None
    assumes: str | None
    reason: str | None

    @property
    def is_global(self) -> bool:
        """Whether some dependence covers the axis."""
        return "global" in self.tags


def reach(
    graph: Graph,
    input: str | None = None,
    *,
    at: Mapping[str, int] | None = None,
    accepted: Mapping[str, SizeSet] | None = None,
) -> Reach:
    """The receptive field of every value, in the interior, for any input size.

    Linear in the graph; walks with loops.

    Args:
        graph: the network.
        input: the input whose pixels are meant; the first map if left out.
        at: sizes whose class is taken where taps depend on the sizes.
        accepted: the accepted sizes, if they are known already.

    Raises:
        ReachError: the graph has no such input.
    """
    wiring = wire(graph, input, at, accepted)
    cells: dict[str, Cell] = {}
    for node, wired in wiring.wires.items():
        cells[node] = _start(node, wiring) if not wired.operands else _cell(wired, cells)
    return Reach(wiring, cells, (centres(wiring, AXES[0]), centres(wiring, AXES[1])))


def _start(node: str, wiring: Wiring) -> Cell:
    line = Line(START, START) if node == wiring.input else UNTOUCHED
    return Cell((line, line))


def _cell(wired: Wire, cells: Mapping[str, Cell]) -> Cell:
    read = [cells[value.node] for value in wired.operands]
    line, parts = _line(wired, 0, [cell.lines[0] for cell in read])
    square = wired.taps[0] == wired.taps[1] and wired.rests[0] == wired.rests[1]
    if square and all(cell.lines[0] is cell.lines[1] for cell in read):
        return Cell((line, line), _product(read, parts, parts))
    other, more = _line(wired, 1, [cell.lines[1] for cell in read])
    return Cell((line, other), _product(read, parts, more))


def _line(wired: Wire, axis: Axis, read: Sequence[Line]) -> tuple[Line, list[State]]:
    """The line of a node, and what each operand alone would make of the local field."""
    taps, tags = wired.taps[axis], wired.tags[axis]
    parts: list[State] = [
        through(line.local, form) if tag == "value" else None
        for line, form, tag in zip(read, taps, tags, strict=True)
    ]
    rests = wired.rests[axis]
    if len(read) == 1 and tags[0] == "value" and taps[0].also is None:
        (line,), (part,) = read, parts
        if part is line.local and (rests is None or rests == line.rests):
            return (line, parts) if _passes(line, taps[0]) else (_full(line, taps[0], parts), parts)
    local = merge(parts)
    used = [(line, tag) for line, tag in zip(read, tags, strict=True) if tag != "size"]
    rests = rests or next((line.rests for line, _ in used if line.rests), None)
    found = _tags(read, wired, axis)
    if not any(found):
        return Line(local, local, rests=rests), parts
    full = _all(read, wired, axis)
    return Line(local, local if full == local else full, *found, rests), parts
