"""Fuse convolutions with what follows them: activation, residual sum, activation.

    x -> conv @c -> relu                 =>   conv_block(x) @c
    relu((x -> conv @c) + skip)          =>   conv_block(x, residual=skip) @c

A region takes the name, the stage and the place of its last node. It ends before a value that a
second node reads, that is an output, or that a reader knows by name; so nothing is computed twice
and every named stage can still be compared.

Non-goals: convolutions with unequal padding on the two sides of an axis stay as they are, and so do
transposed ones; sums that stretch an operand are no residuals; weights that several nodes share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from compiler.to_triton.regions import NO_ACTIVATION, Activation, ConvBlock
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Node, Value
from segdsl.ops import activation
from segdsl.ops.base import Op
from segdsl.ops.conv import Conv
from segdsl.ops.elementwise import Add
from segdsl.types import Feature

_NAMES: Mapping[type[Op], str] = {
    activation.Relu: "relu",
    activation.Relu6: "relu6",
    activation.LeakyRelu: "leaky_relu",
    activation.Sigmoid: "sigmoid",
    activation.Silu: "silu",
    activation.HardSwish: "hardswish",
    activation.HardSigmoid: "hardsigmoid",
    activation.Tanh: "tanh",
}


@dataclass(frozen=True)
class Region:
    """Nodes that become one: `nodes` in order, from the convolution to the last."""

    op: ConvBlock
    nodes: tuple[str, ...]
    operands: tuple[Value, ...]


def fuse(graph: Graph) -> Graph:
    """The graph with every region in the place of its last node; the same object if none."""
    found = regions(graph)
    if not found:
        return graph
    last = {region.nodes[-1]: region for region in found}
    gone = {name for region in found for name in region.nodes[:-1]}
    new = graph.blank()
    for name in graph:
        if name in last:
            region = last[name]
            conv = graph[region.nodes[0]]
            node = replace(graph[name], op=region.op, path=conv.path, folded=conv.folded)
            new.add(node, region.operands)
        elif name not in gone:
            new.add(graph[name], graph.operands(name))
    new.stages = dict(graph.stages)
    new.ports = {
        instance: ports
        for instance, ports in graph.ports.items()
        if not any(value.node in gone for value in _values(ports.inputs + ports.outputs))
    }
    return new


def _values(held: tuple[tuple[str, Value | tuple[Value, ...]], ...]) -> list[Value]:
    return [v for _, x in held for v in ((x,) if isinstance(x, Value) else x)]


def regions(graph: Graph) -> list[Region]:
    """The regions of a graph, in order of their convolutions."""
    scan = _Scan(graph)
    found: list[Region] = []
    taken: set[str] = set()
    for node in graph.nodes():
        if isinstance(node.op, Conv) and scan.may_start(node):
            region = scan.grow(node, node.op, taken)
            taken.update(region.nodes)
            found.append(region)
    return found


class _Scan:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types: Mapping[Value, Feature] = shapes(graph)
        self.known = set(graph.stages.values())
        self.order = {name: place for place, name in enumerate(graph)}
        self.owners = Counter(node.path for node in graph.nodes() if node.path is not None)

    def may_start(self, node: Node) -> bool:
        assert isinstance(node.op, Conv)
        sides = node.op.sides
        even = sides.top == sides.bottom and sides.left == sides.right
        return even and node.path is not None and self.owners[node.path] == 1

    def grow(self, conv: Node, op: Conv, taken: set[str]) -> Region:
        """The longest region that begins with a convolution."""
        nodes, operands = [conv.name], list(self.graph.operands(conv.name))
        act, after = NO_ACTIVATION, NO_ACTIVATION
        user = self._only_user(conv.name)
        if user is not None and activation_of(user.op) is not None:
            act = activation_of(user.op) or act
            nodes.append(user.name)
            user = self._only_user(user.name)
        residual = self._residual(user, nodes[-1]) if user is not None else None
        if user is not None and residual is not None and user.name not in taken:
            nodes.append(user.name)
            operands.append(residual)
            user = self._only_user(user.name)
            if user is not None and activation_of(user.op) is not None:
                after = activation_of(user.op) or after
                nodes.append(user.name)
        names = tuple(self.graph[name].op.name for name in nodes)
        return Region(
            ConvBlock(op, act=act, after=after, fused=names), tuple(nodes), tuple(operands)
        )

    def _only_user(self, name: str) -> Node | None:
        """The one node that reads a value; None if there are more, or if it has a name."""
        uses = self.graph.users(name)
        if len(uses) != 1 or Value(name) in self.known:
            return None
        return self.graph[uses[0].node]

    def _residual(self, node: Node, inner: str) -> Value | None:
        """What a sum adds to the region, if it has the region's type and needs no stretching."""
        if not isinstance(node.op, Add) or node.op.number is not None:
            return None
        left, right = self.graph.operands(node.name)
        other = right if left == Value(inner) else left
        return other if self.types[other] == self.types[Value(inner)] else None


def activation_of(op: Op) -> Activation | None:
    """The activation that an operator is, if an epilogue has it."""
    if isinstance(op, activation.Gelu):
        return Activation("gelu") if op.approx is None else None
    name = _NAMES.get(type(op))
    if name is None:
        return None
    return Activation(name, op.slope) if isinstance(op, activation.LeakyRelu) else Activation(name)
