"""Convolutions and linear layers: everything that multiplies by a learned matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import count, float_channels, float_map, split_channels
from segdsl.ops.window import (
    MAX_CHANNELS,
    NO_PAD,
    UNIT,
    check_range,
    check_window,
    fits,
    out_size,
    sides_of,
    transposed_size,
)
from segdsl.taps import Spread, Taps
from segdsl.types import (
    POINTWISE,
    TORCH_DEFAULT,
    Axis,
    Feature,
    Initialiser,
    Padding,
    Pair,
    Param,
    Requirement,
    Sides,
    Window,
)

NO_OUTPUT_PAD = Pair(0, 0)


def _arrays(
    weight: tuple[int, ...], bias: int | None, fan_in: int, op: Conv | ConvTranspose | Linear
) -> dict[str, Param]:
    """Weight and bias of a layer; `bias` is its length, or None without one."""
    arrays = {"weight": Param(weight, op.init, trained=op.train, fan_in=fan_in)}
    if bias is not None:
        arrays["bias"] = Param((bias,), op.bias_init, trained=op.train, fan_in=fan_in)
    return arrays


@operator
@dataclass(frozen=True)
class Conv(Op):
    """A 2-D convolution: `x -> conv(64, 3, stride=2, pad=1) @conv1`.

    As torch's Conv2d. Input channels come from `x`. Weight `[out, C/groups, kh, kw]`.

    Attributes:
        out: output channels.
        kernel: rows and columns of the kernel.
        stride: input pixels between neighbouring outputs.
        pad: zeros around the map: one number, `[h, w]`, four sides, `same` or `valid`.
        dilation: input pixels between neighbouring taps (the atrous rate).
        groups: independent groups of channels.
        bias: whether a learned `[out]` is added.
        init: how the weight starts.
        bias_init: how the bias starts.
        train: false freezes the arrays; they still count as parameters.
    """

    name: ClassVar[str] = "conv"

    out: int
    kernel: Pair
    _: KW_ONLY
    stride: Pair = UNIT
    pad: Padding = NO_PAD
    dilation: Pair = UNIT
    groups: int = 1
    bias: bool = True
    init: Initialiser = TORCH_DEFAULT
    bias_init: Initialiser = TORCH_DEFAULT
    train: bool = True

    def __post_init__(self) -> None:
        check_range("out", self.out, 1, MAX_CHANNELS)
        check_range("groups", self.groups, 1, MAX_CHANNELS)
        check_window(self.kernel, self.stride, self.dilation, self.pad)
        sides_of(self.pad, self.kernel, self.dilation)
        split_channels(self.out, self.groups)

    @property
    def sides(self) -> Sides:
        """The padding in numbers."""
        return sides_of(self.pad, self.kernel, self.dilation)

    def window(self, axis: Axis) -> Window:
        before, after = self.sides.along(axis)
        return Window(self.kernel[axis], self.stride[axis], before, after, self.dilation[axis])

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        split_channels(x.channels, self.groups)
        height, width = (out_size(x.spatial(axis), self.window(axis)) for axis in (0, 1))
        return x.with_channels(self.out).with_spatial(height, width)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        (x,) = inputs
        return [fits(x.spatial(axis), self.window(axis), axis) for axis in (0, 1)]

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        group = inputs[0].channels // self.groups
        fan_in = group * self.kernel.height * self.kernel.width
        shape = (self.out, group, *self.kernel)
        return _arrays(shape, self.out if self.bias else None, fan_in, self)

    def macs(self, *inputs: Feature) -> int:
        group = inputs[0].channels // self.groups
        return count((*self.infer(*inputs).shape, group, *self.kernel))


@operator
@dataclass(frozen=True)
class ConvTranspose(Op):
    """A 2-D transposed convolution: `x -> conv_transpose(21, 4, stride=2, bias=false) @up`.

    As torch's ConvTranspose2d, but `pad` may differ by side: it cuts pixels off the result there.
    Size `(n - 1)*stride - before - after + dilation*(kernel - 1) + output_pad + 1`.
    Weight `[C, out/groups, kh, kw]`.

    Attributes:
        out: output channels.
        kernel: rows and columns of the kernel.
        stride: output pixels between neighbouring inputs.
        pad: pixels cut off the result: one number, `[h, w]`, four sides, `same` or `valid`.
        output_pad: pixels added at the bottom and right; below the larger of stride and dilation.
        dilation: output pixels between neighbouring taps.
        groups: independent groups of channels.
        bias: whether a learned `[out]` is added.
        init: how the weight starts.
        bias_init: how the bias starts.
        train: false freezes the arrays; they still count as parameters.
    """

    name: ClassVar[str] = "conv_transpose"

    out: int
    kernel: Pair
    _: KW_ONLY
    stride: Pair = UNIT
    pad: Padding = NO_PAD
    output_pad: Pair = NO_OUTPUT_PAD
    dilation: Pair = UNIT
    groups: int = 1
    bias: bool = True
    init: Initialiser = TORCH_DEFAULT
    bias_init: Initialiser = TORCH_DEFAULT
    train: bool = True

    def __post_init__(self) -> None:
        check_range("out", self.out, 1, MAX_CHANNELS)
        check_range("groups", self.groups, 1, MAX_CHANNELS)
        check_window(self.kernel, self.stride, self.dilation, self.pad)
        sides_of(self.pad, self.kernel, self.dilation)
        split_channels(self.out, self.groups)
        check_range("output_pad", min(self.output_pad), 0, None)
        for extra, stride, dilation in zip(
            self.output_pad, self.stride, self.dilation, strict=True
        ):
            if extra >= max(stride, dilation):
                raise RuleError(
                    f"`output_pad` must be below the larger of stride and dilation, "
                    f"{max(stride, dilation)}, got {extra}",
                    code="E2005",
                    blame="output_pad",
                )

    @property
    def sides(self) -> Sides:
        """The pixels cut off, in numbers."""
        return sides_of(self.pad, self.kernel, self.dilation)

    def transposed_window(self, axis: Axis) -> Window:
        """The window that slides over the *result*, one position per input pixel."""
        before, after = self.sides.along(axis)
        return Window(self.kernel[axis], self.stride[axis], before, after, self.dilation[axis])

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return Spread(window=self.transposed_window(axis))

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        split_channels(x.channels, self.groups)
        height, width = (
            transposed_size(x.spatial(axis), self.transposed_window(axis), self.output_pad[axis])
            for axis in (0, 1)
        )
        return x.with_channels(self.out).with_spatial(height, width)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        out = self.infer(*inputs)
        for axis, name in ((0, "rows"), (1, "columns")):
            size = out.shape[2 + axis]
            message = f"`pad` leaves no {name}: the result would have {size}"
            yield Requirement("at_least", size, 1, "E3006", message, ("pad",))

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        # torch takes the fan-in from axis 1 of any weight, which holds the *output* channels here.
        group = self.out // self.groups
        fan_in = group * self.kernel.height * self.kernel.width
        shape = (inputs[0].channels, group, *self.kernel)
        return _arrays(shape, self.out if self.bias else None, fan_in, self)

    def macs(self, *inputs: Feature) -> int:
        """One per *input* position, kernel pixel and pair of channels in a group."""
        return count((*inputs[0].shape, self.out // self.groups, *self.kernel))


@operator
@dataclass(frozen=True)
class Linear(Op):
    """A linear layer on the channel axis: `x -> linear(4096) @fc6`.

    Works on `[N, C]` and, at each position alike, on `[N, C, L]` and `[N, C, h, w]`.
    Weight `[out, C]`, as torch's Linear.

    Attributes:
        out: output channels.
        bias: whether a learned `[out]` is added.
        init: how the weight starts.
        bias_init: how the bias starts.
        train: false freezes the arrays; they still count as parameters.
    """

    name: ClassVar[str] = "linear"

    out: int
    _: KW_ONLY
    bias: bool = True
    init: Initialiser = TORCH_DEFAULT
    bias_init: Initialiser = TORCH_DEFAULT
    train: bool = True

    def __post_init__(self) -> None:
        check_range("out", self.out, 1, MAX_CHANNELS)

    def window(self, axis: Axis) -> Window:
        return POINTWISE

    def infer(self, *inputs: Feature) -> Feature:
        return float_channels(inputs[0]).with_channels(self.out)

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        channels = inputs[0].channels
        return _arrays((self.out, channels), self.out if self.bias else None, channels, self)

    def macs(self, *inputs: Feature) -> int:
        return count((*inputs[0].shape, self.out))
