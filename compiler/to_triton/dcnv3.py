"""Fuse the whole layer of DCNv3: its branches, its sampling, its projections.

    f = x -> conv(C, groups=C) -> layer_norm -> gelu
    s = dcnv3_core(x -> linear, f -> linear, f -> linear)
    s -> linear, or s -> center_feature_scale(values, f, weight, bias) -> linear
                                                                          => dcnv3_block(x)

It runs behind `fuse`. The linear layers of offsets and masks become one, whose result the kernel
reads as it is. The node takes the name of the last one, and the path that all arrays have in
common. Results of blocks inside have no value any more.

Non-goals: other norms, activations and branches than those of `std.dcn`; layers whose inner maps
somebody else reads. Their samplings still become one kernel (`sampling`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, Generic, TypeVar

from compiler.to_triton.regions import NO_ACTIVATION, ConvBlock
from compiler.to_triton.sampling import no_kernel
from compiler.to_triton.whole import Whole, common, owns, with_wholes
from segdsl.analysis.params import tensor_path
from segdsl.analysis.shapes import Shapes, shapes
from segdsl.ir import Graph, Node, Value
from segdsl.ops.activation import Gelu, Relu, Silu
from segdsl.ops.base import Op
from segdsl.ops.conv import Conv, Linear
from segdsl.ops.deform import CenterFeatureScale, Dcnv3Core
from segdsl.ops.norm import LayerNorm
from segdsl.ops.ports import Weight
from segdsl.ops.window import UNIT
from segdsl.taps import Taps
from segdsl.types import Axis, Feature, Param, Requirement

ACTIVATIONS: Mapping[type[Op], str] = {Gelu: "gelu", Relu: "relu", Silu: "silu"}


@dataclass(frozen=True)
class Dcnv3Block(Op):
    """The layer of DCNv3 with its branches and projections.

    Attributes:
        core: the sampling.
        branch: the depthwise convolution that both branches begin with.
        norm: the norm behind it.
        act: the activation behind the norm.
        offset: the linear layer of the offsets; likewise `mask`, and `value` of what is sampled.
        out: the linear layer behind the sampling.
        centre: the weight and the bias of the blend with the centre feature, or nothing.
        names: the paths of the arrays: of the convolution, the norm, the four linear layers in
            this order, and of `centre`.
        fused: the names of the operators in it, for the report.
    """

    name: ClassVar[str] = "dcnv3_block"
    internal: ClassVar[bool] = True

    core: Dcnv3Core
    _: KW_ONLY
    branch: Conv
    norm: LayerNorm
    act: str
    offset: Linear
    mask: Linear
    value: Linear
    out: Linear
    centre: tuple[Weight, ...]
    names: tuple[str, ...]
    fused: tuple[str, ...] = ()

    def infer(self, *inputs: Feature) -> Feature:
        return self.out.infer(self.core.infer(*self._maps(inputs[0])))

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        yield from self.branch.requirements(inputs[0])
        yield from self.core.requirements(*self._maps(inputs[0]))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        """Those of the sampling; the branches may move its points anywhere."""
        sampled = self.core.taps(0, axis, *self._maps(inputs[0]))
        return replace(sampled, also="offset", beyond=None)

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        return {
            tensor_path(name, tensor): param
            for name, (op, x) in zip(self.names, self._calls(inputs[0]), strict=True)
            for tensor, param in op.params(*x).items()
        }

    def macs(self, *inputs: Feature) -> int:
        maps = self._maps(inputs[0])
        total = self.core.macs(*maps) + sum(op.macs(*x) for op, x in self._calls(inputs[0]))
        if self.centre:
            sampled, found = self.core.infer(*maps), self.branch.infer(inputs[0])
            arrays = (weight.infer() for weight in self.centre)
            total += CenterFeatureScale().macs(sampled, maps[0], found, *arrays)
        return total

    def kernel_macs(self, x: Feature) -> int:
        """Those of the depthwise convolution and of the sampling: all others are the library's."""
        return self.branch.macs(x) + self.core.macs(*self._maps(x))

    def _maps(self, x: Feature) -> tuple[Feature, Feature, Feature]:
        """What the sampling reads."""
        found = self.branch.infer(x)
        return self.value.infer(x), self.offset.infer(found), self.mask.infer(found)

    def _calls(self, x: Feature) -> list[tuple[Op, tuple[Feature, ...]]]:
        """The operators with arrays in the order of `names`, each with what it reads."""
        found = self.branch.infer(x)
        sampled = self.core.infer(*self._maps(x))
        branches = [(op, (found,)) for op in (self.norm, self.offset, self.mask)]
        tail = [(self.value, (x,)), (self.out, (sampled,))]
        weights: list[tuple[Op, tuple[Feature, ...]]] = [(op, ()) for op in self.centre]
        return [(self.branch, (x,)), *branches, *tail, *weights]


