"""Functions of one value, or of the values along one axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from typing import ClassVar, Literal

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import any_map, axis_index, network_float
from segdsl.taps import Sliding, Taps, Whole
from segdsl.types import POINTWISE, Axis, Feature, Window

AxisName = Literal["batch", "channels", "height", "width"]


class Pointwise(Op):
    """Shared rule of functions of one value; not an operator itself."""

    def infer(self, *inputs: Feature) -> Feature:
        return network_float(inputs[0])

    def window(self, axis: Axis) -> Window:
        return POINTWISE


@operator
@dataclass(frozen=True)
class Relu(Pointwise):
    """max(x, 0): `x -> relu`."""

    name: ClassVar[str] = "relu"


@operator
@dataclass(frozen=True)
class Relu6(Pointwise):
    """min(max(x, 0), 6): `x -> relu6`."""

    name: ClassVar[str] = "relu6"


@operator
@dataclass(frozen=True)
class LeakyRelu(Pointwise):
    """x where positive, else slope * x: `x -> leaky_relu(0.2)`.

    Attributes:
        slope: the factor for negative values.
    """

    name: ClassVar[str] = "leaky_relu"

    slope: float = 0.01

    def __post_init__(self) -> None:
        if not isfinite(self.slope):
            raise RuleError(
                f"`slope` must be finite, got {self.slope}", code="E2005", blame="slope"
            )


@operator
@dataclass(frozen=True)
class Gelu(Pointwise):
    """x * Phi(x), Phi the normal distribution function: `x -> gelu`, `x -> gelu(approx=tanh)`.

    Attributes:
        approx: `tanh` for the approximation by tanh; none for the exact function.
    """

    name: ClassVar[str] = "gelu"

    _: KW_ONLY
    approx: Literal["tanh"] | None = None


@operator
@dataclass(frozen=True)
class Silu(Pointwise):
    """x * sigmoid(x), also called swish: `x -> silu`."""

    name: ClassVar[str] = "silu"


@operator
@dataclass(frozen=True)
class HardSwish(Pointwise):
    """x * hard_sigmoid(x): `x -> hard_swish`."""

    name: ClassVar[str] = "hard_swish"


@operator
@dataclass(frozen=True)
class HardSigmoid(Pointwise):
    """x/6 + 1/2, clipped to 0..1: `gate -> hard_sigmoid`."""

    name: ClassVar[str] = "hard_sigmoid"


@operator
@dataclass(frozen=True)
class Sigmoid(Pointwise):
    """1 / (1 + exp(-x)): `gate -> sigmoid`."""

    name: ClassVar[str] = "sigmoid"


@operator
@dataclass(frozen=True)
class Tanh(Pointwise):
    """The hyperbolic tangent: `x -> tanh`."""

    name: ClassVar[str] = "tanh"


@operator
@dataclass(frozen=True)
class Exp(Pointwise):
    """The exponential: `x -> exp`."""

    name: ClassVar[str] = "exp"


@operator
@dataclass(frozen=True)
class Identity(Op):
    """The map itself: `x -> identity`."""

    name: ClassVar[str] = "identity"

    def infer(self, *inputs: Feature) -> Feature:
        return inputs[0]

    def window(self, axis: Axis) -> Window:
        return POINTWISE


def _axis_taps(axis: AxisName | int, along: Axis, x: Feature) -> Taps:
    """Taps of an operator that mixes all values along one axis.

    On what is no map, spatial axes are folded into others, so every pixel counts.
    """
    if x.rank != 4:
        return Whole()
    mixes = axis_index(axis, 4) == 2 + along
    return Whole() if mixes else Sliding(window=POINTWISE)


@operator
@dataclass(frozen=True)
class Softmax(Op):
    """exp(x) / sum(exp(x)) along an axis: `scores -> softmax(channels)`.

    Attributes:
        axis: the axis by name, `space` for height and width together, or by number where `x` is
            no map.
    """

    name: ClassVar[str] = "softmax"

    axis: AxisName | Literal["space"] | int

    def infer(self, *inputs: Feature) -> Feature:
        x = network_float(inputs[0])
        if self.axis == "space":
            return any_map(x)
        axis_index(self.axis, x.rank)
        return x

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if self.axis == "space":
            return Whole()
        return _axis_taps(self.axis, axis, inputs[slot])


@operator
@dataclass(frozen=True)
class LogSoftmax(Op):
    """The logarithm of softmax along an axis: `scores -> log_softmax(channels)`.

    Attributes:
        axis: the axis by name, or by number where `x` is no map.
    """

    name: ClassVar[str] = "log_softmax"

    axis: AxisName | int

    def infer(self, *inputs: Feature) -> Feature:
        x = network_float(inputs[0])
        axis_index(self.axis, x.rank)
        return x

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return _axis_taps(self.axis, axis, inputs[slot])


@operator
@dataclass(frozen=True)
class Argmax(Op):
    """The index of the largest value along an axis: `scores -> argmax(channels)`.

    The axis stays, with size 1 (torch's `keepdim=True`), so that a map remains a map. Type i64.

    Attributes:
        axis: the axis by name, or by number where `x` is no map.
    """

    name: ClassVar[str] = "argmax"

    axis: AxisName | int

    def infer(self, *inputs: Feature) -> Feature:
        x = network_float(inputs[0])
        at = axis_index(self.axis, x.rank)
        return Feature((*x.shape[:at], 1, *x.shape[at + 1 :]), "i64")

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return _axis_taps(self.axis, axis, inputs[slot])


ACTIVATIONS: Mapping[str, type[Op]] = {
    op.name: op
    for op in (
        Relu,
        Relu6,
        LeakyRelu,
        Gelu,
        Silu,
        HardSwish,
        HardSigmoid,
        Sigmoid,
        Tanh,
        Exp,
        Identity,
    )
}
"""What `activation(name)` may name."""
