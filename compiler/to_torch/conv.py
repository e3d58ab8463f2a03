"""Convolutions and linear layers in torch."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, Literal, Make, layer, size
from segdsl.ops.conv import Conv, ConvTranspose, Linear
from segdsl.types import Feature, Sides


def _symmetric(sides: Sides) -> bool:
    return sides.top == sides.bottom and sides.left == sides.right


def _common(op: Conv | ConvTranspose, x: Feature) -> tuple[Arg, ...]:
    return (
        Arg(x.channels, origin=0),
        Arg(op.out, origin="out"),
        Arg(size(op.kernel), origin="kernel"),
        Arg(size(op.stride), "stride", 1, "stride"),
    )


def _rest(op: Conv | ConvTranspose) -> tuple[Arg, ...]:
    return (
        Arg(size(op.dilation), "dilation", 1, "dilation"),
        Arg(op.groups, "groups", 1, "groups"),
        Arg(op.bias, "bias", True, "bias"),
    )


def _padding(sides: Sides) -> Literal:
    return sides.top if sides.top == sides.left else (sides.top, sides.left)


@layer.register
def conv(op: Conv, x: Feature) -> Layer:
    """nn.Conv2d pads both sides alike; other paddings are an F.pad before it."""
    sides = op.sides
    even = _symmetric(sides)
    padding = Arg(_padding(sides) if even else 0, "padding", 0, "pad" if even else None)
    make = Make("nn.Conv2d", (*_common(op, x), padding, *_rest(op)), frozen=not op.train)
    if even:
        return Layer("{self}({0})", make=make, passes_channels=False)
    pads = Arg((sides.left, sides.right, sides.top, sides.bottom))
    return Layer("{self}(F.pad({0}{args}))", (pads,), make=make, passes_channels=False)


@layer.register
def conv_transpose(op: ConvTranspose, x: Feature) -> Layer:
    """nn.ConvTranspose2d cuts both sides alike; what one side loses more, a negative F.pad cuts."""
    sides = op.sides
    top, left = min(sides.top, sides.bottom), min(sides.left, sides.right)
    even = _symmetric(sides)
    padding = Arg(top if top == left else (top, left), "padding", 0, "pad" if even else None)
    extra = Arg(size(op.output_pad), "output_padding", 0, "output_pad")
    dilation, groups, bias = _rest(op)
    args = (*_common(op, x), padding, extra, groups, bias, dilation)
    make = Make("nn.ConvTranspose2d", args, frozen=not op.train)
    if even:
        return Layer("{self}({0})", make=make, passes_channels=False)
    cuts = Arg((left - sides.left, left - sides.right, top - sides.top, top - sides.bottom))
    return Layer("F.pad({self}({0}){args})", (cuts,), make=make, passes_channels=False)


@layer.register
def linear(op: Linear, x: Feature) -> Layer:
    """nn.Linear works on the last axis; channels are axis 1."""
    args = (
        Arg(x.channels, origin=0),
        Arg(op.out, origin="out"),
        Arg(op.bias, "bias", True, "bias"),
    )
    call = "{self}({0})" if x.rank == 2 else "{self}({0}.movedim(1, -1)).movedim(-1, 1)"
    return Layer(call, make=Make("nn.Linear", args, frozen=not op.train), passes_channels=False)
