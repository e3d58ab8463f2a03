"""What draws random numbers in training, in torch."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, Make, layer
from segdsl.ops.regularise import Dropout, DropPath
from segdsl.types import Feature


@layer.register
def dropout(op: Dropout, x: Feature) -> Layer:
    p = Arg(float(op.p), origin="p")
    function, module = ("dropout2d", "Dropout2d") if op.channels else ("dropout", "Dropout")
    call = f"F.{function}({{0}}{{args}}, self.training)"
    return Layer(call, (p,), module=Make(f"nn.{module}", (p,)))


@layer.register
def drop_path(op: DropPath, x: Feature) -> Layer:
    p = Arg(float(op.p), origin="p")
    return Layer("drop_path({0}{args}, self.training)", (p,), helper="drop_path")
