"""Arrays with the folded norms worked in, for targets that write plain convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from compiler.passes.rebuild import rebuilt
from compiler.weights.folding import node_array
from compiler.weights.table import Array, Weights
from segdsl.analysis.params import Params, params
from segdsl.ir import Graph


def unmarked(graph: Graph) -> Graph:
    """The graph with plain convolutions where norms were folded: its arrays are those of `bake`."""
    nodes = {n.name: replace(n, folded=None) for n in graph.nodes() if n.folded is not None}
    return rebuilt(graph, nodes=nodes) if nodes else graph


def bake(graph: Graph, weights: Mapping[str, Array]) -> Weights:
    """The arrays of `unmarked(graph)`, from those of the network before its norms were folded."""
    table: Params = params(unmarked(graph))
    owners = {node.path: node for node in graph.nodes() if node.folded is not None}
    arrays: dict[str, Array] = {}
    for name in table:
        path, _, tensor = name.rpartition(".")
        node = owners.get(path)
        arrays[name] = weights[name] if node is None else node_array(node, tensor, weights)
    return Weights(arrays)
