"""Functions of one value, or along one axis, in torch."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, Make, layer
from segdsl.ops import activation as ops
from segdsl.ops.operands import axis_index
from segdsl.types import Feature


def _function(call: str, module: str) -> Layer:
    return Layer(call, module=Make(module))


@layer.register
def relu(op: ops.Relu, x: Feature) -> Layer:
    return _function("F.relu({0})", "nn.ReLU")


@layer.register
def relu6(op: ops.Relu6, x: Feature) -> Layer:
    return _function("F.relu6({0})", "nn.ReLU6")


@layer.register
def leaky_relu(op: ops.LeakyRelu, x: Feature) -> Layer:
    slope = Arg(float(op.slope), origin="slope")
    return Layer("F.leaky_relu({0}{args})", (slope,), module=Make("nn.LeakyReLU", (slope,)))


@layer.register
def gelu(op: ops.Gelu, x: Feature) -> Layer:
    if op.approx is None:
        return _function("F.gelu({0})", "nn.GELU")
    approximate = Arg(op.approx, "approximate")
    return Layer("F.gelu({0}{args})", (approximate,), module=Make("nn.GELU", (approximate,)))


@layer.register
def silu(op: ops.Silu, x: Feature) -> Layer:
    return _function("F.silu({0})", "nn.SiLU")


@layer.register
def hard_swish(op: ops.HardSwish, x: Feature) -> Layer:
    return _function("F.hardswish({0})", "nn.Hardswish")


@layer.register
def hard_sigmoid(op: ops.HardSigmoid, x: Feature) -> Layer:
    return _function("F.hardsigmoid({0})", "nn.Hardsigmoid")


@layer.register
def sigmoid(op: ops.Sigmoid, x: Feature) -> Layer:
    return _function("torch.sigmoid({0})", "nn.Sigmoid")


@layer.register
def tanh(op: ops.Tanh, x: Feature) -> Layer:
    return _function("torch.tanh({0})", "nn.Tanh")


@layer.register
def exp(op: ops.Exp, x: Feature) -> Layer:
    return Layer("torch.exp({0})")


@layer.register
def identity(op: ops.Identity, x: Feature) -> Layer:
    return Layer("{0}", module=Make("nn.Identity"))


@layer.register
def softmax(op: ops.Softmax, x: Feature) -> Layer:
    if op.axis == "space":
        return Layer("{0}.flatten(2).softmax(2).reshape({0}.shape)")
    return Layer("F.softmax({0}{args})", (Arg(axis_index(op.axis, x.rank), "dim"),))


@layer.register
def log_softmax(op: ops.LogSoftmax, x: Feature) -> Layer:
    return Layer("F.log_softmax({0}{args})", (Arg(axis_index(op.axis, x.rank), "dim"),))


@layer.register
def argmax(op: ops.Argmax, x: Feature) -> Layer:
    axis = Arg(axis_index(op.axis, x.rank), "dim")
    return Layer("torch.argmax({0}{args}, keepdim=True)", (axis,), passes_channels=False)
