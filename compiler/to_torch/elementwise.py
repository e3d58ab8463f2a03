"""Arithmetic between maps, numbers and learned factors in torch."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, Make, layer
from segdsl.ops.elementwise import (
    Add,
    Arithmetic,
    Div,
    Maximum,
    Minimum,
    Mul,
    PerChannel,
    Scale,
    Sub,
)
from segdsl.types import Feature

_WHOLE = ("u8", "i64", "bool")


def _binary(op: Arithmetic, inputs: tuple[Feature, ...], sign: str) -> Layer:
    """`a sign b`; the wider operand gives the channels: they pass if it is operand 0."""
    passes = len(inputs) == 1 or inputs[0].shape[1:2] != (1,)
    if op.number is None:
        return Layer(f"{{0}} {sign} {{1}}", infix=True, passes_channels=passes)
    number = Arg(float(op.number), "number", origin="number")
    call = f"{{number}} {sign} {{0}}" if op.number_first else f"{{0}} {sign} {{number}}"
    return Layer(call, (number,), infix=True)


def _extreme(op: Arithmetic, inputs: tuple[Feature, ...], name: str, bound: str) -> Layer:
    if op.number is None:
        return Layer(f"torch.{name}({{0}}, {{1}})")
    # clamp keeps whole numbers whole; beside a number a map is f32
    x = "{0} * 1.0" if inputs[0].dtype in _WHOLE else "{0}"
    return Layer(f"torch.clamp({x}{{args}})", (Arg(float(op.number), bound, origin="number"),))


@layer.register
def add(op: Add, *inputs: Feature) -> Layer:
    return _binary(op, inputs, "+")


@layer.register
def sub(op: Sub, *inputs: Feature) -> Layer:
    return _binary(op, inputs, "-")


@layer.register
def mul(op: Mul, *inputs: Feature) -> Layer:
    return _binary(op, inputs, "*")


@layer.register
def div(op: Div, *inputs: Feature) -> Layer:
    return _binary(op, inputs, "/")


@layer.register
def maximum(op: Maximum, *inputs: Feature) -> Layer:
    return _extreme(op, inputs, "maximum", "min")


@layer.register
def minimum(op: Minimum, *inputs: Feature) -> Layer:
    return _extreme(op, inputs, "minimum", "max")


@layer.register
def scale(op: Scale, x: Feature) -> Layer:
    channels = Arg(x.channels, origin=0) if op.per == "channel" else Arg(1)
    axes = Arg(x.rank - 2, "axes", 2)
    make = Make("Scale", (channels, axes), frozen=not op.train)
    return Layer("{self}({0})", make=make, helper="Scale")


@layer.register
def per_channel(op: PerChannel, x: Feature) -> Layer:
    return Layer("{0}.reshape(1, -1, 1, 1)", passes_channels=False)
