"""Fuse the enlargement of scores with the choice of the best class.

    scores -> resize(like=image, mode=bilinear) -> argmax(channels)   =>   upsample_argmax

Non-goals: fractional factors, whose coordinates torch takes from the factor and not from the sizes;
antialiased and other interpolations; scores that somebody else reads.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.passes.rebuild import rebuilt
from compiler.to_triton.regions import UpsampleArgmax
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Node, Value
from segdsl.ops.activation import Argmax
from segdsl.ops.base import Op
from segdsl.ops.operands import axis_index
from segdsl.ops.resize import Resize


def fuse_labels(graph: Graph) -> Graph:
    """The graph with every such pair as one node; the same object if there is none."""
    types = shapes(graph)
    known = set(graph.stages.values())
    nodes: dict[str, Node] = {}
    instead: dict[Value, Value] = {}
    for node in graph.nodes():
        if not isinstance(node.op, Argmax):
            continue
        (value,) = graph.operands(node.name)
        before = graph[value.node]
        alone = len(graph.users(before.name)) == 1 and value not in known
        if alone and _enlarges(before.op) and axis_index(node.op.axis, types[value].rank) == 1:
            assert isinstance(before.op, Resize)
            nodes[before.name] = replace(before, op=UpsampleArgmax(before.op))
            instead[Value(node.name)] = value
    drop = {value.node for value in instead}
    return rebuilt(graph, drop=drop, instead=instead, nodes=nodes) if nodes else graph


def _enlarges(op: Op) -> bool:
    if not isinstance(op, Resize) or op.mode != "bilinear" or op.antialias:
        return False
    return op.scale is None or all(op.factor(axis).denominator == 1 for axis in (0, 1))
