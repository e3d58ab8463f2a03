"""Operators that draw random numbers in training and pass the map through otherwise."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import float_map, network_float
from segdsl.types import POINTWISE, Axis, Feature, Window


def _check_probability(p: float) -> None:
    if not 0 <= p < 1:
        raise RuleError(f"`p` must be at least 0 and below 1, got {p}", code="E2005", blame="p")


@operator
@dataclass(frozen=True)
class Dropout(Op):
    """Zeroes values at random in training and scales the rest by 1/(1 - p): `x -> dropout(0.5)`.

    Attributes:
        p: the share of values that become zero.
        channels: whether whole channels of a map go together (Dropout2d).
    """

    name: ClassVar[str] = "dropout"
    random: ClassVar[bool] = True

    p: float
    _: KW_ONLY
    channels: bool = False

    def __post_init__(self) -> None:
        _check_probability(self.p)

    def infer(self, *inputs: Feature) -> Feature:
        return float_map(inputs[0]) if self.channels else network_float(inputs[0])

    def window(self, axis: Axis) -> Window:
        return POINTWISE


@operator
@dataclass(frozen=True)
class DropPath(Op):
    """Stochastic depth: zeroes the whole map of an image at random: `x + drop_path(y, 0.2)`.

    In training only; what stays is scaled by 1/(1 - p) (Huang et al. 2016; as torchvision's "row").

    Attributes:
        p: the share of images whose map becomes zero.
    """

    name: ClassVar[str] = "drop_path"
    random: ClassVar[bool] = True

    p: float

    def __post_init__(self) -> None:
        _check_probability(self.p)

    def infer(self, *inputs: Feature) -> Feature:
        return network_float(inputs[0])

    def window(self, axis: Axis) -> Window:
        return POINTWISE
