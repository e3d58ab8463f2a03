"""What turns a picture into the network's input, as nodes of the file itself.

`(x - mean) / std` by channel, on values from 0 to 1; bytes from 0 to 255 first become such values.
Where the first operator is a convolution without padding its arrays do that work, and nothing else
changes; with padding they must not, since a border of zeros comes after normalisation.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compiler.to_onnx.values import TYPES, Values
from compiler.weights.folding import node_array
from compiler.weights.table import Array
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph, Node, Value
from segdsl.ops.conv import Conv
from segdsl.ops.ports import Input
from segdsl.types import Feature

Pixels = Literal["float", "uint8", "uint8-nhwc"]
"""What a file is given: f32 from 0 to 1 in NCHW, or bytes in NCHW or NHWC."""

PIXELS: tuple[Pixels, ...] = ("float", "uint8", "uint8-nhwc")
BYTE = 255.0
Wide = NDArray[np.float64]

_TAG = re.compile(r"@(mean|std)\s+(.+)")


@dataclass(frozen=True)
class Preprocessing:
    """What the file does to its input; one number of mean and std is for all channels."""

    pixels: Pixels = "float"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return self.pixels == "float" and set(self.mean) == {0.0} and set(self.std) == {1.0}

    def by_channel(self, channels: int) -> tuple[Wide, Wide]:
        """What is subtracted and what divides, on the values that the file is given.

        Raises:
            SegError: E6005 a number is not finite, a std not above 0, or not one per channel.
        """
        unit = 1.0 if self.pixels == "float" else BYTE
        mean, std = (
            _per_channel(name, numbers, channels) * unit
            for name, numbers in (("mean", self.mean), ("std", self.std))
        )
        return mean, std


def _per_channel(name: str, numbers: Sequence[float], channels: int) -> Wide:
    for number in numbers:
        with np.errstate(over="ignore"):
            single = np.float32(number)
        if not math.isfinite(single):
            raise unfit(f"a {name} must be a finite number, got {number}")
        if name == "std" and single <= 0:
            raise unfit(f"a std must be above 0, got {number:g}")
    if len(numbers) not in (1, channels):
        message = f"{len(numbers)} numbers of {name} for {channels} channels"
        raise unfit(message, "give one, or one for each channel")
    return np.broadcast_to(np.array(numbers, np.float64), (channels,))


def unfit(message: str, *helps: str) -> SegError:
    """The error for a wish about inputs or outputs that the network cannot have (E6005)."""
    return SegError(Diagnostic("E6005", message, None, helps=text_helps(*helps)))


def stated(graph: Graph) -> dict[str, tuple[float, ...]]:
    """The numbers that the program's own `## @mean` and `## @std` give.

    Raises:
        SegError: E6005 they are no numbers with commas between.
    """
    found: dict[str, tuple[float, ...]] = {}
    for line in graph.doc:
        match = _TAG.fullmatch(line.strip())
        if match is not None:
            found[match[1]] = _numbers(match[1], match[2])
    return found


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        message = f"the program's `@{name} {text}` is not a list of numbers"
        raise unfit(message, f"write it as `## @{name} 0.485, 0.456, 0.406`") from None


def wished(
    graph: Graph,
    pixels: Pixels,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Preprocessing:
    """What the file is to do: the given numbers, or with bytes those that the program states.

    Raises:
        ValueError: there is no such kind of pixels.
        SegError: E6005 the program states no numbers.
    """
    if pixels not in PIXELS:
        raise ValueError(f"pixels are one of {', '.join(PIXELS)}, not {pixels!r}")
    if mean is None and std is None and pixels != "float":
        numbers = stated(graph)
        mean, std = numbers.get("mean"), numbers.get("std")
    return Preprocessing(
        pixels, (0.0,) if mean is None else tuple(mean), (1.0,) if std is None else tuple(std)
    )


def check(graph: Graph, wish: Preprocessing) -> str:
    """The input that takes the picture.

    Raises:
        SegError: E6005 there is not exactly one, or it takes no f32 map, or the numbers do not fit.
    """
    if len(graph.inputs) != 1:
        names = " and ".join(f"`{name}`" for name in graph.inputs)
        message = f"preprocessing is for one picture; `{graph.name}` has the inputs {names}"
        raise unfit(message, "prepare the inputs outside of the file")
    (name,) = graph.inputs
    op = graph[name].op
    assert isinstance(op, Input)
    feature = Feature(op.shape, op.dtype)
    if feature.rank != 4 or feature.dtype != "f32":
        message = f"preprocessing gives f32 pictures; `{name}` is {feature.dtype}{feature}"
        raise unfit(message, "leave out `--preprocess`, `--mean` and `--std`")
    wish.by_channel(feature.channels)
    return name


@dataclass(frozen=True)
class WorkedIn:
    """A first convolution whose arrays do the normalisation.

    Attributes:
        node: its name.
        bias: whether it had one before.
        mean: what was to be subtracted, by input channel.
        std: what was to divide.
    """

    node: str
    bias: bool
    mean: Wide
    std: Wide

    def array(self, node: Node, tensor: str, weights: Mapping[str, Array]) -> Array:
        """An array of the convolution: w/std, and bias - sum(w*mean/std), in float64."""
        op = node.op
        assert isinstance(op, Conv)
        weight = node_array(node, "weight", weights)
        wide = weight.astype(np.float64) / _by_output(self.std, op)
        if tensor == "weight":
            return wide.astype(weight.dtype)
        own = node_array(node, "bias", weights).astype(np.float64) if self.bias else 0.0
        shift = (wide * _by_output(self.mean, op)).sum((1, 2, 3))
        result: Array = (own - shift).astype(weight.dtype)
        return result


def _by_output(numbers: Wide, op: Conv) -> Wide:
    """Numbers of input channels as `[out, in/groups, 1, 1]`: those that each output reads."""
    grouped = numbers.reshape(op.groups, -1)
    return np.repeat(grouped, op.out // op.groups, axis=0)[:, :, None, None]


def worked_in(graph: Graph, name: str, wish: Preprocessing) -> WorkedIn | None:
    """How the first convolution can do it; None where it cannot, or others read the picture."""
    users = [node for node in graph.nodes() if Value(name) in graph.operands(node.name)]
    if len(users) != 1 or not isinstance(users[0].op, Conv):
        return None
    (conv,) = users
    owners = Counter(node.path for node in graph.nodes())
    assert isinstance(conv.op, Conv)
    if any(conv.op.sides) or owners[conv.path] > 1:
        return None
    (operand,) = graph.operands(conv.name)
    op = graph[operand.node].op
    assert isinstance(op, Input)
    mean, std = wish.by_channel(Feature(op.shape, op.dtype).channels)
    return WorkedIn(conv.name, conv.op.bias, mean, std)


def prepared(
    values: Values, feature: Feature, stem: str, wish: Preprocessing, *, normalise: bool
) -> tuple[ir.Value, ir.Value]:
    """The file's input, and the map of type `feature` that the network reads."""
    outer, x = _as_map(values, feature, stem, wish.pixels)
    if normalise and (not wish.idle or len(wish.mean + wish.std) > 2):
        mean, std = wish.by_channel(feature.channels)
        for kind, numbers, idle in (("Sub", mean, 0.0), ("Div", std, 1.0)):
            if (numbers != idle).any():
                column = values.constant(numbers.astype(np.float32).reshape(-1, 1, 1))
                (x,) = values.add(kind, [x, column], [feature], stem, {})
    return outer, x


def _as_map(
    values: Values, feature: Feature, stem: str, pixels: Pixels
) -> tuple[ir.Value, ir.Value]:
    """Bytes become f32 before anything else: some runtimes take them in a Cast only."""
    if pixels == "float":
        outer = values.value(feature.shape, feature.dtype, stem)
        return outer, outer
    n, channels, height, width = feature.shape
    last = pixels == "uint8-nhwc"
    shape = (n, height, width, channels) if last else feature.shape
    outer = values.value(shape, "u8", stem)
    (x,) = values.add("Cast", [outer], [Feature(shape)], stem, {"to": TYPES["f32"]})
    if last:
        (x,) = values.add("Transpose", [x], [feature], stem, {"perm": [0, 3, 1, 2]})
    return outer, x
