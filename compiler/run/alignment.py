"""Where in the input an output pixel lies: centres of windows, composed along the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from segdsl.analysis.shapes import Shapes
from segdsl.ir import Graph, Node, Value
from segdsl.taps import Corners, Taps
from segdsl.types import Axis

Centre = tuple[Fraction, Fraction]
"""(r, t): the centre of output pixel y lies at input pixel r*y + t."""

Centres = Mapping[Value, Centre | None]


def centre(graph: Graph, table: Shapes, value: Value, axis: Axis) -> Centre | None:
    """The centre map of a value along one axis; None if its paths do not agree on one.

    Args:
        graph: the network.
        table: the types of its values at known sizes.
        value: whose pixels.
        axis: height or width.

    Gates, statistics and attention reach everywhere and are no places: only `value` edges count.
    """
    found: dict[str, Centre | None] = {}
    for node in graph.nodes():
        candidates = set(_through(graph, table, node, axis, found))
        if not graph.operands(node.name):
            candidates = {(Fraction(1), Fraction(0))}
        found[node.name] = candidates.pop() if len(candidates) == 1 else None
        if node.name == value.node:
            break
    return found[value.node]


def _through(
    graph: Graph, table: Shapes, node: Node, axis: Axis, found: Mapping[str, Centre | None]
) -> Iterator[Centre | None]:
    operands = graph.operands(node.name)
    types = tuple(table[operand] for operand in operands)
    for slot, operand in enumerate(operands):
        if types[slot].rank != 4:
            yield None
            continue
        taps = node.op.taps(slot, axis, *types)
        if taps.tag != "value":
            continue
        own = _own(taps, table[Value(node.name)].shape[-2 + axis], types[slot].spatial(axis))
        before = found[operand.node]
        yield _composed(before, own) if before and own else None


def _own(taps: Taps, after: object, before: object) -> Centre | None:
    if not isinstance(taps, Corners) or not isinstance(after, int) or not isinstance(before, int):
        return taps.centre
    if taps.align_corners:
        return Fraction(before - 1, max(after - 1, 1)), Fraction(0)
    ratio = Fraction(before, after)
    return ratio, (ratio - 1) / 2


def _composed(outer: Centre, inner: Centre) -> Centre:
    """The map `outer` after `inner`: outer.r * (inner.r*y + inner.t) + outer.t."""
    return outer[0] * inner[0], outer[0] * inner[1] + outer[1]
