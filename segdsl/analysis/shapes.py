"""The type of every value: operator rules in a loop over the graph."""

from __future__ import annotations

from collections.abc import Mapping

from segdsl.infer import infer
from segdsl.ir import Graph, Value
from segdsl.symbolic import substitute, symbols
from segdsl.types import Feature

Shapes = dict[Value, Feature]


def shapes(graph: Graph, sizes: Mapping[str, int] | None = None) -> Shapes:
    """The type of every value of the graph.

    As formulas of the inputs' symbols, or at given `sizes`.

    Args:
        graph: the network.
        sizes: values for symbols (`{"N": 1, "H": 512, "W": 512}`); symbols without one stay
            symbolic.
    """
    table: Shapes = {}
    for node in graph.nodes():
        inputs = tuple(table[value] for value in graph.operands(node.name))
        results = infer(node.op, inputs)
        if sizes and not inputs:
            results = tuple(_at(feature, sizes) for feature in results)
        for port, feature in enumerate(results):
            table[Value(node.name, port)] = feature
    return table


def _at(feature: Feature, sizes: Mapping[str, int]) -> Feature:
    return Feature(tuple(substitute(size, sizes) for size in feature.shape), feature.dtype)


def size_symbols(graph: Graph) -> dict[str, tuple[str, int]]:
    """The symbols of the inputs, in order.

    Each with the input and the axis that first states it.
    """
    found: dict[str, tuple[str, int]] = {}
    for name in graph.inputs:
        (feature,) = infer(graph[name].op, ())
        for axis, size in enumerate(feature.shape):
            for symbol in sorted(symbols(size)):
                found.setdefault(symbol, (name, axis))
    return found
