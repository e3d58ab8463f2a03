"""Leave out what exists in training only: dropout, stochastic depth, training outputs.

    conv -> dropout -> conv           conv -> conv
    conv -> drop_path -+              conv -+
    skip --------------+- add    =>   skip -+- add
    conv -> identity -> relu          conv -> relu
    conv -> train output              conv (dead now; `drop_dead` takes it)

Non-goals: nodes that lose their last user stay, for `drop_dead`.
"""

from __future__ import annotations

from compiler.passes.rebuild import rebuilt
from segdsl.ir import Graph, Value
from segdsl.ops.activation import Identity
from segdsl.ops.ports import Output
from segdsl.ops.regularise import Dropout, DropPath


def drop_inference_noise(graph: Graph) -> Graph:
    """The network as it runs at inference; the same object if nothing is left out."""
    instead: dict[Value, Value] = {}
    drop: set[str] = set()
    for node in graph.nodes():
        if isinstance(node.op, Dropout | DropPath | Identity):
            instead[Value(node.name)] = graph.operands(node.name)[0]
            drop.add(node.name)
        elif isinstance(node.op, Output) and node.op.train:
            drop.add(node.name)
    return rebuilt(graph, drop=drop, instead=instead) if drop else graph
