"""Modules that hold the weights of fused regions: what an emitted network is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import aspp, conv, dcnv3, upsample
from .common import activated
from .dcnv3_block import DCNv3Block as DCNv3Block
from .dense_field import dense_field as dense_field
from .frozen import Arrays, Frozen, Pair, pair, put
from .lattice_field import lattice_field as lattice_field
from .merge_blocks import MergedConvBlock as MergedConvBlock
from .preact_blocks import DenseBlock as DenseBlock
from .preact_blocks import PreConvBlock as PreConvBlock
from .window_field import window_field as window_field


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
        height, width = pair(kernel)
        shape = (out, channels // groups, height, width)
        self.weight = nn.Parameter(torch.empty(shape), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(out), requires_grad=False) if bias else None
        self.stride, self.padding, self.dilation = map(pair, (stride, padding, dilation))
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


class ASPPBlock(Frozen):
    """An atrous spatial pyramid: its branches in one launch, then the 1x1 convolution that mixes.

        mixed_act(mixed(concat([act(conv(x)) for every branch, pool_act(conv(mean(x)))])))

    The pooled branch is the same at every pixel of an image, so what it adds to the result is a
    bias of that image: it is never spread over the map.

    Args:
        channels: of the input.
        out: channels of a branch.
        mixed: channels of the result.
        rates: of the branches; 0 has a 1x1 kernel, any other one of 3x3 that keeps the size.
        names: the paths of the arrays: of the concatenated maps in order, then of the last 1x1.
        pool: which of the concatenated maps is the pooled one, or None.
        pooled: its channels.
        bias: whether the convolutions have one.
        act: the activation of the branches; `pool_act` and `mixed_act` are those of the others.
    """

    packed: Tensor
    shifts: Tensor
    mixing: Tensor
    mixing_packed: Tensor
    mixing_pooled: Tensor

    def __init__(
        self, channels: int, out: int, mixed: int, rates: tuple[int, ...], names: tuple[str, ...],
        pool: int | None = None, pooled: int | None = None, bias: bool = True, act: str = "relu",
        pool_act: str = "relu", mixed_act: str = "relu",
    ) -> None:  # fmt: skip
        super().__init__()
        shapes = [(out, channels, *([3, 3] if rate else [1, 1])) for rate in rates]
        extra = 0 if pooled is None else pooled
        if pool is not None:
            shapes.insert(pool, (extra, channels, 1, 1))
        shapes.append((mixed, out * len(rates) + extra, 1, 1))
        for name, shape in zip(names, shapes, strict=True):
            put(self, name, Arrays(shape, bias))
        self.rates, self.names, self.pool, self.extra = list(rates), names, pool, extra
        self.act, self.pool_act, self.mixed_act = act, pool_act, mixed_act
        self.training = False
        for buffer in ("packed", "shifts", "mixing", "mixing_packed", "mixing_pooled"):
            self.register_buffer(buffer, torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(_repack_pyramid)

    def arrays(self) -> tuple[list[Arrays], Arrays | None, Arrays]:
        """The weights of the branches, of the pooled branch and of the last convolution."""
        *found, mixed = (self.get_submodule(name) for name in self.names)
        pool = None if self.pool is None else found.pop(self.pool)
        return found, pool, mixed  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, K, H, W]."""
        x = x.contiguous(memory_format=torch.channels_last)
        branches, pool, mixed = self.arrays()
        weights = [branch.weight for branch in branches]
        y = aspp.aspp_branches(x, weights, self.packed, self.shifts, self.rates, self.act, 0.0)
        image = None
        if pool is not None:
            mean = torch.nn.functional.linear(x.mean((2, 3)), pool.weight.flatten(1), pool.bias)
            image = activated(mean, self.pool_act, 0.0) @ self.mixing_pooled
        done: Tensor = conv.conv_block(
            y, self.mixing, self.mixing_packed, mixed.bias, None, [1, 1], [0, 0], [1, 1],
            self.mixed_act, "none", 0.0, image,
        )  # fmt: skip
        return done


def _repack_pyramid(module: ASPPBlock, _: Any) -> None:
    """The packed copies follow the weights; the columns of the pooled branch stand apart."""
    with torch.no_grad():
        branches, _pool, mixed = module.arrays()
        for branch in branches:
            branch.weight.data = branch.weight.contiguous(memory_format=torch.channels_last)
        weights: list[Tensor] = [branch.weight for branch in branches]
        module.packed = aspp.pack(weights)
        none = weights[0].new_zeros(len(weights[0]))
        module.shifts = torch.cat([none if b.bias is None else b.bias for b in branches])
        before = 0 if module.pool is None else module.pool * len(weights[0])
        sizes = [before, module.extra, mixed.weight.shape[1] - before - module.extra]
        first, pooled, rest = mixed.weight.split(sizes, 1)
        mixing = torch.cat([first, rest], 1)
        module.mixing = mixing.contiguous(memory_format=torch.channels_last)
        module.mixing_packed = conv.pack(mixing)
        module.mixing_pooled = pooled.flatten(1).t().contiguous()


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


def deformable_sampling(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    groups: int,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    offset_scale: float = 1.0,
    softmax: bool = True,
    remove_center: bool = False,
    offset_limit: float | None = None,
) -> Tensor:
    """The sampling of DCNv3: offsets [N, G*T*2, P, Q] and masks [N, G*T, P, Q] to [N, C, P, Q]."""
    maps = [map_.contiguous(memory_format=torch.channels_last) for map_ in (x, offset, mask)]
    sampled: Tensor = dcnv3.dcnv3(
        *maps, groups, list(kernel), list(stride), list(padding), list(dilation),
        offset_scale, softmax, remove_center, offset_limit,
    )  # fmt: skip
    return sampled
