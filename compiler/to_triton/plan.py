"""The plan of an emitted folder: what was fused into which kernel, what was not, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from compiler.to_triton.fields import WindowField
from compiler.to_triton.fields import no_kernel as no_window
from compiler.to_triton.regions import AsppBlock, ConvBlock, UpsampleArgmax
from compiler.to_triton.sampling import DeformableSampling, no_kernel
from segdsl.analysis.cost import macs
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Node, Value
from segdsl.ops.conv import Conv, ConvTranspose, Linear
from segdsl.ops.crf import MeanField
from segdsl.ops.deform import Dcnv3Core
from segdsl.ops.ports import Input, Output, Weight
from segdsl.types import Feature
from segdsl.version import __version__

FORMAT = "segdsl.triton"
VERSION = 1
SMALLEST_BLOCK = 16
"""Input channels must divide by it: the depth of the smallest tile (kernels.conv)."""

OUT_MULTIPLE = 8

AT_THE_CALL = "at the call, if this size was measured to win"


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
    """

    name: str
    ops: tuple[str, ...]
    kernel: str
    reason: str
    macs: int | None
    line: int


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
        return sum(row.macs or 0 for row in self.rows if row.kernel != "library") / total

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
    return row.name, " ".join(row.ops), row.kernel, count, row.reason


def plan(graph: Graph, size: Mapping[str, int] | None = None) -> Plan:
    """The plan of a fused graph; `size` gives every symbol a value, for the counts."""
    types = shapes(graph)
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
    if isinstance(op, WindowField):
        return Row(node.name, ("mean_field",), "window_filter", AT_THE_CALL, count, node.span.line)
    if isinstance(op, DeformableSampling):
        return Row(node.name, ("dcnv3_core",), "dcnv3", AT_THE_CALL, count, node.span.line)
    if not isinstance(op, ConvBlock | AsppBlock):
        return Row(node.name, (op.name,), "library", _why(node), count, node.span.line)
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


def _why(node: Node) -> str:
    if isinstance(node.op, Conv):
        return "no template: unequal padding, or shared weights"
    if isinstance(node.op, MeanField):
        return no_window(node.op)
    if isinstance(node.op, Dcnv3Core):
        return no_kernel(node.op)
    if isinstance(node.op, ConvTranspose | Linear):
        return f"no template: {node.op.name}"
    return "no arithmetic to fuse with"
