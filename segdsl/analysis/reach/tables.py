"""Receptive fields of every value for all input sizes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from segdsl.analysis.reach.alignment import Centre, Centres, Place, centres
from segdsl.analysis.reach.periodic import (
    START,
    Everything,
    Phases,
    State,
    Unknown,
    merge,
    through,
    width,
    within,
)
from segdsl.analysis.reach.wiring import AXES, Wire, Wiring, wire
from segdsl.analysis.sizes import SizeSet
from segdsl.ir import Graph, Value
from segdsl.taps import Taps
from segdsl.types import Axis

Tags = frozenset[str]
NO_TAGS: Tags = frozenset()


class Line(NamedTuple):
    """What a node depends on along one axis.

    `local` counts value edges only, `full` all of them. `tags` are the other kinds of edges on any
    path, `via` the last such edge of each path; `gates` are the blocks whose gates are among these.
    `rests` is the size class that this holds for.
    """

    local: State
    full: State
    tags: Tags = NO_TAGS
    via: Tags = NO_TAGS
    rests: str | None = None
    gates: Tags = NO_TAGS


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
        gates: what the blocks are called whose gates are among these edges.
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
    gates: tuple[str, ...] = ()

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
        return Cell((line, line), _product(read, parts, parts, (line.local, line.local)))
    other, more = _line(wired, 1, [cell.lines[1] for cell in read])
    return Cell((line, other), _product(read, parts, more, (line.local, other.local)))


def _line(wired: Wire, axis: Axis, read: Sequence[Line]) -> tuple[Line, list[State]]:
    """The line of a node, and what each operand alone would make of the local field."""
    taps, kinds = wired.taps[axis], wired.tags[axis]
    parts: list[State] = [
        through(line.local, form) if kind == "value" else None
        for line, form, kind in zip(read, taps, kinds, strict=True)
    ]
    local = merge(parts)
    tags, via = _tags(wired, axis, read)
    full = _full(taps, read) if tags else local
    rests, gates = _rests(wired, axis, read), _gates(wired, axis, read) if tags else NO_TAGS
    found = Line(local, local if full == local else full, tags, via, rests, gates)
    return (read[0] if len(read) == 1 and _same(found, read[0]) else found), parts


def _same(found: Line, before: Line) -> bool:
    """Whether a node changes nothing, so that it can share its operand's line."""
    return (
        found.local is before.local
        and (found.full is before.full or found.full == before.full)
        and found[2:] == before[2:]
    )


def _full(taps: Sequence[Taps], read: Sequence[Line]) -> State:
    """The field along all edges."""
    return merge(
        [through(line.full, each)
         for line, form in zip(read, taps, strict=True) for each in form.dependences]
    )  # fmt: skip


def _tags(wired: Wire, axis: Axis, read: Sequence[Line]) -> tuple[Tags, Tags]:
    """The kinds of edges on any path, and the last of each path, that carry no plain values."""
    tags, via = NO_TAGS, NO_TAGS
    for line, form, kind in zip(read, wired.taps[axis], wired.tags[axis], strict=True):
        if line.full is None or kind == "size":
            continue
        tags, via = tags | line.tags, via | line.via if kind == "value" else via | {kind}
        if kind != "value":
            tags = tags | {kind}
        if form.also is not None:
            tags, via = tags | {form.also}, via | {form.also}
    return tags, via


def _gates(wired: Wire, axis: Axis, read: Sequence[Line]) -> Tags:
    """The blocks whose gates are the last edge without plain values on some path."""
    found = NO_TAGS
    for line, kind in zip(read, wired.tags[axis], strict=True):
        if kind == "value":
            found = found | line.gates
        elif kind == "gate" and line.full is not None and wired.owner:
            found = found | {wired.owner}
    return found


def _rests(wired: Wire, axis: Axis, read: Sequence[Line]) -> str | None:
    """The class of sizes that a line holds for; None: all."""
    own = wired.rests[axis]
    kinds = wired.tags[axis]
    inherited = (line.rests for line, kind in zip(read, kinds, strict=True) if kind != "size")
    return own or next((rests for rests in inherited if rests), None)


