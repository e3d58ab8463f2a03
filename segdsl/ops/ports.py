"""The borders of a graph: inputs, outputs and bare learned arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from segdsl.ops.base import Op, operator
from segdsl.symbolic import Size
from segdsl.types import POINTWISE, ZEROS, Axis, DType, Feature, Initialiser, Param, Window

Comparison = Literal["==", "!=", "<=", ">=", "<", ">"]


@dataclass(frozen=True)
class SizeCondition:
    """A `where` on an input size: `left relation right`, as `H - 16*(H//16) == 0`.

    `message` is the author's.
    """

    left: Size
    relation: Comparison
    right: Size
    message: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"


@operator
@dataclass(frozen=True)
class Input(Op):
    """A network input: `input image: f32[N, 3, H, W] where H % 32 == 0`.

    Attributes:
        shape: its sizes; symbols are free.
        dtype: its element type.
        where: the author's conditions on its sizes.
    """

    name: ClassVar[str] = "input"
    operands: ClassVar[tuple[str, ...]] = ()
    internal: ClassVar[bool] = True

    shape: tuple[Size, ...]
    dtype: DType = "f32"
    where: tuple[SizeCondition, ...] = ()

    def infer(self, *inputs: Feature) -> Feature:
        return Feature(self.shape, self.dtype)

    def window(self, axis: Axis) -> Window:
        return POINTWISE


@operator
@dataclass(frozen=True)
class Output(Op):
    """A network output: `output mask = x`; `train` ones are computed only in training mode.

    Attributes:
        label: the name of the output.
        train: whether it exists only in training.
    """

    name: ClassVar[str] = "output"
    internal: ClassVar[bool] = True

    label: str
    train: bool = False

    def infer(self, *inputs: Feature) -> Feature:
        return inputs[0]

    def window(self, axis: Axis) -> Window:
        return POINTWISE


@operator
@dataclass(frozen=True)
class Weight(Op):
    """A bare learned array: `weight gamma: [C] = constant(1e-5)`.

    The node's path names the tensor itself.

    Attributes:
        shape: its sizes.
        init: how it starts.
        train: false freezes it.
    """

    name: ClassVar[str] = "weight"
    operands: ClassVar[tuple[str, ...]] = ()
    internal: ClassVar[bool] = True

    shape: tuple[int, ...]
    init: Initialiser = ZEROS
    train: bool = True

    def infer(self, *inputs: Feature) -> Feature:
        return Feature(self.shape)

    def window(self, axis: Axis) -> Window:
        return POINTWISE

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        return {"": Param(self.shape, self.init, trained=self.train)}
