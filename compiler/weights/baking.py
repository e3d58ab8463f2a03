"""A graph and arrays in which what passes worked into weights is plain: for targets that train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from compiler.weights.folding import node_array
from compiler.weights.table import Array, Weights
from segdsl.analysis.params import params, tensor_path
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph


def baked_graph(graph: Graph) -> Graph:
    """The graph without marks: a convolution that a norm was folded into is one with a bias.

    Its weights are no longer those of the program; see `baked_weights`.
    """
    plain = graph.copy()
    for node in graph.nodes():
        if node.folded is not None:
            plain.replace(node.name, replace(node, folded=None))
    return plain


def baked_weights(graph: Graph, weights: Mapping[str, Array]) -> Weights:
    """The arrays of `baked_graph(graph)`, in state_dict order.

    Args:
        graph: the graph with its marks.
        weights: the arrays of the program.

    Raises:
        KeyError: an array is missing.
    """
    plain = baked_graph(graph)
    table = shapes(plain)
    found: dict[str, Array] = {}
    for node in graph.nodes():
        if node.path is not None:
            types = tuple(table[value] for value in graph.operands(node.name))
            for tensor in node.op.params(*types):
                found[tensor_path(node.path, tensor)] = node_array(node, tensor, weights)
    return Weights({path: found[path] for path in params(plain, table)})