def _product(
    read: Sequence[Cell],
    rows: Sequence[State],
    columns: Sequence[State],
    whole: tuple[State, State],
) -> bool:
    """Whether the local 2-D set is rows x columns, where `whole` is their union on each axis.

    It is if one operand's set holds all others on both axes, or all are the same on one axis.
    """
    pairs = list(
        {(id(r), id(c)): (r, c) for r, c in zip(rows, columns, strict=True)
         if r is not None and c is not None}.values()
    )  # fmt: skip
    if not all(cell.product for cell, r in zip(read, rows, strict=True) if r is not None):
        return False
    if len(pairs) <= 1 or any(r is whole[0] and c is whole[1] for r, c in pairs):
        return True
    if any(all(pair[axis] == pairs[0][axis] for pair in pairs) for axis in AXES):
        return True
    # Only the widest can hold all others.
    big = max(pairs, key=lambda pair: _width(pair[0]))
    return all(within(r, big[0]) and within(c, big[1]) for r, c in pairs)


def _width(state: State) -> tuple[int, Fraction]:
    """A measure by which a field that holds another is never smaller than it."""
    return (0, width(state)) if isinstance(state, Phases) else (1, Fraction(0))


def describe(line: Line, centre: Place) -> AxisReach:
    """The numbers of a line, as tables and JSON show them."""
    tags = tuple(sorted(_shown_tags(line))) or ("local",)
    offsets = (centre.low, centre.high) if isinstance(centre, Centre) else None
    full = _described_full(line)
    if not isinstance(line.local, Phases):
        reason = _reason(line)
        return AxisReach(
            None, None, None, None, None, None, None, offsets, None,
            tags, tuple(sorted(line.via)), full, line.rests, reason, tuple(sorted(line.gates)),
        )  # fmt: skip
    state = line.local
    lengths = [span.length for _, span in state.read()]
    return AxisReach(
        state.jump,
        min(lengths, default=None),
        max(lengths, default=None),
        state.period,
        state.shift,
        ends(state),
        centre_offset(state),
        offsets,
        density(state),
        tags,
        tuple(sorted(line.via)),
        full,
        line.rests,
        None,
        tuple(sorted(line.gates)),
    )


def _shown_tags(line: Line) -> set[str]:
    return set(line.tags) | ({"global"} if isinstance(line.full, Everything) else set())


def _reason(line: Line) -> str:
    match line.local:
        case Unknown(reason):
            return reason
        case Everything():
            return "the whole axis is read"
    if line.full is None:
        return "no pixel of this input is read"
    return f"pixels are read by {' and '.join(sorted(line.via))} edges only"


def _described_full(line: Line) -> FullReach | str | None:
    if line.full is line.local or line.full == line.local:
        return None
    match line.full:
        case Everything():
            return "global"
        case Phases():
            lengths = [span.length for _, span in line.full.read()]
            smallest, largest = min(lengths, default=None), max(lengths, default=None)
            return FullReach(smallest, largest, ends(line.full))
        case Unknown(reason):
            return FullReach(None, None, None, reason)
    return None


def ends(state: Phases) -> tuple[tuple[int, int] | None, ...]:
    """First and last pixel of each phase."""
    return tuple(None if span is None else (span.lo, span.hi) for span in state.spans)


def centre_offset(state: Phases) -> Fraction | None:
    """The mean middle of the phases that read anything, less jump*f."""
    middles = [Fraction(s.lo + s.hi, 2) - state.jump * f for f, s in state.read()]
    return sum(middles, Fraction(0)) / len(middles) if middles else None


def density(state: Phases) -> Fraction | None:
    """The least share of pixels inside a phase's interval that are read."""
    counts = [(span.pixels, span.length) for _, span in state.read()]
    if not counts or any(count is None for count, _ in counts):
        return None
    return min(Fraction(count or 0, length) for count, length in counts)
