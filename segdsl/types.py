"""The words in which operators state their meaning: features, windows, parameters, conditions."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

from segdsl.symbolic import Size

Axis = Literal[0, 1]
"""A spatial axis: 0 is height, 1 is width."""

HEIGHT: Axis = 0
WIDTH: Axis = 1

DType = Literal["f16", "bf16", "f32", "f64", "u8", "i64", "bool"]
"""Element types; `f32` is a network's float type."""


class Pair(NamedTuple):
    """One whole number per spatial axis. In the language: `3`, or `[3, 5]`."""

    height: int
    width: int


class Sides(NamedTuple):
    """Whole numbers for the four sides.

    In the language: `1`, `[h, w]` or `[top, left, bottom, right]`.
    """

    top: int
    left: int
    bottom: int
    right: int

    def along(self, axis: Axis) -> tuple[int, int]:
        """The sides before and after, along one axis."""
        return (self.top, self.bottom) if axis == 0 else (self.left, self.right)


Padding = Sides | Literal["same", "valid"]
"""Padding of a window: numbers.

`same` (dilation * (kernel - 1) / 2 on both sides) or `valid` (none).
"""


@dataclass(frozen=True, slots=True)
class Feature:
    """What flows on an edge: a shape and an element type.

    Maps have rank 4: `[N, C, h, w]`. Rank 2 and 3 exist after `flatten` and `reshape`, rank 1 for
    learned arrays.
    """

    shape: tuple[Size, ...]
    dtype: DType = "f32"

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def batch(self) -> Size:
        """Images in the batch (axis 0)."""
        return self.shape[0]

    @property
    def channels(self) -> int:
        """Channels of a map (axis 1).

        Raises:
            TypeError: axis 1 is not a known number (a transposed sequence, say).
        """
        count = self.shape[1]
        if not isinstance(count, int):
            raise TypeError(f"axis 1 has size {count}, which is not a number of channels")
        return count

    @property
    def height(self) -> Size:
        """Rows of a map (axis 2)."""
        return self.shape[2]

    @property
    def width(self) -> Size:
        """Columns of a map (axis 3)."""
        return self.shape[3]

    def spatial(self, axis: Axis) -> Size:
        """Height or width."""
        return self.shape[2 + axis]

    def with_channels(self, channels: int) -> Feature:
        """The same map with another number of channels."""
        return Feature((self.shape[0], channels, *self.shape[2:]), self.dtype)

    def with_spatial(self, height: Size, width: Size) -> Feature:
        """The same map at another size."""
        return Feature((*self.shape[:2], height, width), self.dtype)

    def __str__(self) -> str:
        return "[" + ", ".join(map(str, self.shape)) + "]"


@dataclass(frozen=True, slots=True)
class Slot:
    """Stands in a field for a value that comes in by an operand: the one in slot `index`."""

    index: int


@dataclass(frozen=True, slots=True)
class Initialiser:
    """How an array starts. `name` is one of `INITIALISERS`.

    `value` its argument where it takes one.
    """

    name: str
    value: float | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}({self.value!r})"


INITIALISERS: dict[str, str | None] = {
    "zeros": None,
    "ones": None,
    "constant": "v",
    "uniform": None,
    "kaiming_uniform": None,
    "kaiming_normal": None,
    "kaiming_normal_fan_out": None,
    "xavier_uniform": None,
    "trunc_normal": "std",
    "normal": "std",
    "bilinear": None,
    "identity": None,
    "eye": "v",
    "prior_bias": "p",
}
"""Initialisers of the language and the name of the number each takes (None: takes none)."""

ZEROS = Initialiser("zeros")
ONES = Initialiser("ones")
TORCH_DEFAULT = Initialiser("uniform")
"""torch's default for convolutions and linear layers: uniform in +-1/sqrt(fan_in), the bias too."""


@dataclass(frozen=True, slots=True)
class Param:
    """One array of the state_dict.

    `learned` arrays are parameters; the others are buffers (running statistics). `trained` is False
    where the author froze a parameter: it still counts as one. `fan_in` is the fan of the layer it
    belongs to, which a bias needs for torch's default.
    """

    shape: tuple[int, ...]
    init: Initialiser = TORCH_DEFAULT
    learned: bool = True
    trained: bool = True
    dtype: DType = "f32"
    fan_in: int | None = None

    @property
    def count(self) -> int:
        """Elements in the array."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window along one axis; `before` and `after` are the padding."""

    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        """Input pixels from the first to the last tap: dilation * (kernel - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1


POINTWISE = Window(1)
"""The window of an operator that reads one pixel per output pixel."""


@dataclass(frozen=True, slots=True)
class Everywhere:
    """The window of an operator that reads the whole axis.

    Global pooling, spatial softmax, attention.
    """


EVERYWHERE = Everywhere()


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition on sizes that an operator needs.

    Known ones are checked at once, the others are solved.

    `kind` is `equal` (left == right), `at_least` (left >= right) or `multiple` (left % right == 0).
    `blame` is the operand slot or attribute the message points at, `what` the noun for it
    ("height").
    """

    kind: Literal["equal", "at_least", "multiple"]
    left: Size
    right: Size
    code: str
    message: str
    blame: tuple[int | str, ...] = ()
    help: str = ""