def fuse_dcnv3(graph: Graph) -> Graph:
    """The graph with every such layer as one node; the same object if there is none."""
    types = shapes(graph)
    found = (
        _Match(graph, node, types).layer() for node in graph.nodes() if isinstance(node.op, Linear)
    )
    return with_wholes(graph, (layer for layer in found if layer is not None))


Kind = TypeVar("Kind", bound=Op)


@dataclass(frozen=True)
class _Found(Generic[Kind]):
    """A node of the layer: its operator and what it reads."""

    node: Node
    op: Kind
    reads: tuple[Value, ...]


class _No(Exception):
    """The nodes are no such layer."""


def _require(condition: bool) -> None:
    if not condition:
        raise _No


class _Match:
    """Looks backwards from the projection of what was sampled."""

    def __init__(self, graph: Graph, last: Node, types: Shapes) -> None:
        self.graph, self.last, self.types = graph, last, types
        self.taken: set[str] = set()

    def layer(self) -> Whole | None:
        """What was found, or None."""
        try:
            return self._layer()
        except _No:
            return None

    def _layer(self) -> Whole:
        out = self._take(Value(self.last.name), Linear)
        sampled, blend = out.reads[0], None
        if isinstance(self.graph[sampled.node].op, CenterFeatureScale):
            blend = self._take(sampled, CenterFeatureScale)
            sampled = blend.reads[0]
        core = self._take(sampled, Dcnv3Core)
        value, offset, mask = (self._take(read, Linear) for read in core.reads)
        (x,), (f,) = value.reads, offset.reads
        act = self._activation(f)
        norm = self._take(act.reads[0], LayerNorm)
        branch = self._take(norm.reads[0], ConvBlock)
        _require(mask.reads == offset.reads and branch.reads == value.reads)
        _require(_depthwise(branch.op, self.types[x].channels, core.op))
        _require(value.op.out == self.types[x].channels and not no_kernel(core.op))
        _require(all(layer.op.bias for layer in (offset, mask, value, out)))
        centre = self._centre(blend, core.reads[0], f) if blend is not None else ()
        _require(all(weight.op.shape[0] == core.op.groups for weight in centre))
        arrays = (branch.node, norm.node, *(layer.node for layer in (offset, mask, value, out)))
        named = [*arrays, *(weight.node for weight in centre)]
        _require(all(node.path for node in named))
        path, names = common(named)
        op = Dcnv3Block(
            core.op, branch=branch.op.conv, norm=norm.op, act=ACTIVATIONS[type(act.op)],
            offset=offset.op, mask=mask.op, value=value.op, out=out.op,
            centre=tuple(weight.op for weight in centre), names=names, fused=self._words(),
        )  # fmt: skip
        return self._closed(Whole(op, self._order(), path, x))

    def _take(self, value: Value, kind: type[Kind]) -> _Found[Kind]:
        """The node that makes a value, which must be of a kind."""
        node = self.graph[value.node]
        _require(isinstance(node.op, kind))
        assert isinstance(node.op, kind)
        self.taken.add(node.name)
        return _Found(node, node.op, self.graph.operands(node.name))

    def _activation(self, value: Value) -> _Found[Op]:
        found = self._take(value, Op)
        _require(type(found.op) in ACTIVATIONS)
        _require(not (isinstance(found.op, Gelu) and found.op.approx is not None))
        return found

    def _centre(
        self, blend: _Found[CenterFeatureScale], v: Value, f: Value
    ) -> tuple[_Found[Weight], ...]:
        _require(blend.reads[1:3] == (v, f))
        return tuple(self._take(read, Weight) for read in blend.reads[3:])

    def _order(self) -> tuple[str, ...]:
        return tuple(name for name in self.graph if name in self.taken)

    def _words(self) -> tuple[str, ...]:
        ops = (self.graph[name].op for name in self._order())
        return tuple(
            word
            for op in ops
            if not isinstance(op, Weight)
            for word in (op.fused if isinstance(op, ConvBlock) else (op.name,))
        )

    def _closed(self, whole: Whole) -> Whole:
        """The same, if nobody else reads what is inside or has arrays there."""
        uses = (use for name in whole.nodes[:-1] for use in self.graph.users(name))
        _require(all(use.node in self.taken for use in uses))
        _require(owns(self.graph, whole.path, whole.nodes))
        return whole


def _depthwise(block: ConvBlock, channels: int, core: Dcnv3Core) -> bool:
    """Whether a convolution takes each channel alone, at the places of the core."""
    conv = block.conv
    alone = conv.groups == conv.out == channels and conv.bias and conv.dilation == UNIT
    return alone and conv.stride == core.stride and block.act == block.after == NO_ACTIVATION
