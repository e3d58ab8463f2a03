"""How the emitted module constructs the operators of fused graphs."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, Literal, Make, layer, size
from compiler.to_triton.regions import ConvBlock, UpsampleArgmax
from segdsl.types import Feature


@layer.register
def conv_block(op: ConvBlock, *inputs: Feature) -> Layer:
    conv, sides = op.conv, op.conv.sides
    padding: Literal = sides.top if sides.top == sides.left else (sides.top, sides.left)
    slope = op.after.slope if op.act.name == "none" else op.act.slope
    args = (
        Arg(inputs[0].channels, origin=0),
        Arg(conv.out, origin="out"),
        Arg(size(conv.kernel), origin="kernel"),
        Arg(size(conv.stride), "stride", 1, "stride"),
        Arg(padding, "padding", 0, "pad"),
        Arg(size(conv.dilation), "dilation", 1, "dilation"),
        Arg(conv.groups, "groups", 1, "groups"),
        Arg(conv.bias, "bias", True, "bias"),
        Arg(op.act.name, "act", "none"),
        Arg(op.after.name, "after", "none"),
        Arg(slope, "slope", 0.01),
    )
    call = "{self}({0})" if len(inputs) == 1 else "{self}({0}, {1})"
    return Layer(call, make=Make("ConvBlock", args), passes_channels=False)


@layer.register
def upsample_argmax(op: UpsampleArgmax, *inputs: Feature) -> Layer:
    align = Arg(op.resize.align_corners, "align_corners", False)
    if len(inputs) == 2:
        call = "upsample_labels({0}, {1}.shape[-2:]{args})"
        return Layer(call, (align,), passes_channels=False)
    if op.resize.to is not None:
        to = Arg((int(op.resize.to.height), int(op.resize.to.width)))
        return Layer("upsample_labels({0}{args})", (to, align), passes_channels=False)
    factors = Arg(tuple(int(op.resize.factor(axis)) for axis in (0, 1)))
    return Layer("enlarged_labels({0}{args})", (factors, align), passes_channels=False)
