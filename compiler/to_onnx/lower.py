"""How ONNX writes an operator: this target's dispatch function."""

from __future__ import annotations

from functools import singledispatch

import onnx_ir as ir

from compiler.to_onnx.site import Site
from segdsl.ops.base import Op


class EmissionError(Exception):
    """The ONNX target would write something wrong: a bug in segdsl, never the user's fault."""


@singledispatch
def emit(op: Op, site: Site, *inputs: ir.Value) -> ir.Value | tuple[ir.Value, ...]:
    """Write `op` on these values: its nodes go to `site`; answers its results.

    A result may be an operand itself, where the operator does nothing.

    Raises:
        SegError: the chosen opset cannot express the operator (E6001).
    """
    raise EmissionError(
        f"operator {op.name!r} has no ONNX lowering; add one in compiler/to_onnx/<family>.py"
    )
