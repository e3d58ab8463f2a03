"""The whole layer of DCNv3: its branches, its sampling and its projections, as one module."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dcnv3 import dcnv3
from .dcnv3_sampling import Sampling
from .depthwise_norm import depthwise_norm, pack
from .frozen import Arrays, Frozen, put

ALIGNED = 8
"""Slices of the joined branches begin at a multiple of so many channels: 16 bytes in halves."""

Pair = tuple[int, int]


class DCNv3Block(Frozen):
    """DCNv3 (arXiv:2211.05778): one linear layer for offsets and masks, which nothing splits.

        f = act(norm(conv(x)));  y = out(dcnv3(value(x), offset(f), mask(f)))

    The offsets and the masks are slices of the channels of one map, and the softmax of the masks
    happens where they are read. With a centre feature the sampled values s become
    s * (1 - g) + value(x) * g, where g is the sigmoid of a linear map of f for each group.

    Args:
        channels: of the input and of the values.
        out: channels of the result.
        groups: of channels, each with offsets and a mask of its own.
        names: the paths of the arrays: of the depthwise convolution, the norm, offset, mask, value
            and out; with a centre feature also of its weight and its bias.
        kernel: rows and columns of points; likewise padding (top and left) and dilation.
        stride: of the points, and of the depthwise convolution.
        dw_kernel: of the depthwise convolution; likewise `dw_padding`.
        eps: of the norm.
        act: the activation behind it.
        offset_scale: multiplies the distances between the points, and the offsets.
        softmax: whether the mask of a group goes through a softmax over its points.
        remove_center: whether the point in the middle is left out.
        offset_limit: the most that a point is moved by along an axis, in pixels; None: any.
    """

    taps: Tensor
    joined: Tensor
    joined_bias: Tensor

    def __init__(
        self, channels: int, out: int, groups: int, names: tuple[str, ...],
        kernel: Pair = (3, 3), stride: Pair = (1, 1), padding: Pair = (1, 1),
        dilation: Pair = (1, 1), dw_kernel: Pair = (3, 3), dw_padding: Pair = (1, 1),
        eps: float = 1e-6, act: str = "gelu", offset_scale: float = 1.0, softmax: bool = True,
        remove_center: bool = False, offset_limit: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.how = Sampling(
            groups, list(kernel), list(stride), list(padding), list(dilation), offset_scale,
            softmax, remove_center, offset_limit,
        )  # fmt: skip
        points = groups * self.how.points
        shapes: list[tuple[int, ...]] = [
            (channels, 1, *dw_kernel), (channels,), (2 * points, channels), (points, channels),
            (channels, channels), (out, channels),
        ]  # fmt: skip
        for name, shape in zip(names, shapes, strict=False):
            put(self, name, Arrays(shape, True))
        for name, size in zip(names[len(shapes) :], [(groups, channels), (groups,)], strict=False):
            put(self, name, nn.Parameter(torch.empty(size), requires_grad=False))
        self.names, self.dw_padding = names, list(dw_padding)
        self.eps, self.act = eps, act
        self.training = False
        for buffer in ("taps", "joined", "joined_bias"):
            self.register_buffer(buffer, torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(_rejoin)

    def arrays(self) -> list[Arrays]:
        """The weights of the depthwise convolution, the norm, offset, mask, value and out."""
        return [self.get_submodule(name) for name in self.names[:6]]  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, K, P, Q]."""
        x = x.contiguous(memory_format=torch.channels_last)
        values, out = self.arrays()[4:]
        found = self._branch(x)
        both = _map(F.linear(found, self.joined, self.joined_bias))
        v = _map(F.linear(_pixels(x), values.weight, values.bias))
        points = self.how.groups * self.how.points
        moved, mask = both[:, : 2 * points], both[:, _aligned(2 * points) :][:, :points]
        how = self.how
        s: Tensor = dcnv3(
            v, moved, mask, how.groups, how.kernel, how.stride, how.padding, how.dilation,
            how.offset_scale, how.softmax, how.remove_center, how.offset_limit,
        )  # fmt: skip
        y = _pixels(s)
        if len(self.names) > 6:
            y = self._blended(y, _pixels(v), found)
        return _map(F.linear(y, out.weight, out.bias))

    def _branch(self, x: Tensor) -> Tensor:
        """What offsets and masks are computed from, [N, P, Q, C]."""
        conv, norm = self.arrays()[:2]
        found: Tensor = depthwise_norm(
            x, conv.weight, self.taps, conv.bias, norm.weight, norm.bias, self.how.stride,
            self.dw_padding, self.eps, self.act,
        )  # fmt: skip
        return _pixels(found)

    def _blended(self, y: Tensor, v: Tensor, found: Tensor) -> Tensor:
        """The blend with the centre feature, [N, P, Q, C]."""
        weight, bias = (self.get_parameter(name) for name in self.names[6:])
        share = torch.sigmoid(F.linear(found, weight, bias)).unsqueeze(-1)
        grouped = (*y.shape[:3], self.how.groups, -1)
        mixed: Tensor = y.reshape(grouped) * (1 - share) + v.reshape(grouped) * share
        return mixed.flatten(3)


def _aligned(channels: int) -> int:
    return -(-channels // ALIGNED) * ALIGNED


def _pixels(x: Tensor) -> Tensor:
    """[N, C, H, W] as [N, H, W, C], without a copy if the map is channels last."""
    return x.permute(0, 2, 3, 1).contiguous()


def _map(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _rejoin(module: DCNv3Block, _: Any) -> None:
    """One linear layer for both branches, with zeros between their aligned slices."""
    with torch.no_grad():
        conv, _norm, *branches = module.arrays()[:4]
        conv.weight.data = conv.weight.contiguous(memory_format=torch.channels_last)
        module.taps = pack(conv.weight)
        weights, biases = [], []
        for branch in branches:
            extra = _aligned(len(branch.weight)) - len(branch.weight)
            weights.append(F.pad(branch.weight, [0, 0, 0, extra]))
            biases.append(F.pad(branch.bias, [0, extra]))  # type: ignore[arg-type]
        module.joined, module.joined_bias = torch.cat(weights), torch.cat(biases)
