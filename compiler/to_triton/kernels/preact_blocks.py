"""Modules of convolutions that work a batch norm into what they read, and of dense blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import dense_block, pre_conv
from .frozen import Arrays, Frozen, Pair, pair, put


class PreConvBlock(Frozen):
    """`act(conv(before(norm(x))) + bias)` in one launch, channels last.

    Args:
        channels: of the input.
        out: channels of the result.
        kernel: its height and width; likewise `stride`, `padding`, `dilation`.
        names: the paths of the arrays: of the norm, then of the convolution.
        bias: whether the convolution has one.
        eps: of the norm; `affine`: whether it has a factor and an offset.
        before: the activation behind the norm; `before_slope` is its slope.
        act: the activation behind the bias; `slope` is that of this one.
    """

    scale: Tensor
    shift: Tensor
    packed: Tensor

    def __init__(
        self, channels: int, out: int, kernel: Pair, names: tuple[str, str], stride: Pair = 1,
        padding: Pair = 0, dilation: Pair = 1, bias: bool = True, eps: float = 1e-5,
        affine: bool = True, before: str = "relu", before_slope: float = 0.01, act: str = "none",
        slope: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        put(self, names[0], nn.BatchNorm2d(channels, eps, affine=affine))
        put(self, names[1], Arrays((out, channels, *pair(kernel)), bias))
        self.names = names
        self.stride, self.padding, self.dilation = map(pair, (stride, padding, dilation))
        self.acts = (before, before_slope, act, slope)
        self.eval()
        for buffer in ("scale", "shift", "packed"):
            self.register_buffer(buffer, torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(_repack)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, K, P, Q]."""
        conv = _arrays(self, self.names[1])
        done: Tensor = pre_conv.pre_conv(
            pixels_last(x), self.scale, self.shift, conv.weight, self.packed, conv.bias,
            self.stride, self.padding, self.dilation, *self.acts,
        )  # fmt: skip
        return done


def _repack(module: PreConvBlock, _: Any) -> None:
    """The packed copies follow the arrays."""
    conv = _arrays(module, module.names[1])
    with torch.no_grad():
        conv.weight.data = conv.weight.contiguous(memory_format=torch.channels_last)
        module.scale, module.shift = factors(module, module.names[0])
        module.packed = pre_conv.pack(conv.weight, [conv.weight.shape[1]])


class DenseBlock(Frozen):
    """Layers that each see all maps before them, without a concatenation, channels last.

    Args:
        channels: of the input, over all its maps.
        widths: channels that each layer adds; likewise `kernels` and `rates`, its dilations.
        names: the paths of the arrays, layer by layer: of the norm, then of the convolution.
        keep: whether the result begins with the input.
        biases: of each convolution, whether it has one; likewise `affine` of each norm, and `eps`.
        before: the activation behind the norms; `slope` is its slope.
    """

    packed: list[Tensor]

    def __init__(
        self, channels: int, widths: tuple[int, ...], kernels: tuple[Pair, ...],
        rates: tuple[int, ...], names: tuple[str, ...], keep: bool = True,
        biases: tuple[bool, ...] = (), affine: tuple[bool, ...] = (), eps: tuple[float, ...] = (),
        before: str = "relu", slope: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        self.names = names
        self.channels, self.rates, self.keep = channels, list(rates), keep
        self.before, self.slope = before, slope
        for i, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
            own = biases[i] if biases else True
            norm = nn.BatchNorm2d(
                channels, eps[i] if eps else 1e-5, affine=affine[i] if affine else True
            )
            put(self, names[2 * i], norm)
            put(self, names[2 * i + 1], Arrays((width, channels, *pair(kernel)), own))
            channels += width
            for buffer in _BUFFERS:
                self.register_buffer(f"{buffer}{i}", torch.empty(0), persistent=False)
        self.eval()
        self.register_load_state_dict_post_hook(_repack_layers)

    def forward(self, *maps: Tensor) -> Tensor:
        """The input, [N, C, H, W], as one map or several beside each other, to [N, K, H, W]."""
        count = len(self.rates)
        weights = [_arrays(self, name).weight for name in self.names[1::2]]
        scales, shifts, biases, packed = (
            [getattr(self, f"{buffer}{i}") for i in range(count)] for buffer in _BUFFERS
        )
        done: Tensor = dense_block.dense_block(
            [pixels_last(x) for x in maps], weights, scales, shifts, biases, packed, self.rates,
            self.keep, self.before, self.slope,
        )  # fmt: skip
        return done


_BUFFERS = ("scale", "shift", "offset", "packed")


def _repack_layers(module: DenseBlock, _: Any) -> None:
    """The packed copies follow the arrays."""
    convs = [_arrays(module, name) for name in module.names[1::2]]
    with torch.no_grad():
        for conv in convs:
            conv.weight.data = conv.weight.contiguous(memory_format=torch.channels_last)
        weights: list[Tensor] = [conv.weight for conv in convs]
        packed = dense_block.pack(weights, module.channels, keep=module.keep)
        for i, (name, conv) in enumerate(zip(module.names[::2], convs, strict=True)):
            scale, shift = factors(module, name)
            none = scale.new_zeros(len(conv.weight))
            offset = none if conv.bias is None else conv.bias.detach()
            values = (scale, shift, offset, packed[i])
            for buffer, value in zip(_BUFFERS, values, strict=True):
                setattr(module, f"{buffer}{i}", value)


def _arrays(module: nn.Module, name: str) -> Arrays:
    """The arrays of a convolution below a module."""
    found = module.get_submodule(name)
    assert isinstance(found, Arrays)
    return found


def factors(module: nn.Module, name: str) -> tuple[Tensor, Tensor]:
    """A norm below a module as `x * scale + shift`; computed in float64, rounded once."""
    norm = module.get_submodule(name)
    assert isinstance(norm, nn.BatchNorm2d)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = (variance.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    shift = -mean.double() * scale
    shift = shift if norm.bias is None else shift + norm.bias.double()
    return scale.to(mean.dtype), shift.to(mean.dtype)


def pixels_last(x: Tensor) -> Tensor:
    """The map with the channels of a pixel together."""
    return x.contiguous(memory_format=torch.channels_last)
