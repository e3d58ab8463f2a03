"""Arithmetic between maps, numbers and learned factors in ONNX."""

from __future__ import annotations

import onnx_ir as ir

from compiler.to_onnx.lower import emit
from compiler.to_onnx.site import Site
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


def _binary(name: str, op: Arithmetic, site: Site, inputs: tuple[ir.Value, ...]) -> ir.Value:
    """Both operands as f32; a number is a constant on its own side."""
    if op.number is None:
        return site.add(name, *inputs)
    (x,) = inputs
    if site.x.dtype != "f32":
        x = site.cast(x, site.x.shape)
    number = site.number(op.number)
    return site.add(name, number, x) if op.number_first else site.add(name, x, number)


@emit.register
def add(op: Add, site: Site, *inputs: ir.Value) -> ir.Value:
    return _binary("Add", op, site, inputs)


@emit.register
def sub(op: Sub, site: Site, *inputs: ir.Value) -> ir.Value:
    return _binary("Sub", op, site, inputs)


@emit.register
def mul(op: Mul, site: Site, *inputs: ir.Value) -> ir.Value:
    return _binary("Mul", op, site, inputs)


@emit.register
def div(op: Div, site: Site, *inputs: ir.Value) -> ir.Value:
    return _binary("Div", op, site, inputs)


@emit.register
def maximum(op: Maximum, site: Site, *inputs: ir.Value) -> ir.Value:
    return _binary("Max", op, site, inputs)


@emit.register
def minimum(op: Minimum, site: Site, *inputs: ir.Value) -> ir.Value:
    return _binary("Min", op, site, inputs)


@emit.register
def scale(op: Scale, site: Site, x: ir.Value) -> ir.Value:
    """The array gets the axes that follow the channels, so that it is stretched over them."""
    ones = (1,) * (site.x.rank - 2)
    shape = (site.x.channels, *ones) if op.per == "channel" else (1,)
    return site.add("Mul", x, site.weight("scale", shape))


@emit.register
def per_channel(op: PerChannel, site: Site, x: ir.Value) -> ir.Value:
    """A learned array is stored with its four axes; anything else is reshaped."""
    if x.const_value is not None:
        return site.values.reshaped(x, (1, *(int(str(n)) for n in site.x.shape), 1, 1))
    return site.reshape(x, site.y, 1, -1, 1, 1)
