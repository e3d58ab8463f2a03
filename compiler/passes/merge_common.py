"""Compute once what is written twice.

    x -> relu -> conv @a           x -> relu -+-> conv @a
    x -> relu -> conv @b      =>              +-> conv @b

Two nodes are one if operator, operands, weight path and folded norm are equal. The first one stays;
names of the others mean its value.

Non-goals: inputs and outputs, whose number is part of the interface; equal arrays under two paths;
what draws random numbers (it is gone before, by `drop_inference_noise`).
"""

from __future__ import annotations

from collections.abc import Hashable

from compiler.passes.rebuild import rebuilt
from segdsl.ir import Graph, Node, Value
from segdsl.ops.ports import Input, Output
from segdsl.ops.regularise import Dropout, DropPath

_KEPT = (Input, Output, Dropout, DropPath)


def merge_common(graph: Graph) -> Graph:
    """The graph with every computation once; the same object if nothing was there twice."""
    first: dict[Hashable, str] = {}
    instead: dict[Value, Value] = {}
    drop: set[str] = set()
    for node in graph.nodes():
        if isinstance(node.op, _KEPT):
            continue
        operands = tuple(instead.get(value, value) for value in graph.operands(node.name))
        kept = first.setdefault(_key(node, operands), node.name)
        if kept != node.name:
            drop.add(node.name)
            for port in range(len(node.op.results)):
                instead[Value(node.name, port)] = Value(kept, port)
    return rebuilt(graph, drop=drop, instead=instead) if drop else graph


def _key(node: Node, operands: tuple[Value, ...]) -> Hashable:
    return type(node.op), node.op, node.path, node.folded, operands
