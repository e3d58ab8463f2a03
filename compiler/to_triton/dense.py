"""Fuse a dense block: layers of norm, activation and convolution, each over all maps before it.

    maps = [x]
    maps += [concat(maps) -> bn -> relu -> conv_block]   # once for every layer
    concat(maps), or concat(maps[1:])                                    =>   dense_block(x)

It runs behind `fuse`. The node takes the name of the last concatenation, and the path that all
arrays have in common. Concatenations may also be nested, each over the one before and a new map.

Non-goals: bottleneck layers of two convolutions; maps that somebody outside reads; layers that
change the size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from compiler.to_triton.preact import (
    ALIGNED,
    Layer,
    layer_of,
    layer_params,
    no_layer,
    words_of,
)
from compiler.to_triton.regions import Activation
from compiler.to_triton.whole import Whole, common, owns, with_wholes
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Node, Value
from segdsl.ops.base import Op
from segdsl.ops.combine import Concat
from segdsl.ops.conv import Conv
from segdsl.ops.norm import BatchNorm
from segdsl.ops.operands import axis_index
from segdsl.taps import Sliding, Taps
from segdsl.types import Axis, Feature, Pair, Param, Requirement, Window

_UNIT = Pair(1, 1)


@dataclass(frozen=True)
class DenseBlock(Op):
    """Layers that each see all maps before them; the result holds their maps side by side.

    Attributes:
        layers: norm and convolution of each.
        names: the paths of their arrays, in the same order.
        keep: whether the result begins with the input.
        before: the activation behind the norms.
        fused: the names of the operators in it, for the report.
    """

    name: ClassVar[str] = "dense_block"
    operands: ClassVar[tuple[str, ...]] = ("maps",)
    variadic: ClassVar[bool] = True
    internal: ClassVar[bool] = True

    layers: tuple[tuple[BatchNorm, Conv], ...]
    _: KW_ONLY
    names: tuple[str, ...]
    keep: bool
    before: Activation
    fused: tuple[str, ...] = ()

    def infer(self, *inputs: Feature) -> Feature:
        x = Concat().infer(*inputs)
        added = sum(conv.out for _, conv in self.layers)
        return x.with_channels(added + (x.channels if self.keep else 0))

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        return Concat().requirements(*inputs)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        """The last layer sees the furthest, through all the others."""
        windows = [conv.window(axis) for _, conv in self.layers]
        reach = sum(window.before for window in windows)
        return Sliding(window=Window(2 * reach + 1, 1, reach, reach))

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        found: dict[str, Param] = {}
        for i, (norm, conv, x) in enumerate(self._calls(inputs)):
            found |= layer_params(norm, conv, self.names[2 * i : 2 * i + 2], x)
        return found

    def macs(self, *inputs: Feature) -> int:
        return sum(conv.macs(x) for _, conv, x in self._calls(inputs))

    def _calls(self, inputs: Sequence[Feature]) -> Iterator[tuple[BatchNorm, Conv, Feature]]:
        """Each layer with what it reads."""
        x = Concat().infer(*inputs)
        for norm, conv in self.layers:
            yield norm, conv, x
            x = x.with_channels(x.channels + conv.out)


def fuse_dense(graph: Graph) -> Graph:
    """The graph with every dense block as one node; the same object if there is none."""
    scan = _Scan(graph)
    taken: set[str] = set()
    found: list[Whole] = []
    # The outermost concatenation stands last; those before it are parts of its block.
    for node in reversed(list(graph.nodes())):
        whole = scan.block(node) if node.name not in taken and scan.joins(node) else None
        if whole is not None:
            taken.update(whole.nodes)
            found.append(whole)
    return with_wholes(graph, found)


def no_entry(graph: Graph, concat: Node) -> str:
    """Why a concatenation is not part of the block that reads it; "" where none does.

    Args:
        graph: the fused graph.
        concat: the node of the concatenation.
    """
    users = [graph[use.node] for use in graph.users(concat.name)]
    if not any(isinstance(user.op, DenseBlock) for user in users):
        return ""
    names = [name for name, value in graph.stages.items() if value == Value(concat.name)]
    return f"it has a name: {names[0]}" if names else f"{len(users)} nodes read it"


class _Scan:
    """Looks backwards from a concatenation."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types: Mapping[Value, Feature] = shapes(graph)
        self.named = set(graph.stages.values())

    def joins(self, node: Node) -> bool:
        """Whether a node puts maps beside each other."""
        if not isinstance(node.op, Concat):
            return False
        return axis_index(node.op.axis, self.types[Value(node.name)].rank) == 1

    def block(self, last: Node) -> Whole | None:
        """The block whose result is a concatenation, if it is one."""
        inner: set[str] = set()
        maps = self._parts(last, inner)
        layers = [self._layer(value) for value in maps]
        first = next((i for i in range(len(maps)) if all(layers[i:])), len(maps))
        for start in range(first, len(maps)):
            whole = self._from(last, maps, layers[start:], start, inner)
            if whole is not None:
                return whole
        return None

    def _parts(self, concat: Node, inner: set[str]) -> list[Value]:
        """The maps of a concatenation, of nested ones too, whose names are noted."""
        found: list[Value] = []
        for value in self.graph.operands(concat.name):
            node = self.graph[value.node]
            if self.joins(node) and self._passes(value):
                inner.add(node.name)
                found += self._parts(node, inner)
            else:
                found.append(value)
        return found

    def _passes(self, value: Value) -> bool:
        """Whether a concatenation may vanish: norms and other concatenations read it alone."""
        users = [self.graph[use.node] for use in self.graph.users(value.node)]
        plain = all(isinstance(user.op, BatchNorm) or self.joins(user) for user in users)
        return plain and value not in self.named

    def _layer(self, value: Value) -> Layer | None:
        """The layer that makes a map, if it is one that a block may have."""
        layer = layer_of(self.graph, self.graph[value.node])
        if layer is None:
            return None
        norm, conv = layer.ops
        plain = conv.act.name == "none" and _keeps_size(conv.conv)
        return layer if plain and not no_layer(norm, conv) else None

    def _from(
        self, last: Node, maps: list[Value], layers: list[Layer | None], start: int,
        inner: set[str],
    ) -> Whole | None:  # fmt: skip
        """The block of just these layers, the last maps of a concatenation."""
        own = [layer for layer in layers if layer is not None]
        concats = set(inner)
        base = self._read(own[0], concats)
        keep = base == maps[:start]
        if not (keep or start == 0) or (len(own) < 2 and not keep):
            return None
        for i, layer in enumerate(own):
            if self._read(layer, concats) != [*base, *maps[start : start + i]]:
                return None
        if len({layer.before for layer in own}) > 1:
            return None
        inside = {name for layer in own for name in layer.nodes} | concats
        if not self._closed(inside, last) or not self._fits(base, own, keep=keep):
            return None
        return self._made(last, own, base, inside, keep=keep)

    def _read(self, layer: Layer, inner: set[str]) -> list[Value]:
        """The maps that a layer sees."""
        node = self.graph[layer.x.node]
        if self.joins(node) and self._passes(layer.x):
            inner.add(node.name)
            return self._parts(node, inner)
        return [layer.x]

    def _closed(self, inside: set[str], last: Node) -> bool:
        """Whether nobody else reads what is inside."""
        allowed = {*inside, last.name}
        return all(use.node in allowed for name in inside for use in self.graph.users(name))

    def _fits(self, base: list[Value], layers: list[Layer], *, keep: bool) -> bool:
        """Whether every map that the kernel reads has aligned pixels."""
        channels = sum(self.types[value].channels for value in base)
        total = sum(layer.ops[1].conv.out for layer in layers)
        counts = [total + channels] if keep else [total, channels]
        return all(count % ALIGNED == 0 for count in counts)

    def _made(
        self, last: Node, layers: list[Layer], base: list[Value], inside: set[str], *, keep: bool
    ) -> Whole | None:
        order = [name for name in self.graph if name in inside]
        nodes = (*order, last.name)
        path, names = common([node for layer in layers for node in (layer.norm, layer.conv)])
        if not owns(self.graph, path, nodes) or len(set(names)) < len(names):
            return None
        op = DenseBlock(
            tuple((layer.ops[0], layer.ops[1].conv) for layer in layers),
            names=names,
            keep=keep,
            before=layers[0].before,
            fused=tuple(word for name in nodes for word in words_of(self.graph[name])),
        )
        return Whole(op, nodes, path, base[0], tuple(base[1:]))


def _keeps_size(conv: Conv) -> bool:
    """Whether a convolution has stride 1 and just the padding that its kernel needs."""
    height, width = conv.kernel
    rate = int(conv.dilation.height)
    even = conv.dilation == Pair(rate, rate) and height % 2 == 1 and width % 2 == 1
    sides = conv.sides
    wanted = (rate * (height // 2), rate * (width // 2))
    return (
        even
        and conv.stride == _UNIT
        and (sides.top, sides.left) == wanted == (sides.bottom, sides.right)
    )
