"""Let convolutions pad: a margin of zeros before them becomes theirs.

    x -> pad([0, 1, 0, 1]) -> conv(8, 3)   =>   x -> conv(8, 3, pad=[0, 1, 0, 1])

Non-goals: other margins than zeros; pools, of which max pools pad with minus infinity and average
pools may not count their padding; a margin that anybody else reads or that a reader knows by name;
weights that several nodes share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from compiler.passes.rebuild import rebuilt
from segdsl.ir import Graph, Node, Value
from segdsl.ops.base import RuleError
from segdsl.ops.combine import Pad
from segdsl.ops.conv import Conv
from segdsl.types import Sides


def fold_padding(graph: Graph) -> Graph:
    """The graph with every margin folded that may be; the same object if there is none."""
    owners = Counter(node.path for node in graph.nodes() if node.path is not None)
    known = set(graph.stages.values())
    nodes: dict[str, Node] = {}
    instead: dict[Value, Value] = {}
    for node in reversed(list(graph.nodes())):  # of several margins in a row, the last first
        if not _is_zeros(node) or Value(node.name) in known:
            continue
        readers = list(_readers(graph, node.name, instead))
        if any(reader.path is None or owners[reader.path] > 1 for reader in readers):
            continue
        grown = [_grown(nodes.get(reader.name, reader), node) for reader in readers]
        if all(grown):
            nodes |= {conv.name: conv for conv in grown if conv is not None}
            (before,) = graph.operands(node.name)
            instead[Value(node.name)] = before
    drop = {value.node for value in instead}
    return rebuilt(graph, drop=drop, instead=instead, nodes=nodes) if drop else graph


def _is_zeros(node: Node) -> bool:
    op = node.op
    return (
        isinstance(op, Pad)
        and op.sides is not None
        and op.mode in ("zeros", "constant")
        and op.value == 0
    )


def _readers(graph: Graph, name: str, gone: dict[Value, Value]) -> Iterator[Node]:
    """Who reads a node, through nodes that are folded already."""
    for use in graph.users(name):
        if Value(use.node) in gone:
            yield from _readers(graph, use.node, gone)
        else:
            yield graph[use.node]


def _grown(conv: Node, pad: Node) -> Node | None:
    """The convolution with the margin; None if it is none, or cannot pad that much."""
    assert isinstance(pad.op, Pad)
    assert pad.op.sides is not None
    if not isinstance(conv.op, Conv):
        return None
    sides = Sides(*(a + b for a, b in zip(conv.op.sides, pad.op.sides, strict=True)))
    try:
        return replace(conv, op=replace(conv.op, pad=sides))
    except RuleError:
        return None
