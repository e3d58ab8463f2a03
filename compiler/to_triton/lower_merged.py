"""How the emitted module constructs convolutions over several maps, and those behind a norm."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, Literal, Make, layer, size
from compiler.to_triton.dense import DenseBlock
from compiler.to_triton.merge import EnlargedConv, MergedConv
from compiler.to_triton.preact import PreConv
from compiler.to_triton.regions import Activation
from segdsl.ops.combine import Pad
from segdsl.ops.conv import Conv
from segdsl.types import Feature


def _geometry(conv: Conv) -> tuple[Arg, ...]:
    sides = conv.sides
    padding: Literal = sides.top if sides.top == sides.left else (sides.top, sides.left)
    return (
        Arg(size(conv.stride), "stride", 1, "stride"),
        Arg(padding, "padding", 0, "pad"),
        Arg(size(conv.dilation), "dilation", 1, "dilation"),
    )


def _acts(act: Activation, after: Activation) -> tuple[Arg, ...]:
    slope = after.slope if act.name == "none" else act.slope
    return (
        Arg(act.name, "act", "none"),
        Arg(after.name, "after", "none"),
        Arg(slope, "slope", 0.01),
    )


@layer.register
def merged_conv(op: MergedConv, *inputs: Feature) -> Layer:
    args = (
        Arg(inputs[0].channels, origin=0),
        Arg(inputs[1].channels, origin=1),
        Arg(op.conv.out, origin="out"),
        Arg(size(op.conv.kernel), origin="kernel"),
        *_geometry(op.conv),
        Arg(op.fitted if op.fitted >= 0 else None, "fitted", None),
        Arg("pad" if isinstance(op.fitting, Pad) else "repeat", "fit", "repeat"),
        Arg(op.conv.bias, "bias", True, "bias"),
        *_acts(op.act, op.after),
    )
    call = "{self}({0}, {1})" if len(inputs) == 2 else "{self}({0}, {1}, {2})"
    return Layer(call, make=Make("MergedConvBlock", args), passes_channels=False)


@layer.register
def enlarged_conv(op: EnlargedConv, *inputs: Feature) -> Layer:
    resize = op.resize
    factors: Literal = (1, 1)
    call = "{self}({0})"
    if len(inputs) == 2:
        call = "{self}({0}, size={1}.shape[-2:])"
    elif resize.to is not None:
        call = f"{{self}}({{0}}, size=({int(resize.to.height)}, {int(resize.to.width)}))"
    else:
        factors = (int(resize.factor(0)), int(resize.factor(1)))
    args = (
        Arg(inputs[0].channels, origin=0),
        Arg(0),
        Arg(op.conv.out, origin="out"),
        Arg(size(op.conv.kernel), origin="kernel"),
        *_geometry(op.conv),
        Arg(0, "fitted"),
        Arg(factors, "factors", (1, 1)),
        Arg(op.conv.bias, "bias", True, "bias"),
        *_acts(op.act, Activation()),
    )
    return Layer(call, make=Make("MergedConvBlock", args), passes_channels=False)


@layer.register
def pre_conv(op: PreConv, *inputs: Feature) -> Layer:
    args = (
        Arg(inputs[0].channels, origin=0),
        Arg(op.conv.out, origin="out"),
        Arg(size(op.conv.kernel), origin="kernel"),
        Arg(op.names, "names"),
        *_geometry(op.conv),
        Arg(op.conv.bias, "bias", True, "bias"),
        Arg(float(op.norm.eps), "eps", 1e-5, "eps"),
        Arg(op.norm.affine, "affine", True, "affine"),
        Arg(op.before.name, "before", "relu"),
        Arg(op.before.slope, "before_slope", 0.01),
        Arg(op.act.name, "act", "none"),
        Arg(op.act.slope, "slope", 0.01),
    )
    return Layer("{self}({0})", make=Make("PreConvBlock", args), passes_channels=False)


@layer.register
def dense_block(op: DenseBlock, *inputs: Feature) -> Layer:
    norms, convs = zip(*op.layers, strict=True)
    biases = tuple(conv.bias for conv in convs)
    affine = tuple(norm.affine for norm in norms)
    eps = tuple(float(norm.eps) for norm in norms)
    args = (
        Arg(sum(x.channels for x in inputs)),
        Arg(tuple(conv.out for conv in convs), "widths"),
        Arg(tuple(size(conv.kernel) for conv in convs), "kernels"),
        Arg(tuple(int(conv.dilation.height) for conv in convs), "rates"),
        Arg(op.names, "names"),
        Arg(op.keep, "keep", True),
        Arg(() if all(biases) else biases, "biases", ()),
        Arg(() if all(affine) else affine, "affine", ()),
        Arg(() if set(eps) == {1e-5} else eps, "eps", ()),
        Arg(op.before.name, "before", "relu"),
        Arg(op.before.slope, "slope", 0.01),
    )
    return Layer("{self}({*})", make=Make("DenseBlock", args), passes_channels=False)
