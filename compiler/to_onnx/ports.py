"""The borders of a graph in ONNX: inputs, outputs, bare learned arrays."""

from __future__ import annotations

import onnx_ir as ir

from compiler.to_onnx.lower import EmissionError, emit
from compiler.to_onnx.site import Site
from segdsl.ops.ports import Input, Output, Weight


@emit.register
def input(op: Input, site: Site) -> ir.Value:
    """Inputs are values of the model; nothing calls this."""
    raise EmissionError("an input is a value of the model, not a node")


@emit.register
def output(op: Output, site: Site, x: ir.Value) -> ir.Value:
    """The map itself; `build` gives it the output's name."""
    return x


@emit.register
def weight(op: Weight, site: Site) -> ir.Value:
    return site.weight("")
