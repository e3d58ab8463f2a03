"""Functions of one value, or along one axis, in ONNX.

What opset 18 has no operator for is written out there, as all runtimes read the parts, and is one
node where a later opset was asked for.
"""

from __future__ import annotations

from math import pi, sqrt

import onnx_ir as ir

from compiler.to_onnx.lower import emit
from compiler.to_onnx.opsets import GELU, SWISH
from compiler.to_onnx.site import Site
from segdsl.ops import activation as ops
from segdsl.ops.operands import axis_index
from segdsl.types import Feature


@emit.register
def relu(op: ops.Relu, site: Site, x: ir.Value) -> ir.Value:
    return site.add("Relu", x)


@emit.register
def relu6(op: ops.Relu6, site: Site, x: ir.Value) -> ir.Value:
    return site.add("Clip", x, site.number(0.0), site.number(6.0))


@emit.register
def leaky_relu(op: ops.LeakyRelu, site: Site, x: ir.Value) -> ir.Value:
    return site.add("LeakyRelu", x, alpha=float(op.slope))


@emit.register
def gelu(op: ops.Gelu, site: Site, x: ir.Value) -> ir.Value:
    """x/2 * (1 + erf(x/sqrt(2))), or x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))."""
    if site.pinned(GELU):
        return site.add("Gelu", x, approximate="none" if op.approx is None else "tanh")
    if op.approx is None:
        bent = site.add("Erf", site.add("Div", x, site.number(sqrt(2.0))))
    else:
        cube = site.add("Mul", site.add("Mul", x, x), x)
        inner = site.add("Add", x, site.add("Mul", cube, site.number(0.044715)))
        bent = site.add("Tanh", site.add("Mul", inner, site.number(sqrt(2.0 / pi))))
    gate = site.add("Mul", x, site.add("Add", bent, site.number(1.0)))
    return site.add("Mul", gate, site.number(0.5))


@emit.register
def silu(op: ops.Silu, site: Site, x: ir.Value) -> ir.Value:
    """Swish at opset 24 alone: ONNX Runtime 1.31 does not find it in files of opset 25."""
    if site.opset == SWISH:
        return site.add("Swish", x)
    return site.add("Mul", x, site.add("Sigmoid", x))


@emit.register
def hard_swish(op: ops.HardSwish, site: Site, x: ir.Value) -> ir.Value:
    return site.add("HardSwish", x)


@emit.register
def hard_sigmoid(op: ops.HardSigmoid, site: Site, x: ir.Value) -> ir.Value:
    """ONNX's own slope is 0.2; torch's is 1/6."""
    return site.add("HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5)


@emit.register
def sigmoid(op: ops.Sigmoid, site: Site, x: ir.Value) -> ir.Value:
    return site.add("Sigmoid", x)


@emit.register
def tanh(op: ops.Tanh, site: Site, x: ir.Value) -> ir.Value:
    return site.add("Tanh", x)


@emit.register
def exp(op: ops.Exp, site: Site, x: ir.Value) -> ir.Value:
    return site.add("Exp", x)


@emit.register
def identity(op: ops.Identity, site: Site, x: ir.Value) -> ir.Value:
    return x


@emit.register
def softmax(op: ops.Softmax, site: Site, x: ir.Value) -> ir.Value:
    """Over space the map is flattened, and given its sizes back."""
    if op.axis != "space":
        return site.add("Softmax", x, axis=axis_index(op.axis, site.x.rank))
    n, channels, height, width = site.x.shape
    flat = Feature((n, channels, height * width))
    row = site.add("Softmax", site.reshape(x, flat, 0, 0, -1), to=flat, axis=2)
    return site.add("Reshape", row, site.size_vector(site.x.shape, x, range(4)))


@emit.register
def log_softmax(op: ops.LogSoftmax, site: Site, x: ir.Value) -> ir.Value:
    return site.add("LogSoftmax", x, axis=axis_index(op.axis, site.x.rank))


@emit.register
def argmax(op: ops.Argmax, site: Site, x: ir.Value) -> ir.Value:
    return site.add("ArgMax", x, axis=axis_index(op.axis, site.x.rank), keepdims=1)
