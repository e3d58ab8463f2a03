"""Fuse an enlargement by repeating pixels, and a concatenation of two maps, into a convolution.

    concat([x -> resize(like=skip, mode=nearest), skip]) -> conv_block   =>   merged_conv(x, skip)
    concat([skip, x -> pad(like=skip)]) -> conv_block                    =>   merged_conv(skip, x)
    concat([skip, x]) -> conv_block                                      =>   merged_conv(skip, x)
    x -> resize(like=image, mode=nearest) -> conv_block                  =>   enlarged_conv(x)

They run behind `fuse`. The node keeps the name and the path of the convolution.

Non-goals: other interpolations; more than two maps; an enlarged or a concatenated map that somebody
else reads or that has a name of its own; fractional factors, whose pixels torch takes from the
factor and not from the sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from compiler.to_triton.regions import NO_ACTIVATION, Activation, ConvBlock
from compiler.to_triton.whole import Whole, owns, with_wholes
from segdsl import taps
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Node, Value
from segdsl.ops.base import Op
from segdsl.ops.combine import Concat, Pad
from segdsl.ops.conv import Conv
from segdsl.ops.operands import axis_index
from segdsl.ops.resize import Resize
from segdsl.types import POINTWISE, Axis, Feature, Param, Requirement

SMALLEST_BLOCK = 16
"""Channels of each map must divide by it: the depth of the smallest tile (kernels.conv)."""

OUT_MULTIPLE = 8


@dataclass(frozen=True)
class MergedConv(Op):
    """`after(act(conv(concat([first, second]))) + residual)`, either map fitted on its way.

    Attributes:
        conv: the convolution; batch norms have been folded into it.
        fitting: the enlargement or the padding by zeros, or None.
        fitted: the slot of the map that it gives the size of the other; -1 without.
        act: the activation behind the convolution.
        after: the one behind the residual, which is operand 2 where there is one.
        fused: the names of the operators in it, for the report.
    """

    name: ClassVar[str] = "merged_conv"
    operands: ClassVar[tuple[str, ...]] = ("first", "second", "residual")
    optional: ClassVar[int] = 1
    internal: ClassVar[bool] = True

    conv: Conv
    _: KW_ONLY
    fitting: Resize | Pad | None = None
    fitted: int = -1
    act: Activation = NO_ACTIVATION
    after: Activation = NO_ACTIVATION
    fused: tuple[str, ...] = ()

    def infer(self, *inputs: Feature) -> Feature:
        return self.conv.infer(self._joined(inputs))

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        if isinstance(self.fitting, Pad):
            yield from self.fitting.requirements(inputs[self.fitted], inputs[1 - self.fitted])
        yield from Concat().requirements(*self._maps(inputs))
        yield from self.conv.requirements(self._joined(inputs))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> taps.Taps:
        if slot == 2:
            return taps.Sliding(window=POINTWISE)
        if slot == self.fitted:  # steps of pixels and of kernels do not make one step
            return taps.Whole()
        return self.conv.taps(0, axis, self._joined(inputs))

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        return self.conv.params(self._joined(inputs))

    def macs(self, *inputs: Feature) -> int:
        return self.conv.macs(self._joined(inputs))

    def _maps(self, inputs: tuple[Feature, ...]) -> list[Feature]:
        """The two maps as they are concatenated."""
        maps = list(inputs[:2])
        if self.fitting is not None:
            other, x = maps[1 - self.fitted], maps[self.fitted]
            resize = self.fitting if isinstance(self.fitting, Resize) else None
            by_size = resize is None or (resize.scale is None and resize.to is None)
            like = x.with_spatial(other.height, other.width)
            maps[self.fitted] = like if resize is None or by_size else resize.infer(x)
        return maps

    def _joined(self, inputs: tuple[Feature, ...]) -> Feature:
        return Concat().infer(*self._maps(inputs))


@dataclass(frozen=True)
class EnlargedConv(Op):
    """`act(conv(resize(x)))`, the enlarged map never in memory.

    Attributes:
        resize: the enlargement; its operands are those of this operator.
        conv: the convolution; batch norms have been folded into it.
        act: the activation behind it.
        fused: the names of the operators in it, for the report.
    """

    name: ClassVar[str] = "enlarged_conv"
    operands: ClassVar[tuple[str, ...]] = ("x", "like")
    optional: ClassVar[int] = 1
    sizes_only: ClassVar[frozenset[str]] = frozenset({"like"})
    internal: ClassVar[bool] = True

    resize: Resize
    conv: Conv
    _: KW_ONLY
    act: Activation = NO_ACTIVATION
    fused: tuple[str, ...] = ()

    def infer(self, *inputs: Feature) -> Feature:
        return self.conv.infer(self.resize.infer(*inputs))

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        yield from self.resize.requirements(*inputs)
        yield from self.conv.requirements(self.resize.infer(*inputs))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> taps.Taps:
        return taps.Whole() if slot == 0 else taps.Nothing()

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        return self.conv.params(self.resize.infer(*inputs))

    def macs(self, *inputs: Feature) -> int:
        return self.conv.macs(self.resize.infer(*inputs))


def fuse_merged(graph: Graph) -> Graph:
    """The graph with every such convolution as one node; the same object if there is none."""
    scan = _Scan(graph)
    found = (scan.merged(node) for node in graph.nodes() if isinstance(node.op, ConvBlock))
    return with_wholes(graph, [whole for whole in found if isinstance(whole, Whole)])


def no_merge(graph: Graph, node: Node) -> str:
    """Why a concatenation or an enlargement is not part of the convolution behind it; "" if none.

    Args:
        graph: the fused graph.
        node: one of its nodes.
    """
    scan = _Scan(graph)
    if not (scan.joins(node) or _repeats(node.op)):
        return ""
    for use in graph.users(node.name):
        user = graph[use.node]
        if isinstance(user.op, ConvBlock) and use.slot == 0:
            found = scan.merged(user)
            return found if isinstance(found, str) else ""
    return ""


class _Scan:
    """Looks backwards from convolutions."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types: Mapping[Value, Feature] = shapes(graph)
        self.named = {value: name for name, value in graph.stages.items()}

    def merged(self, node: Node) -> Whole | str:
        """The region that ends in a convolution; else why there is none, or "" for no candidate."""
        op = node.op
        assert isinstance(op, ConvBlock)
        value, *residual = self.graph.operands(node.name)
        source = self.graph[value.node]
        if not self.joins(source) and not _repeats(source.op):
            return ""
        reason = self.shared(value) or _no_path(self.graph, node)
        if reason:
            return reason
        if self.joins(source):
            return self._pair(node, op, source, residual)
        return self._single(node, op, source) if not residual else "no template: a residual"

    def joins(self, node: Node) -> bool:
        """Whether a node puts maps beside each other."""
        if not isinstance(node.op, Concat):
            return False
        return axis_index(node.op.axis, self.types[Value(node.name)].rank) == 1

    def shared(self, value: Value) -> str:
        """Why a value must stay: who else wants it."""
        count = len(self.graph.users(value.node))
        if count != 1:
            return f"{count} nodes read it"
        return f"it has a name: {self.named[value]}" if value in self.named else ""

    def _pair(self, node: Node, op: ConvBlock, concat: Node, residual: list[Value]) -> Whole | str:
        maps = list(self.graph.operands(concat.name))
        if len(maps) != 2:
            return f"no template: {len(maps)} maps"
        reason = _no_template(op.conv, [self.types[value].channels for value in maps])
        if reason:
            return reason
        place = next((i for i in (0, 1) if self._grows(maps[i], maps[1 - i])), -1)
        nodes, fitting = [concat.name, node.name], None
        if place >= 0:
            before = self.graph[maps[place].node]
            assert isinstance(before.op, Resize | Pad)
            nodes, fitting = [before.name, *nodes], before.op
            maps[place] = self.graph.operands(before.name)[0]
        fused = (*([fitting.name] if fitting else []), "concat", *op.fused)
        merged = MergedConv(
            op.conv, fitting=fitting, fitted=place, act=op.act, after=op.after, fused=fused
        )
        assert node.path is not None
        return Whole(merged, tuple(nodes), node.path, maps[0], (maps[1], *residual))

    def _grows(self, value: Value, other: Value) -> bool:
        """Whether a map is fitted for this concatenation only, to the size of the other."""
        alike = self.types[value].shape[2:] == self.types[other].shape[2:]
        node = self.graph[value.node]
        fits = _repeats(node.op) or (_pads(node.op) and len(self.graph.operands(node.name)) == 2)
        return alike and fits and not self.shared(value)

    def _single(self, node: Node, op: ConvBlock, source: Node) -> Whole | str:
        assert isinstance(source.op, Resize)
        x, *like = self.graph.operands(source.name)
        reason = _no_template(op.conv, [self.types[x].channels])
        if reason:
            return reason
        fused = ("resize", *op.fused)
        assert node.path is not None
        whole = EnlargedConv(source.op, op.conv, act=op.act, fused=fused)
        return Whole(whole, (source.name, node.name), node.path, x, tuple(like))


def _no_path(graph: Graph, node: Node) -> str:
    assert node.path is not None
    return "" if owns(graph, node.path, (node.name,)) else f"others have arrays below {node.path}"


def _repeats(op: Op) -> bool:
    """Whether an operator repeats pixels by a rule that sizes tell."""
    if not isinstance(op, Resize) or op.mode != "nearest":
        return False
    return op.scale is None or all(op.factor(axis).denominator == 1 for axis in (0, 1))


def _pads(op: Op) -> bool:
    """Whether an operator puts zeros around a map."""
    return isinstance(op, Pad) and op.mode in ("zeros", "constant") and op.value == 0


def _no_template(conv: Conv, channels: list[int]) -> str:
    """Why the kernel cannot take a convolution over such maps, or ""."""
    if conv.groups > 1:
        return f"no template: groups={conv.groups}"
    for count in channels:
        if count % SMALLEST_BLOCK:
            return f"no template: {count} input channels do not divide by {SMALLEST_BLOCK}"
    if conv.out % OUT_MULTIPLE:
        return f"no template: {conv.out} output channels do not divide by {OUT_MULTIPLE}"
    return ""
