"""Fuse a batch norm and its activation into the convolution behind them, which reads them.

    x -> bn @n -> relu -> conv_block @c   =>   pre_conv(x)

It runs behind `fuse_dense`, which takes whole blocks of such layers. The node takes the name of the
convolution, and the path that both have in common.

Non-goals: frozen norms; a norm or an activation that somebody else reads or that has a name of its
own; norms and convolutions whose common path holds other arrays too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from compiler.to_triton.fuse import activation_of
from compiler.to_triton.regions import NO_ACTIVATION, Activation, ConvBlock
from compiler.to_triton.whole import Whole, common, owns, with_wholes
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Node, Value
from segdsl.ops.base import Op
from segdsl.ops.conv import Conv
from segdsl.ops.norm import BatchNorm
from segdsl.taps import Taps
from segdsl.types import Axis, Feature, Param

ALIGNED = 8
"""Channels of a map must divide by it: its pixels lie at multiples of 16 bytes (kernels.pre_conv).
"""


@dataclass(frozen=True)
class PreConv(Op):
    """`act(conv(before(norm(x))))`.

    Attributes:
        norm: the batch norm.
        conv: the convolution.
        names: the paths of their arrays.
        before: the activation between them.
        act: the activation behind the convolution.
        fused: the names of the operators in it, for the report.
    """

    name: ClassVar[str] = "pre_conv"
    internal: ClassVar[bool] = True

    norm: BatchNorm
    conv: Conv
    _: KW_ONLY
    names: tuple[str, ...]
    before: Activation
    act: Activation
    fused: tuple[str, ...] = ()

    def infer(self, *inputs: Feature) -> Feature:
        return self.conv.infer(inputs[0])

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return self.conv.taps(slot, axis, *inputs)

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        return layer_params(self.norm, self.conv, self.names, inputs[0])

    def macs(self, *inputs: Feature) -> int:
        return self.conv.macs(*inputs)


def layer_params(
    norm: BatchNorm, conv: Conv, names: tuple[str, ...], x: Feature
) -> dict[str, Param]:
    """The arrays of a norm and a convolution on the same map, below their paths."""
    return {
        f"{name}.{tensor}": param
        for name, op in zip(names, (norm, conv), strict=True)
        for tensor, param in op.params(x).items()
    }


@dataclass(frozen=True)
class Layer:
    """A norm, maybe an activation, and a convolution.

    Attributes:
        nodes: their names in order.
        norm: the node of the norm; likewise `conv`.
        before: the activation between them.
        x: what the norm reads.
    """

    nodes: tuple[str, ...]
    norm: Node
    conv: Node
    before: Activation
    x: Value

    @property
    def ops(self) -> tuple[BatchNorm, ConvBlock]:
        """The operators of the norm and of the convolution."""
        assert isinstance(self.norm.op, BatchNorm)
        assert isinstance(self.conv.op, ConvBlock)
        return self.norm.op, self.conv.op


def layer_of(graph: Graph, node: Node) -> Layer | None:
    """The layer that ends in a convolution, whoever else may read what is inside."""
    if not isinstance(node.op, ConvBlock) or len(graph.operands(node.name)) != 1:
        return None
    before, nodes = NO_ACTIVATION, [node.name]
    source = graph[graph.operands(node.name)[0].node]
    act = activation_of(source.op)
    if act is not None:
        before = act
        nodes.insert(0, source.name)
        source = graph[graph.operands(source.name)[0].node]
    if not isinstance(source.op, BatchNorm) or source.path is None:
        return None
    (x,) = graph.operands(source.name)
    return Layer((source.name, *nodes), source, node, before, x)


def fuse_preact(graph: Graph) -> Graph:
    """The graph with every such layer as one node; the same object if there is none."""
    types = shapes(graph)
    layers = (layer_of(graph, node) for node in graph.nodes())
    found = (_whole(graph, layer, types) for layer in layers if layer is not None)
    return with_wholes(graph, [whole for whole in found if isinstance(whole, Whole)])


def no_prologue(graph: Graph, norm: Node) -> str:
    """Why a batch norm is not part of the convolution that reads it; "" where none does.

    Args:
        graph: the fused graph.
        norm: the node of the norm.
    """
    types = shapes(graph)
    for node in graph.nodes():
        layer = layer_of(graph, node)
        if layer is not None and layer.norm is norm:
            found = _whole(graph, layer, types)
            return found if isinstance(found, str) else ""
    return ""


def _whole(graph: Graph, layer: Layer, types: Mapping[Value, Feature]) -> Whole | str:
    """The layer as one node, or why it stays."""
    norm, conv = layer.ops
    reason = no_layer(norm, conv) or _shared(graph, layer.nodes)
    channels = types[layer.x].channels
    if not reason and channels % ALIGNED:
        reason = f"no template: {channels} channels do not divide by {ALIGNED}"
    path, names = common([layer.norm, layer.conv])
    if not reason and not owns(graph, path, layer.nodes):
        reason = "its arrays and those of the convolution have no path of their own"
    if reason:
        return reason
    words = tuple(word for name in layer.nodes for word in words_of(graph[name]))
    op = PreConv(
        norm, conv.conv, names=names, before=layer.before, act=conv.act, fused=words
    )  # fmt: skip
    return Whole(op, layer.nodes, path, layer.x)


def no_layer(norm: BatchNorm, conv: ConvBlock) -> str:
    """Why the kernel cannot take a norm and a convolution at all, or ""."""
    if norm.frozen:
        return "no template: a frozen norm"
    if conv.conv.groups > 1:
        return f"no template: groups={conv.conv.groups}"
    return ""


def _shared(graph: Graph, nodes: tuple[str, ...]) -> str:
    for name in nodes[:-1]:
        count = len(graph.users(name))
        if count != 1:
            return f"{count} nodes read {name}"
    return ""


def words_of(node: Node) -> tuple[str, ...]:
    """The operators of a node, as the report names them."""
    return node.op.fused if isinstance(node.op, ConvBlock) else (node.op.name,)
