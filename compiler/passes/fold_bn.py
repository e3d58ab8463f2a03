"""Work batch norms into the convolutions before them.

    x -> conv @c -> bn @n -> relu   =>   x -> conv(bias=true) @c [n folded] -> relu

No array is touched: the convolution's node says which norm was folded, and
`compiler.weights.folding` computes its arrays when a target asks. The norm's stages become the
convolution's.

Non-goals: bn -> relu -> conv (DenseNet, Tiramisu) cannot be folded into weights; a linear layer
before a norm stays; so do weights that several nodes share, a convolution that anybody else reads,
and one whose own result has a name that a reader knows (a binding or tap of the net). That a block
ends with the convolution is no such name: its stage is gone afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from compiler.passes.rebuild import rebuilt
from segdsl.ir import Folded, Graph, Node, Value
from segdsl.ops.conv import Conv, ConvTranspose
from segdsl.ops.deform import DeformConv
from segdsl.ops.norm import BatchNorm


def fold_bn(graph: Graph) -> Graph:
    """The graph with every norm folded that may be; the same object if there is none."""
    owners = Counter(node.path for node in graph.nodes() if node.path is not None)
    known = _bound(graph)
    nodes: dict[str, Node] = {}
    instead: dict[Value, Value] = {}
    for norm in graph.nodes():
        if not isinstance(norm.op, BatchNorm) or norm.path is None or owners[norm.path] > 1:
            continue
        (before,) = graph.operands(norm.name)
        conv = graph[before.node]
        if conv.path is None or owners[conv.path] > 1 or before in known:
            continue
        folded = _folded(conv, norm) if len(graph.users(conv.name)) == 1 else None
        if folded is not None:
            nodes[conv.name] = folded
            instead[Value(norm.name)] = before
    if not nodes:
        return graph
    drop = {value.node for value in instead}
    result = rebuilt(graph, drop=drop, instead=instead, nodes=nodes)
    gone = {name for name, value in graph.stages.items() if value.node in nodes}
    result.stages = {name: value for name, value in result.stages.items() if name not in gone}
    return result


def _bound(graph: Graph) -> set[Value]:
    """The values that a binding or tap of the net names.

    The other stages are results of blocks, which go by the path of the instance.
    """
    ends = set(_ends(graph))
    return {value for name, value in graph.stages.items() if (name, value) not in ends}


def _ends(graph: Graph) -> Iterator[tuple[str, Value]]:
    """Path and result of every block instance; several results are told apart by their names."""
    for instance, ports in graph.ports.items():
        for port, value in ports.outputs:
            if isinstance(value, Value):
                yield instance.path, value
                yield f"{instance.path}.{port}", value


def _folded(conv: Node, norm: Node) -> Node | None:
    """The convolution that does both; None if it is no convolution, or is folded already."""
    assert isinstance(norm.op, BatchNorm)
    assert norm.path is not None
    if not isinstance(conv.op, Conv | ConvTranspose | DeformConv) or conv.folded is not None:
        return None
    mark = Folded(norm.path, norm.op, conv.op.bias)
    return replace(conv, op=replace(conv.op, bias=True), folded=mark)
