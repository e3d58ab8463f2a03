"""Input sizes at which a network neither drops pixels nor cuts unevenly.

Other accepted sizes run as well, but strided windows leave a rest at the right or lower border, or
a centred crop is off by half a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from segdsl.analysis.shapes import Shapes, shapes
from segdsl.analysis.sizes import Condition, SizeSet, Undecidable, period, solve
from segdsl.ir import Graph, Node, Value
from segdsl.symbolic import Size, symbols
from segdsl.taps import Shifted, Sliding
from segdsl.types import HEIGHT, WIDTH, Axis, Window


def strict_sizes(graph: Graph, accepted: Mapping[str, SizeSet]) -> dict[str, SizeSet]:
    """The accepted sizes that lose nothing, by symbol; only symbols for which they are fewer.

    A strided window may leave out at its end what it leaves out between two places anyway.
    """
    wanted: dict[str, list[Condition]] = {}
    for condition in dict.fromkeys(_conditions(graph, shapes(graph))):
        names = symbols(condition.left) | symbols(condition.right)
        if len(names) == 1:
            wanted.setdefault(*names, []).append(condition)
    found = {}
    for name, conditions in wanted.items():
        if name in accepted:
            narrower = _narrowed(accepted[name], conditions)
            if narrower is not None:
                found[name] = narrower
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


def _narrowed(known: SizeSet, conditions: list[Condition]) -> SizeSet | None:
    """The sizes of a set that meet the conditions, if some do and some do not."""
    try:
        allowed = [condition for condition in conditions if _decidable(condition)]
        met = solve(known.symbol, allowed)
    except Undecidable:
        return None
    both = _intersection(known, met)
    return None if both.empty or both == known else both


def _decidable(condition: Condition) -> bool:
    try:
        period(condition.left), period(condition.right)
    except Undecidable:
        return False
    return True
