"""Convolutions and linear layers in ONNX. Pads are always four explicit numbers."""

from __future__ import annotations

import onnx_ir as ir

from compiler.to_onnx.combine import padded
from compiler.to_onnx.lower import emit
from compiler.to_onnx.site import Site
from segdsl.ops.conv import Conv, ConvTranspose, Linear


def _window(op: Conv | ConvTranspose) -> dict[str, object]:
    return {
        "kernel_shape": op.kernel,
        "strides": op.stride,
        "pads": op.sides,
        "dilations": op.dilation,
        "group": op.groups,
    }


def _arrays(op: Conv | ConvTranspose | Linear, site: Site) -> list[ir.Value]:
    return [site.weight("weight"), *([site.weight("bias")] if op.bias else [])]


@emit.register
def conv(op: Conv, site: Site, x: ir.Value) -> ir.Value:
    return site.add("Conv", x, *_arrays(op, site), given=_window(op))


@emit.register
def conv_transpose(op: ConvTranspose, site: Site, x: ir.Value) -> ir.Value:
    """Never `output_shape` or `auto_pad`: they override the pads."""
    if any(extra >= stride for extra, stride in zip(op.output_pad, op.stride, strict=True)):
        return _widened(op, site, x)
    extra = {"output_padding": op.output_pad} if any(op.output_pad) else {}
    return site.add("ConvTranspose", x, *_arrays(op, site), given=_window(op) | extra)


def _widened(op: ConvTranspose, site: Site, x: ir.Value) -> ir.Value:
    """The same without `output_padding`, which runtimes refuse from the stride on.

    It takes back what is cut off at the end; what it adds beyond that holds the bias only.
    """
    top, left, bottom, right = op.sides
    rows, columns = op.output_pad
    beyond = (0, 0, max(0, rows - bottom), max(0, columns - right))
    options = _window(op) | {"pads": (top, left, max(0, bottom - rows), max(0, right - columns))}
    size = site.y.with_spatial(site.y.height - beyond[2], site.y.width - beyond[3])
    y = site.add("ConvTranspose", x, site.weight("weight"), to=size, given=options)
    y = padded(site, y, beyond, "zeros", 0.0, site.y)
    return site.add("Add", y, site.weight("bias", (op.out, 1, 1))) if op.bias else y


@emit.register
def linear(op: Linear, site: Site, x: ir.Value) -> ir.Value:
    """A product on [N, C]; a 1x1 convolution where more axes follow the channels."""
    if site.x.rank == 2:
        return site.add("Gemm", x, *_arrays(op, site), transB=1)
    ones = (1,) * (site.x.rank - 2)
    weight = site.weight("weight", (op.out, site.x.channels, *ones))
    bias = [site.weight("bias")] if op.bias else []
    return site.add("Conv", x, weight, *bias, kernel_shape=ones)
