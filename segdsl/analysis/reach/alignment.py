"""Where pixels lie: exact affine maps from output positions to the input.

The centre of output y lies at input pixel `step*y + b`; paths may disagree in b.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from segdsl.analysis.reach.wiring import Wire, Wiring, taps_of
from segdsl.analysis.shapes import Shapes
from segdsl.ir import Graph, Value
from segdsl.ops.ports import Input
from segdsl.symbolic import Size
from segdsl.taps import Tag, Taps
from segdsl.types import HEIGHT, WIDTH, Axis


@dataclass(frozen=True, slots=True)
class Centre:
    """The centre of output y: input pixel `step*y + b`, for a b from `low` to `high` by path.

    `grid` is the size of the input's axis; maps on different grids cannot be compared.
    """

    step: Fraction
    low: Fraction
    high: Fraction
    grid: Size

    @property
    def aligned(self) -> bool:
        """Whether all paths agree."""
        return self.low == self.high


@dataclass(frozen=True, slots=True)
class Lost:
    """No affine map: `reason` says why."""

    reason: str


Place = Centre | Lost | None
"""Where pixels lie; None: they come from no input."""

Centres = Mapping[str, Place]


def carried(place: Place, taps: Taps, tag: Tag) -> Place:
    """Where the outputs lie that read pixels of `place` by `taps`; None by edges without place."""
    if place is None or tag != "value":
        return None
    if isinstance(place, Lost):
        return place
    own = _step(taps)
    if own is None:
        return Lost("a step depends on the input size")
    ratio, shift = own
    if ratio == 1 and not shift:
        return place
    moved = place.step * shift
    return Centre(place.step * ratio, place.low + moved, place.high + moved, place.grid)


@lru_cache(maxsize=4096)
def _step(taps: Taps) -> tuple[Fraction, Fraction] | None:
    """The affine map of taps that repeat; None for others."""
    return taps.centre if taps.advance is not None else None


def joined(places: Sequence[Place]) -> Place:
    """Where a node lies that takes all of `places` together: their union if the steps agree."""
    found = [place for place in places if place is not None]
    if not found:
        return None
    for place in found:
        if isinstance(place, Lost):
            return place
    maps = list({id(place): place for place in found if isinstance(place, Centre)}.values())
    first = maps[0]
    if len(maps) == 1:
        return first
    if any((p.step, p.grid) != (first.step, first.grid) for p in maps):
        return Lost("paths with different steps meet")
    low, high = min(p.low for p in maps), max(p.high for p in maps)
    return (
        first
        if (low, high) == (first.low, first.high)
        else Centre(first.step, low, high, first.grid)
    )


def parts(wired: Wire, axis: Axis, read: Sequence[Place]) -> list[Place]:
    """Where each operand alone would put the node."""
    return [
        carried(place, taps, tag)
        for place, taps, tag in zip(read, wired.taps[axis], wired.tags[axis], strict=True)
    ]


def centres(wiring: Wiring, axis: Axis) -> Centres:
    """Where the pixels of every node lie in the input, along one axis."""
    table: dict[str, Place] = {}
    for node, wired in wiring.wires.items():
        if wired.operands:
            table[node] = joined(parts(wired, axis, [table[v.node] for v in wired.operands]))
        else:
            started = node == wiring.input
            table[node] = origin(wiring.extent(node, axis)) if started else None
    return table


def origin(grid: Size) -> Centre:
    """The map of an input onto itself."""
    return Centre(Fraction(1), Fraction(0), Fraction(0), grid)


Memory = dict[tuple[str, Axis], Place]
"""Places that are known already, for a graph that only grows."""


def place_of(graph: Graph, types: Shapes, value: Value, axis: Axis, known: Memory) -> Place:
    """Where a value lies, along all inputs; fills `known`, so that growing graphs stay linear."""
    pending = [value.node]
    while pending:
        node = pending[-1]
        missing = (
            [v.node for v in graph.operands(node) if (v.node, axis) not in known]
            if (node, axis) not in known
            else []
        )
        if missing:
            pending.extend(missing)
            continue
        pending.pop()
        if (node, axis) not in known:
            known[node, axis] = _placed(graph, types, node, axis, known)
    return known[value.node, axis]


def _placed(graph: Graph, types: Shapes, node: str, axis: Axis, known: Memory) -> Place:
    op, operands = graph[node].op, graph.operands(node)
    if isinstance(op, Input):
        feature = types[Value(node)]
        return origin(feature.spatial(axis)) if feature.rank == 4 else None
    taps = taps_of(op, axis, tuple(types[v] for v in operands))
    wired = Wire(operands, (taps, taps), (tuple(t.tag for t in taps),) * 2)
    return joined(parts(wired, axis, [known[v.node, axis] for v in operands]))


def crop_between(x: Place, like: Place) -> Fraction:
    """The pixels to cut off before `x` so that it lies on `like`: (b_like - b_x) / step.

    May be negative or not whole; no crop can mend it then.

    Raises:
        ValueError: a map has no place, paths disagree, or the steps differ.
    """
    for name, place in (("the map", x), ("`like`", like)):
        if place is None:
            raise ValueError(f"{name} has no place in the input")
        if isinstance(place, Lost):
            raise ValueError(f"{name} has no fixed place in the input: {place.reason}")
        if not place.aligned:
            raise ValueError(f"the paths to {name} are {place.high - place.low} input pixels apart")
    assert isinstance(x, Centre)
    assert isinstance(like, Centre)
    if x.grid != like.grid:
        raise ValueError("the two maps belong to inputs of different sizes")
    if x.step != like.step:
        raise ValueError(
            f"the map advances {x.step} input pixels per pixel, but `like` advances {like.step}"
        )
    return (like.low - x.low) / x.step


def auto_offset(
    graph: Graph, types: Shapes, x: Value, like: Value, known: Memory | None = None
) -> tuple[int, int]:
    """The offset of `crop(like=…, offset=auto)`: rows and columns to cut off before `x`.

    As BVLC/caffe's coord_map.py derives it, in exact rationals.

    Args:
        graph: the network so far.
        types: the types of its values.
        x: the map that is cut.
        like: the map it is to lie on.
        known: places found before; filled.

    Raises:
        ValueError: no whole number of pixels, none below 0, aligns them; says which would.
    """
    memory: Memory = {} if known is None else known
    found = []
    for axis, name in ((HEIGHT, "rows"), (WIDTH, "columns")):
        ours, theirs = (place_of(graph, types, value, axis, memory) for value in (x, like))
        cut = crop_between(ours, theirs)
        if cut.denominator != 1:
            raise ValueError(f"to align the two maps takes {cut} {name}, no whole number")
        if cut < 0:
            raise ValueError(f"to align the two maps takes {cut} {name}, and a crop adds none")
        found.append(int(cut))
    return found[0], found[1]
