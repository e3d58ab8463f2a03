"""How the emitted module constructs the operators of fused graphs."""

from __future__ import annotations

from dataclasses import replace

from compiler.to_torch.crf import mean_field
from compiler.to_torch.lower import Arg, Layer, Literal, Make, layer, size
from compiler.to_triton.dcnv3 import Dcnv3Block
from compiler.to_triton.fields import KernelField
from compiler.to_triton.regions import AsppBlock, ConvBlock, UpsampleArgmax
from compiler.to_triton.sampling import DeformableSampling
from segdsl.ops.deform import Dcnv3Core
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
def aspp_block(op: AsppBlock, *inputs: Feature) -> Layer:
    pooled = op.pool is not None
    args = (
        Arg(inputs[0].channels, origin=0),
        Arg(op.branches[0].out, origin="out"),
        Arg(op.mixed.out),
        Arg(op.rates, "rates"),
        Arg(op.names, "names"),
        Arg(op.place if pooled else None, "pool", None),
        Arg(op.pool.out if op.pool is not None else None, "pooled", None),
        Arg(op.mixed.bias, "bias", True),
        Arg(op.act.name, "act", "relu"),
        Arg(op.pool_act.name if pooled else "relu", "pool_act", "relu"),
        Arg(op.mixed_act.name, "mixed_act", "relu"),
    )
    return Layer("{self}({0})", make=Make("ASPPBlock", args), passes_channels=False)


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


@layer.register
def deformable_sampling(op: DeformableSampling, *inputs: Feature) -> Layer:
    args = (
        Arg(op.core.groups, "groups", origin="groups"),
        Arg(tuple(op.core.stride), "stride", (1, 1)),
        *_points(op.core),
    )
    return Layer("deformable_sampling({0}, {1}, {2}{args})", args)


def _points(core: Dcnv3Core) -> tuple[Arg, ...]:
    """Where the points lie and what becomes of the mask."""
    limit = None if core.offset_limit is None else float(core.offset_limit)
    return (
        Arg(tuple(core.kernel), "kernel", (3, 3)),
        Arg((core.sides.top, core.sides.left), "padding", (1, 1)),
        Arg(tuple(core.dilation), "dilation", (1, 1)),
        Arg(float(core.offset_scale), "offset_scale", 1.0, "offset_scale"),
        Arg(core.softmax, "softmax", True, "softmax"),
        Arg(core.remove_center, "remove_center", False, "remove_center"),
        Arg(limit, "offset_limit", None, "offset_limit"),
    )


@layer.register
def dcnv3_block(op: Dcnv3Block, *inputs: Feature) -> Layer:
    sides = op.branch.sides
    args = (
        Arg(inputs[0].channels, origin=0),
        Arg(op.out.out, origin="out"),
        Arg(op.core.groups, "groups", origin="groups"),
        Arg(op.names, "names"),
        Arg(tuple(op.core.stride), "stride", (1, 1)),
        *_points(op.core),
        Arg(tuple(op.branch.kernel), "dw_kernel", (3, 3)),
        Arg((sides.top, sides.left), "dw_padding", (1, 1)),
        Arg(float(op.norm.eps), "eps", 1e-6, "eps"),
        Arg(op.act, "act", "gelu"),
    )
    return Layer("{self}({0})", make=Make("DCNv3Block", args), passes_channels=False)


@layer.register
def kernel_field(op: KernelField, *inputs: Feature) -> Layer:
    """The torch target's call, with the text of the library that it calls as first argument."""
    plain = mean_field(op, *inputs)
    head = f"{op.call}(({', '.join(op.library)}), "
    return replace(plain, call=head + plain.call.removeprefix("mean_field("))
