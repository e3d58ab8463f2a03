"""Which opset a file states, and the IR version that goes with it. Loads no ONNX library."""

from __future__ import annotations

from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph
from segdsl.ops.deform import Dcnv3Core, DeformConv

LOWEST = 18
"""Written unless an operator has no exact form there: runtimes since 2022 read it."""

HIGHEST = 25
"""The highest opset that may be asked for."""

GELU, GROUP_NORM, SWISH = 20, 21, 24
"""The first opsets with these operators as torch means them.

GroupNormalization of 18 has one factor per group, that of 21 one per channel.
"""


DEFORM_CONV = 19
"""The first opset with DeformConv."""

GRID_SAMPLE = 20
"""From here on GridSample's bilinear mode is called linear."""


def check_opset(graph: Graph, opset: int | None) -> None:
    """Refuse an opset that cannot be written; say where deformable operators have a form.

    Raises:
        SegError: E6003.
    """
    if opset is None or LOWEST <= opset <= HIGHEST:
        return
    helps = [f"the opsets from {LOWEST} to {HIGHEST} can be written"]
    ops = [node.op for node in graph.nodes()] if opset < LOWEST else []
    if any(isinstance(op, DeformConv) for op in ops):
        helps.append(
            f"`deform_conv` is a DeformConv from opset {DEFORM_CONV} on, and the GridSample of "
            f"opset {LOWEST} where no `--opset` is given"
        )
    if any(isinstance(op, Dcnv3Core) for op in ops):
        helps.append(
            f"`dcnv3` is written as the GridSample of opset {LOWEST}, which is taken where no "
            "`--opset` is given"
        )
    message = f"target `onnx` cannot write opset {opset}"
    raise SegError(Diagnostic("E6003", message, None, helps=text_helps(*helps)))


def ir_version(opset: int) -> int:
    """The oldest IR version that an opset may be written with, as onnx's own VERSION_TABLE."""
    table = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13}
    return table[opset]
