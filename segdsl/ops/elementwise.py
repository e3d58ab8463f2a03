"""Arithmetic between maps, numbers and learned factors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from typing import ClassVar, Literal

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import (
    axis_name,
    float_channels,
    network_float,
    same_rank,
)
from segdsl.symbolic import Size
from segdsl.taps import First, Sliding, Taps
from segdsl.types import (
    POINTWISE,
    Axis,
    Feature,
    Initialiser,
    Param,
    Requirement,
    Window,
)


@dataclass(frozen=True)
class Arithmetic(Op):
    """Shared rule of `a op b`, elementwise; not an operator itself.

    Operands have equal rank; an axis of size 1 is stretched, channels only where `gates` says so.
    With `number` there is one map; the number stands on the right, or with `number_first` on the
    left. A map of whole numbers becomes f32 beside a number, as in torch.
    """

    operands: ClassVar[tuple[str, ...]] = ("a", "b")
    optional: ClassVar[int] = 1
    internal: ClassVar[bool] = True
    sign: ClassVar[str]
    gates: ClassVar[bool] = False
    """Whether one channel is stretched over many, as a spatial gate needs it."""

    _: KW_ONLY
    number: float | None = None
    number_first: bool = False

    def __post_init__(self) -> None:
        if self.number is None and self.number_first:
            message = "`number_first` needs a number"
            raise RuleError(message, code="E2017", blame="number_first")
        if self.number is not None and not isfinite(self.number):
            message = f"`{self.sign}` needs a finite number, got {self.number}"
            raise RuleError(message, code="E2005", blame="number")

    def infer(self, *inputs: Feature) -> Feature:
        if (self.number is None) != (len(inputs) == 2):
            message = f"`{self.sign}` needs two maps, or a map and a number"
            raise RuleError(message, code="E2017", blame=0)
        if self.number is not None:
            x = inputs[0]
            whole = x.dtype in ("u8", "i64", "bool")
            return Feature(x.shape, "f32") if whole else network_float(x)
        left, right = (network_float(x, slot) for slot, x in enumerate(inputs))
        same_rank((left, right))
        return Feature(tuple(self._axis_size(left, right, axis) for axis in range(left.rank)))

    def _axis_size(self, left: Feature, right: Feature, axis: int) -> Size:
        a, b = left.shape[axis], right.shape[axis]
        channels = axis == 1 and isinstance(a, int) and isinstance(b, int)
        if channels and a != b and not (self.gates and 1 in (a, b)):
            raise RuleError(
                f"`{self.sign}` needs equal channels, got {a} and {b}",
                code="E3002",
                blame=(0, 1),
                help=f"project one first: `conv({a}, 1)`",
            )
        return b if a == 1 else a

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        if len(inputs) == 1:
            return
        left, right = inputs
        for axis, (a, b) in enumerate(zip(left.shape, right.shape, strict=True)):
            if 1 not in (a, b):
                noun = axis_name(axis, left.rank)
                message = f"the two sides of `{self.sign}` differ in {noun}: {a} and {b}"
                yield Requirement("equal", a, b, "E3004", message, (0, 1))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        x = inputs[slot]
        if x.rank == 4 and x.spatial(axis) == 1 and self.infer(*inputs).spatial(axis) != 1:
            return First()
        return Sliding(window=POINTWISE)


@operator
@dataclass(frozen=True)
class Add(Arithmetic):
    """The sum: `y = a + b`, `y = x + 1.0`.

    Attributes:
        number: the number beside a single map.
        number_first: whether the number stands on the left.
    """

    name: ClassVar[str] = "add"
    sign: ClassVar[str] = "+"


@operator
@dataclass(frozen=True)
class Sub(Arithmetic):
    """The difference: `y = a - b`, `y = 1.0 - gate`.

    Attributes:
        number: the number beside a single map.
        number_first: whether the number stands on the left.
    """

    name: ClassVar[str] = "sub"
    sign: ClassVar[str] = "-"


@operator
@dataclass(frozen=True)
class Mul(Arithmetic):
    """The product: `y = x * gate`, `y = x * 0.5`. One channel is stretched over many.

    Attributes:
        number: the number beside a single map.
        number_first: whether the number stands on the left.
    """

    name: ClassVar[str] = "mul"
    sign: ClassVar[str] = "*"
    gates: ClassVar[bool] = True


@operator
@dataclass(frozen=True)
class Div(Arithmetic):
    """The quotient: `y = a / b`, `y = image / 255.0`. One channel is stretched over many.

    Attributes:
        number: the number beside a single map.
        number_first: whether the number stands on the left.
    """

    name: ClassVar[str] = "div"
    sign: ClassVar[str] = "/"
    gates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.number == 0 and not self.number_first:
            raise RuleError("a map cannot be divided by 0", code="E2005", blame="number")


@operator
@dataclass(frozen=True)
class Maximum(Arithmetic):
    """The larger of two values: `y = max([a, b])`.

    Attributes:
        number: the number beside a single map.
        number_first: whether the number stands on the left.
    """

    name: ClassVar[str] = "maximum"
    sign: ClassVar[str] = "max"


@operator
@dataclass(frozen=True)
class Minimum(Arithmetic):
    """The smaller of two values: `y = min([a, b])`.

    Attributes:
        number: the number beside a single map.
        number_first: whether the number stands on the left.
    """

    name: ClassVar[str] = "minimum"
    sign: ClassVar[str] = "min"


@operator
@dataclass(frozen=True)
class Scale(Op):
    """A learned factor: `x -> scale(init=1e-5) @gamma`, `x -> scale(per=all) @level3`.

    The tensor is called `scale`: `[C]`, or `[1]` with `per=all`.

    Attributes:
        per: `channel` for one factor per channel, `all` for a single one.
        init: how the factors start: a number or an initialiser.
        train: false freezes them; they still count as parameters.
    """

    name: ClassVar[str] = "scale"

    _: KW_ONLY
    per: Literal["channel", "all"] = "channel"
    init: float | Initialiser = 1.0
    train: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.init, float | int) and not isfinite(self.init):
            raise RuleError(f"`init` must be finite, got {self.init}", code="E2005", blame="init")

    def infer(self, *inputs: Feature) -> Feature:
        x = inputs[0]
        return float_channels(x) if self.per == "channel" else network_float(x)

    def window(self, axis: Axis) -> Window:
        return POINTWISE

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        shape = (inputs[0].channels if self.per == "channel" else 1,)
        if isinstance(self.init, Initialiser):
            return {"scale": Param(shape, self.init, trained=self.train)}
        init = Initialiser("constant", float(self.init))
        return {"scale": Param(shape, init, trained=self.train)}


@operator
@dataclass(frozen=True)
class PerChannel(Op):
    """A learned array `[C]` seen as `[1, C, 1, 1]`: `y = x * per_channel(gamma)`."""

    name: ClassVar[str] = "per_channel"

    def infer(self, *inputs: Feature) -> Feature:
        x = network_float(inputs[0])
        if x.rank != 1:
            message = f"`per_channel` needs an array [C], got {x}"
            raise RuleError(message, code="E3016", blame=0, help="`weight gamma: [C] = ones`")
        return Feature((1, x.shape[0], 1, 1))

    def window(self, axis: Axis) -> Window:
        return POINTWISE
