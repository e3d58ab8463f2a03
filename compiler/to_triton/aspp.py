"""Fuse an atrous spatial pyramid: its branches, its image pooling, and the 1x1 that mixes them.

    concat([x -> conv_block, x -> conv_block(dilation=6), ..., x -> global_avg_pool -> conv_block
            -> resize(like=x)]) -> conv_block(1x1)                                => aspp_block(x)

It runs behind `fuse`. The node takes the name of the last one, and the path that all arrays have in
common. Results of blocks inside the pyramid have no value any more.

Non-goals: separable branches, activations with a slope, branches that somebody else reads.
"""

from __future__ import annotations

from compiler.to_triton.regions import Activation, AsppBlock, ConvBlock
from compiler.to_triton.whole import Whole, common, owns, with_wholes
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Node, Value
from segdsl.ops.combine import Concat
from segdsl.ops.operands import axis_index
from segdsl.ops.pool import GlobalAvgPool
from segdsl.ops.resize import Resize
from segdsl.types import Pair

_UNIT = Pair(1, 1)
_SLOPED = ("leaky_relu", "elu")
_FLAT = ("nearest", "nearest_exact", "bilinear")
"""Modes that make a constant map of one pixel."""


def fuse_aspp(graph: Graph) -> Graph:
    """The graph with every pyramid as one node; the same object if there is none."""
    pyramids = (_Match(graph, node).pyramid() for node in graph.nodes())
    return with_wholes(graph, (pyramid for pyramid in pyramids if pyramid is not None))


class _Match:
    """Looks backwards from the convolution that mixes the branches."""

    def __init__(self, graph: Graph, last: Node) -> None:
        self.graph, self.last = graph, last
        self.nodes: list[str] = []
        self.convs: list[tuple[Node, ConvBlock]] = []
        self.pool: int | None = None

    def pyramid(self) -> Whole | None:
        """What was found, or None."""
        last = self._mixed()
        if last is None:
            return None
        (value,) = self.graph.operands(self.last.name)
        concat = self._only(value)
        if concat is None or not isinstance(concat.op, Concat):
            return None
        if axis_index(concat.op.axis, shapes(self.graph)[value].rank) != 1:
            return None
        parts = self.graph.operands(concat.name)
        sources = {self._branch(i, part) for i, part in enumerate(parts)}
        if len(sources) != 1 or None in sources:
            return None
        (x,) = sources
        assert x is not None
        return self._made(last, concat, x)

    def _mixed(self) -> ConvBlock | None:
        op = self.last.op
        if not isinstance(op, ConvBlock) or len(self.graph.operands(self.last.name)) != 1:
            return None
        return op if _rate(op) == 0 and op.after.name == "none" else None

    def _branch(self, place: int, value: Value) -> Value | None:
        """What a branch reads, if it is one."""
        node = self._only(value)
        if node is None:
            return None
        if isinstance(node.op, Resize):
            return self._pooled(place, node)
        operands = self.graph.operands(node.name)
        if not isinstance(node.op, ConvBlock) or _rate(node.op) is None or len(operands) != 1:
            return None
        self._take(node, node.op)
        return operands[0]

    def _pooled(self, place: int, resize: Node) -> Value | None:
        assert isinstance(resize.op, Resize)
        node = self._only(self.graph.operands(resize.name)[0])
        if node is None or not isinstance(node.op, ConvBlock) or self.pool is not None:
            return None
        operands = self.graph.operands(node.name)
        pool = self._only(operands[0])
        if pool is None or not isinstance(pool.op, GlobalAvgPool) or len(operands) != 1:
            return None
        if resize.op.mode not in _FLAT or _rate(node.op) != 0:
            return None
        self.pool = place
        self.nodes.append(pool.name)
        self._take(node, node.op)
        self.nodes.append(resize.name)
        return self.graph.operands(pool.name)[0]

    def _take(self, node: Node, op: ConvBlock) -> None:
        self.nodes.append(node.name)
        self.convs.append((node, op))

    def _only(self, value: Value) -> Node | None:
        """The node that makes a value, if just one node reads it."""
        return self.graph[value.node] if len(self.graph.users(value.node)) == 1 else None

    def _made(self, last: ConvBlock, concat: Node, x: Value) -> Whole | None:
        ops = [op for _, op in self.convs]
        branches = [op for i, op in enumerate(ops) if i != self.pool]
        pool = None if self.pool is None else ops[self.pool]
        path, names = common([*(node for node, _ in self.convs), self.last])
        alike = len({(op.conv.out, op.act) for op in branches}) == 1
        acts = [branches[0].act, last.act, *([pool.act] if pool is not None else [])]
        plain = all(op.after.name == "none" for op in ops)
        plain = plain and all(act.name not in _SLOPED for act in acts)
        biased = len({op.conv.bias for op in [*ops, last]}) == 1
        nodes = (*self.nodes, concat.name, self.last.name)
        rates = tuple(_rate(op) or 0 for op in branches)
        if not (alike and plain and biased and any(rates) and owns(self.graph, path, nodes)):
            return None
        op = AsppBlock(
            tuple(op.conv for op in branches),
            last.conv,
            rates=rates,
            pool=None if pool is None else pool.conv,
            place=-1 if self.pool is None else self.pool,
            names=names,
            act=branches[0].act,
            pool_act=Activation() if pool is None else pool.act,
            mixed_act=last.act,
            fused=tuple(word for name in nodes for word in _words(self.graph[name])),
        )
        return Whole(op, nodes, path, x)


def _rate(op: ConvBlock) -> int | None:
    """0 for a 1x1 convolution, the rate of a 3x3 one that keeps the size; None for others."""
    conv = op.conv
    rate = int(conv.dilation.height)
    if conv.stride != _UNIT or conv.groups != 1 or conv.dilation != Pair(rate, rate):
        return None
    sides = set(conv.sides)
    if conv.kernel == _UNIT:
        return 0 if sides == {0} else None
    return rate if conv.kernel == Pair(3, 3) and sides == {rate} else None


def _words(node: Node) -> tuple[str, ...]:
    return node.op.fused if isinstance(node.op, ConvBlock) else (node.op.name,)
