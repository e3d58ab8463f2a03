"""The plan of an emitted folder: what was fused into which kernel, what was not, and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from compiler.to_triton.dcnv3 import Dcnv3Block
from compiler.to_triton.dense import DenseBlock, no_entry
from compiler.to_triton.fields import KernelField
from compiler.to_triton.fields import no_kernel as no_field
from compiler.to_triton.merge import EnlargedConv, MergedConv, no_merge
from compiler.to_triton.preact import PreConv, no_prologue
from compiler.to_triton.regions import AsppBlock, ConvBlock, UpsampleArgmax
from compiler.to_triton.sampling import DeformableSampling, no_kernel
from segdsl.analysis.cost import macs
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Node, Value
from segdsl.ops.base import Op
from segdsl.ops.combine import Concat
from segdsl.ops.conv import Conv, ConvTranspose, Linear
from segdsl.ops.crf import MeanField
from segdsl.ops.deform import Dcnv3Core
from segdsl.ops.norm import BatchNorm
from segdsl.ops.ports import Input, Output, Weight
from segdsl.ops.resize import Resize
from segdsl.types import Feature
from segdsl.version import __version__

FORMAT = "segdsl.triton"
VERSION = 1
SMALLEST_BLOCK = 16
"""Input channels must divide by it: the depth of the smallest tile (kernels.conv)."""

OUT_MULTIPLE = 8

MOST_WORDS = 16
"""Operators of a region that a row of the report spells out."""

AT_THE_CALL = "at the call, if this size was measured to win"


_KERNELS: Mapping[type[Op], str] = {
    MergedConv: "merge_conv",
    EnlargedConv: "merge_conv",
    PreConv: "pre_conv",
    DenseBlock: "dense_block",
}
"""The kernels of regions that are only made where a kernel can take them."""


@dataclass(frozen=True)
class Row:
    """One line of the plan.

    Attributes:
        name: the node, by the name of the last operator in it.
        ops: the operators in it, in order.
        kernel: the kernel that can take it, or "library".
        reason: why it is the library, or how the kernel is chosen.
        macs: its multiply-accumulates at the size of the plan; None without a size.
        line: of the source.
        kernel_macs: those of `macs` that the kernel can take; None where that is all of them.
    """

    name: str
    ops: tuple[str, ...]
    kernel: str
    reason: str
    macs: int | None
    line: int
    kernel_macs: int | None = None

    @property
    def taken(self) -> int:
        """The multiply-accumulates that a kernel can take."""
        if self.kernel == "library":
            return 0
        return (self.macs if self.kernel_macs is None else self.kernel_macs) or 0


@dataclass(frozen=True)
class Plan:
    """All rows, in the order of the graph, and the size that the counts are for."""

    rows: tuple[Row, ...]
    size: Mapping[str, int] | None

    @property
    def share(self) -> float | None:
        """The part of the multiply-accumulates that kernels can take; None without a size."""
        total = sum(row.macs or 0 for row in self.rows)
        if self.size is None or not total:
            return None
        return sum(row.taken for row in self.rows) / total

    def as_json(self) -> str:
        """The text of `plan.json`; only additions within a version."""
        share = self.share
        document = {
            "format": FORMAT,
            "version": VERSION,
            "segdsl": __version__,
            "policy": "measured",
            "size": dict(self.size) if self.size is not None else None,
            "kernel_share_of_macs": None if share is None else round(share, 4),
            "rows": [asdict(row) for row in self.rows],
        }
        return json.dumps(document, indent=1) + "\n"

    def __str__(self) -> str:
        cells = [_cells(row) for row in self.rows]
        head = ("region", "operators", "kernel", "MACs", "how it is chosen")
        widths = [max(len(row[i]) for row in [head, *cells]) for i in range(4)]
        lines = [
            "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[4]]).rstrip()
            for row in [head, *cells]
        ]
        return "\n".join([*lines, *self._totals()])

    def _totals(self) -> list[str]:
        kernels = [row for row in self.rows if row.kernel != "library"]
        total = f"{len(kernels)} of {len(self.rows)} nodes can run in a kernel"
        share = self.share
        return [total if share is None else f"{total}: {share:.1%} of the multiply-accumulates"]


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    count = "" if row.macs is None else f"{row.macs:,}"
    return row.name, _words(row.ops), row.kernel, count, row.reason


def _words(ops: tuple[str, ...]) -> str:
    """The operators in order; of long regions how many of each."""
    if len(ops) <= MOST_WORDS:
        return " ".join(ops)
    return ", ".join(f"{count} {name}" for name, count in Counter(ops).items())


def plan(graph: Graph, size: Mapping[str, int] | None = None) -> Plan:
    """The plan of a fused graph; `size` gives every symbol a value, for the counts."""
    types = shapes(graph, size)
    counts = macs(graph, size) if size is not None else {}
    rows = [
        _row(graph, node, types, counts.get(node.name, 0) if size is not None else None)
        for node in graph.nodes()
        if not isinstance(node.op, Input | Output | Weight)
    ]
    return Plan(tuple(rows), size)


def _row(graph: Graph, node: Node, types: Mapping[Value, Feature], count: int | None) -> Row:
    op = node.op
    if isinstance(op, UpsampleArgmax):
        fused = ("resize", "argmax")
        return Row(node.name, fused, "upsample_argmax", AT_THE_CALL, count, node.span.line)
    if isinstance(op, KernelField):
        maps = [types[value] for value in graph.operands(node.name)]
        inside = op.kernel_macs(*maps) if count is not None else None
        own, line = ("mean_field",), node.span.line
        return Row(node.name, own, op.kernel, AT_THE_CALL, count, line, inside)
    if isinstance(op, Dcnv3Block):
        inside = op.kernel_macs(types[graph.operands(node.name)[0]]) if count is not None else None
        return Row(node.name, op.fused, "dcnv3", AT_THE_CALL, count, node.span.line, inside)
    if isinstance(op, DeformableSampling):
        return Row(node.name, ("dcnv3_core",), "dcnv3", AT_THE_CALL, count, node.span.line)
    if type(op) in _KERNELS:
        assert isinstance(op, MergedConv | EnlargedConv | PreConv | DenseBlock)
        return Row(node.name, op.fused, _KERNELS[type(op)], AT_THE_CALL, count, node.span.line)
    if not isinstance(op, ConvBlock | AsppBlock):
        why = _unfused(graph, node) or _why(node)
        return Row(node.name, (op.name,), "library", why, count, node.span.line)
    conv = op.conv if isinstance(op, ConvBlock) else op.branches[0]
    reason = _no_template(conv, types[graph.operands(node.name)[0]].channels)
    kernel = "library" if reason else "conv" if isinstance(op, ConvBlock) else "aspp"
    chosen = reason or AT_THE_CALL
    return Row(node.name, op.fused, kernel, chosen, count, node.span.line)


def _no_template(conv: Conv, channels: int) -> str:
    """Why the kernels cannot take a region at all, or ""."""
    if conv.groups > 1:
        return f"no template: groups={conv.groups}"
    if channels % SMALLEST_BLOCK:
        return f"no template: {channels} input channels do not divide by {SMALLEST_BLOCK}"
    if conv.out % OUT_MULTIPLE:
        return f"no template: {conv.out} output channels do not divide by {OUT_MULTIPLE}"
    return ""


def _unfused(graph: Graph, node: Node) -> str:
    """Why a node is not part of a convolution behind it; "" where it is no candidate."""
    if isinstance(node.op, BatchNorm):
        return no_prologue(graph, node)
    if isinstance(node.op, Concat | Resize):
        return no_merge(graph, node) or no_entry(graph, node)
    return ""


def _why(node: Node) -> str:
    if isinstance(node.op, Conv):
        return "no template: unequal padding, or shared weights"
    if isinstance(node.op, MeanField):
        return no_field(node.op)
    if isinstance(node.op, Dcnv3Core):
        return no_kernel(node.op)
    if isinstance(node.op, ConvTranspose | Linear):
        return f"no template: {node.op.name}"
    return "no arithmetic to fuse with"
