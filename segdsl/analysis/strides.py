"""Strides of maps as people speak of them: "at H/8", "full size"."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from segdsl.analysis.sizes import Undecidable, slope
from segdsl.ir import Graph, Node, Value
from segdsl.symbolic import Size, symbols
from segdsl.types import Axis, Feature


def stride(size: Size) -> Fraction | None:
    """Input pixels per pixel of a map of this size; None for known and for mixed sizes."""
    if len(symbols(size)) != 1:
        return None
    try:
        growth, modulus = slope(size)
    except Undecidable:
        return None
    return Fraction(modulus, growth) if growth > 0 else None


def at_stride(symbol: str, found: Fraction) -> str:
    """`H/8`, `2*H`, `2*H/3`, or `full size`."""
    if found == 1:
        return "full size"
    size = symbol if found.denominator == 1 else f"{found.denominator}*{symbol}"
    return size if found.numerator == 1 else f"{size}/{found.numerator}"


def last_change(
    graph: Graph, types: Mapping[Value, Feature], value: Value, axis: Axis
) -> tuple[Node, Fraction] | None:
    """The last node on the way to a value that changed the stride, with the factor.

    None where the stride is that of the input, or cannot be told on the way.
    """
    here = _stride(types, value, axis)
    while here is not None:
        node = graph[value.node]
        sized = node.op.sizes_only
        before = [
            v
            for slot, v in enumerate(graph.operands(node.name))
            if node.op.operand_name(slot) not in sized and _stride(types, v, axis) is not None
        ]
        if not before:
            return None
        earlier = _stride(types, before[0], axis)
        assert earlier is not None
        if earlier != here:
            return node, here / earlier
        value = before[0]
    return None


def _stride(types: Mapping[Value, Feature], value: Value, axis: Axis) -> Fraction | None:
    feature = types[value]
    return stride(feature.spatial(axis)) if feature.rank == 4 else None
