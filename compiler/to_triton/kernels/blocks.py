"""Modules that hold the weights of fused regions: what an emitted network is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import conv, upsample
from .common import activated

Pair = int | tuple[int, int]


def _pair(value: Pair) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


class Frozen(nn.Module):
    """A module for inference: its weights take no gradient and it has no training mode."""

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode.

        Raises:
            RuntimeError: `mode` is true.
        """
        if mode:
            raise RuntimeError(
                "a network of the triton target is for inference: train the torch target, which "
                "has the same parameter names before batch norms are folded"
            )
        return super().train(False)


class ConvBlock(Frozen):
    """`after(act(conv(x) + bias) + residual)` in one launch, channels last.

    Args:
        channels: of the input.
        out: channels of the result.
        kernel: its height and width; likewise `stride`, `padding`, `dilation`.
        groups: with more than one the library convolves, and the epilogue is plain torch.
        bias: whether there is one.
        act: the activation behind the bias, by its name in torch.nn.functional.
        after: the one behind the residual.
        slope: of leaky_relu, the alpha of elu.
    """

    packed: Tensor

    def __init__(
        self, channels: int, out: int, kernel: Pair, stride: Pair = 1, padding: Pair = 0,
        dilation: Pair = 1, groups: int = 1, bias: bool = True, act: str = "none",
        after: str = "none", slope: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        height, width = _pair(kernel)
        shape = (out, channels // groups, height, width)
        self.weight = nn.Parameter(torch.empty(shape), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(out), requires_grad=False) if bias else None
        self.stride, self.padding, self.dilation = map(_pair, (stride, padding, dilation))
        self.groups, self.act, self.after, self.slope = groups, act, after, slope
        self.training = False
        self.register_buffer("packed", torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(_repack)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """[N, C, H, W] and, if there is a residual, [N, K, P, Q], to [N, K, P, Q]."""
        rest = (self.stride, self.padding, self.dilation)
        if self.groups > 1:
            y = torch.nn.functional.conv2d(x, self.weight, self.bias, *rest, self.groups)
            y = activated(y, self.act, self.slope)
            y = y if residual is None else y + residual
            return activated(y, self.after, self.slope)
        x = x.contiguous(memory_format=torch.channels_last)
        if residual is not None:
            residual = residual.contiguous(memory_format=torch.channels_last)
        done: Tensor = conv.conv_block(
            x,
            self.weight,
            self.packed,
            self.bias,
            residual,
            *rest,
            self.act,
            self.after,
            self.slope,
        )
        return done


def _repack(module: ConvBlock, _: Any) -> None:
    """The packed copy follows the weights, which then lie as the library likes them."""
    with torch.no_grad():
        module.weight.data = module.weight.contiguous(memory_format=torch.channels_last)
        grouped = module.groups > 1
        module.packed = module.weight.new_empty(0) if grouped else conv.pack(module.weight)


def upsample_labels(
    x: Tensor, size: tuple[int, int] | list[int] | torch.Size, align_corners: bool = False
) -> Tensor:
    """Scores [N, C, h, w] to the class of every pixel of the enlarged map, [N, 1, H, W], int64."""
    x = x.contiguous(memory_format=torch.channels_last)
    labels: Tensor = upsample.upsample_argmax(x, list(size), align_corners, False)
    return labels.unsqueeze(1)


def enlarged_labels(x: Tensor, factors: tuple[int, int], align_corners: bool = False) -> Tensor:
    """The same, by whole factors for height and width."""
    size = [x.shape[2] * factors[0], x.shape[3] * factors[1]]
    return upsample_labels(x, size, align_corners)
