"""What acts in training only does nothing in ONNX."""

from __future__ import annotations

import onnx_ir as ir

from compiler.to_onnx.lower import emit
from compiler.to_onnx.site import Site
from segdsl.ops.regularise import Dropout, DropPath


@emit.register
def dropout(op: Dropout, site: Site, x: ir.Value) -> ir.Value:
    return x


@emit.register
def drop_path(op: DropPath, site: Site, x: ir.Value) -> ir.Value:
    return x
