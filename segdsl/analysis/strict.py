"""Input sizes at which a network neither drops pixels nor cuts unevenly.

Other accepted sizes run as well, but strided windows leave a rest at the right or lower border, or
a centred crop is off by half a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import lcm

from segdsl.analysis.shapes import Shapes, shapes
from segdsl.analysis.sizes import (
    MAX_PERIOD,
    Condition,
    SizeSet,
    Stretch,
    Undecidable,
    period,
    solve,
)
from segdsl.ir import Graph, Value
from segdsl.symbolic import Size, symbols
from segdsl.taps import Shifted, Sliding
from segdsl.types import HEIGHT, WIDTH, Window


def strict_sizes(graph: Graph, accepted: Mapping[str, SizeSet]) -> dict[str, SizeSet]:
    """The accepted sizes that lose nothing, by symbol; only symbols for which they are fewer.

    A strided window may leave out at its end what it leaves out between two places anyway. Where
    no size suits windows and crops alike, crops do not count.
    """
    wanted = list(dict.fromkeys(_conditions(graph, shapes(graph))))
    found = {}
    for name, known in accepted.items():
        own = [c for c in wanted if symbols(c.left) | symbols(c.right) == {name} and _decidable(c)]
        windows = [condition for condition in own if condition.relation != "=="]
        both = _within(known, own) or _within(known, windows)
        if both is not None and both != known.shrunk():
            found[name] = both
    return found


def _conditions(graph: Graph, types: Shapes) -> Iterator[Condition]:
    for node in graph.nodes():
        inputs = tuple(types[value] for value in graph.operands(node.name))
        result = types[Value(node.name)]
        if not inputs or inputs[0].rank != 4 or result.rank != 4:
            continue
        for axis in (HEIGHT, WIDTH):
            taps = node.op.taps(0, axis, *inputs)
            before, after = inputs[0].spatial(axis), result.spatial(axis)
            if isinstance(taps, Sliding) and taps.window.stride > 1:
                yield _covered(taps.window, before, after)
            elif isinstance(taps, Shifted) and taps.offset is None and symbols(before - after):
                yield Condition((before - after) % 2, "==", 0)


def _covered(window: Window, before: Size, after: Size) -> Condition:
    """The last window reaches the end of the map, but for the gap that lies between windows."""
    gap = max(0, window.stride - window.extent)
    end = (after - 1) * window.stride - window.before + window.extent
    return Condition(end + gap, ">=", before)


def _within(known: SizeSet, conditions: list[Condition]) -> SizeSet | None:
    """The sizes of a set that meet the conditions; None if there are none, or it is too much."""
    try:
        met = solve(known.symbol, conditions)
    except Undecidable:
        return None
    if lcm(known.modulus, met.modulus) > MAX_PERIOD:
        return None
    both = _intersection(known, met)
    return None if both.empty else both


def _intersection(one: SizeSet, other: SizeSet) -> SizeSet:
    modulus = lcm(one.modulus, other.modulus)
    stretches = tuple(
        _common(one.stretches[r % one.modulus], other.stretches[r % other.modulus], r, modulus)
        for r in range(modulus)
    )
    return SizeSet(one.symbol, modulus, stretches).shrunk()


def _common(
    one: Stretch | None, other: Stretch | None, residue: int, modulus: int
) -> Stretch | None:
    """The sizes of both stretches with this residue."""
    if one is None or other is None:
        return None
    low = max(one.first, other.first, 1)
    first = low + (residue - low) % modulus
    ends = [stretch.last for stretch in (one, other) if stretch.last is not None]
    if ends and first > min(ends):
        return None
    holes = frozenset(n for n in one.holes | other.holes if n % modulus == residue and n >= first)
    return Stretch(first, min(ends) if ends else None, holes)


def _decidable(condition: Condition) -> bool:
    try:
        period(condition.left), period(condition.right)
    except Undecidable:
        return False
    return True
