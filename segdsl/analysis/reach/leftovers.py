"""Windows that leave pixels over at the end of a map, and centred crops that cut unevenly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from segdsl.analysis.reach.wiring import AXES, extent, taps_of
from segdsl.analysis.shapes import shapes
from segdsl.analysis.sizes import Condition, SizeSet, Undecidable, probes, solve
from segdsl.ir import Graph, Value
from segdsl.symbolic import Size, evaluate, symbols
from segdsl.taps import Shifted, Sliding, Taps
from segdsl.types import Axis


@dataclass(frozen=True)
class Leftover:
    """A node that loses pixels or half a pixel at an accepted size.

    Attributes:
        node: its name.
        axis: the axis.
        symbol: the size it depends on.
        size: the size asked for, or else the smallest accepted one at which it happens.
        pixels: how many are left over then.
        what: the operator's doing, in words.
    """

    node: str
    axis: Axis
    symbol: str
    size: int
    pixels: int
    what: str


@dataclass(frozen=True)
class _Rest:
    """What is left over, as a formula: nothing where it is 0 or less."""

    node: str
    axis: Axis
    rest: Size
    what: str


def leftovers(
    graph: Graph, accepted: Mapping[str, SizeSet], at: Mapping[str, int] | None = None
) -> Iterator[Leftover]:
    """The nodes that leave pixels over, at the sizes `at` or at some accepted one.

    A strided window may leave out at its end what it leaves out between two places anyway.
    """
    for item in _rests(graph):
        names = symbols(item.rest)
        if len(names) != 1:
            continue
        (name,) = names
        asked = at.get(name) if at is not None else None
        size = _failing(item.rest, accepted[name], asked) if name in accepted else None
        if size is not None:
            pixels = evaluate(item.rest, {name: size})
            yield Leftover(item.node, item.axis, name, size, pixels, item.what)


def _rests(graph: Graph) -> Iterator[_Rest]:
    types = shapes(graph)
    for node in graph.nodes():
        inputs = tuple(types[value] for value in graph.operands(node.name))
        if not inputs or inputs[0].rank != 4 or types[Value(node.name)].rank != 4:
            continue
        for axis in AXES:
            taps = taps_of(node.op, axis, inputs)[0]
            after = extent(types[Value(node.name)], axis)
            yield from _rest(node.name, axis, taps, extent(inputs[0], axis), after)


def _rest(node: str, axis: Axis, taps: Taps, before: Size, after: Size) -> Iterator[_Rest]:
    if isinstance(taps, Sliding) and taps.window.stride > 1:
        window = taps.window
        gap = max(0, window.stride - window.extent)
        end = (after - 1) * window.stride - window.before + window.extent
        yield _Rest(node, axis, before - end - gap, f"stride {window.stride} leaves {{}} over")
    elif isinstance(taps, Shifted) and taps.offset is None and symbols(before - after):
        what = "the margins of the crop differ by {}"
        yield _Rest(node, axis, (before - after) % 2, what)


def _failing(rest: Size, accepted: SizeSet, asked: int | None) -> int | None:
    """The size at which something is left over; None: none."""
    condition = Condition(rest, "<=", 0)
    if asked is not None:
        return None if condition.holds({accepted.symbol: asked}) else asked
    try:
        fine = solve(accepted.symbol, [condition])
    except Undecidable:
        return None
    return next((n for n in probes(accepted, fine) if n in accepted and n not in fine), None)
