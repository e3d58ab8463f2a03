"""What a network costs: multiply-accumulates, parameters, activations."""

from __future__ import annotations

from collections.abc import Mapping

from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph
from segdsl.ops.ports import Output

Costs = dict[str, int]


def training_only(graph: Graph) -> set[str]:
    """The nodes that only `train output`s need: they are not part of inference."""
    needed: set[str] = set()
    for name in reversed(list(graph)):
        op = graph[name].op
        if isinstance(op, Output):
            if not op.train:
                needed.add(name)
            continue
        if any(use.node in needed for use in graph.users(name)):
            needed.add(name)
    ends = {
        name for name in graph if not graph.users(name) and not isinstance(graph[name].op, Output)
    }
    dead = _only_before(graph, ends)
    return set(graph) - needed - dead


def _only_before(graph: Graph, ends: set[str]) -> set[str]:
    """The nodes whose results reach nothing but `ends`: computed and never used."""
    dead: set[str] = set()
    for name in reversed(list(graph)):
        users = graph.users(name)
        if name in ends or (users and all(use.node in dead for use in users)):
            dead.add(name)
    return dead


def macs(graph: Graph, sizes: Mapping[str, int]) -> Costs:
    """Multiply-accumulates of each node of the inference graph at known sizes.

    Convolutions, transposed convolutions (by input positions), linear layers and matrix products
    count; normalisation, activations, pooling and resizing are free. That is the convention of
    torchvision's published figures. Nodes that only `train output`s need are left out.
    """
    table = shapes(graph, sizes)
    skipped = training_only(graph)
    return {
        node.name: node.op.macs(*(table[value] for value in graph.operands(node.name)))
        for node in graph.nodes()
        if node.name not in skipped
    }
