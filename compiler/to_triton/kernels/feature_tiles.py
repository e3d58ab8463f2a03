"""Pixels in tiles that are compact in feature space, and the pairs of tiles that are near.

A balanced tree halves the pixels of an image along their widest feature until a tile holds them, so
that a box around a tile is small. Where the boxes of two tiles are so far apart that no kernel
value between them reaches `tail`, the pair need not be looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NARROW = 16.0
"""The largest distance of a feature from the middle of its tile for products of halves.

With f taken from that middle, |f_i - f_j|^2 comes from products of two halves each with an error of
|f_i| |f_j| 2^-21: 1e-4 at this distance, where both are so far out.
"""

CHUNK = 1 << 24
"""Pairs of boxes looked at together."""


@dataclass(frozen=True)
class Tiles:
    """T tiles of B pixels of some images, none of which has two.

    Attributes:
        feature: [d, T B]: what the pixels are compared by; places without a pixel repeat another.
        centre: [T, d]: the middle of each box.
        order: int32 [T B]: the pixel at each place, -1 for none.
        columns: int32: the tiles that are near each tile, one list after the other.
        starts: int32 [T + 1]: where the lists begin.
        work: int32 [T]: the tiles, those with the longest lists first.
        size: B.
        narrow: whether all features are at most NARROW from the middle of their tile.
    """

    feature: Tensor
    centre: Tensor
    order: Tensor
    columns: Tensor
    starts: Tensor
    work: Tensor
    size: int
    narrow: bool

    @property
    def tensors(self) -> tuple[Any, ...]:
        """All of them, in the order of the operands."""
        return (self.feature, self.centre, self.order, self.columns, self.starts, self.work)


def tiles_of(f: Tensor, size: int, tail: float) -> Tiles:
    """The tiles of features [N, P, d], each of `size` pixels at most.

    Args:
        f: finite; the images of a batch never meet.
        size: a power of two.
        tail: pairs with a smaller kernel value may be left out; 0 keeps all.
    """
    images, pixels, width = f.shape
    order = kd_order(f, size)
    filled = torch.where(order < pixels, order, order[..., :1])
    at = filled + torch.arange(images, device=f.device)[:, None, None] * pixels
    feature = f.reshape(-1, width)[at]
    low, high = feature.amin(2), feature.amax(2)
    centre = (low + high) / 2
    far = (feature - centre[:, :, None]).square().sum(3).amax().sqrt()
    lists, counts = near_tiles(low, high, tail)
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return Tiles(
        feature.view(-1, width).T.contiguous(),
        centre.view(-1, width).contiguous(),
        torch.where(order < pixels, at, -1).flatten().int(),
        lists,
        starts.int(),
        torch.argsort(counts, descending=True, stable=True).int(),
        size,
        float(far) <= NARROW,
    )


def kd_order(f: Tensor, size: int) -> Tensor:
    """The pixels of each image in tiles: [N, tiles, size], from P on where a tile has no more.

    All blocks of a level are halved at once. What fills the last block up is sorted behind its
    pixels, so that every tile but the last is full.
    """
    images, pixels = f.shape[:2]
    tiles = -(-pixels // size)
    levels = (tiles - 1).bit_length()
    order = torch.arange(size << levels, device=f.device).expand(images, 1, -1)
    rows = torch.arange(images, device=f.device)[:, None, None]
    for _ in range(levels):
        real = (order < pixels)[..., None]
        block = f[rows, order.clamp(max=pixels - 1)]
        high = block.masked_fill(~real, -math.inf).amax(2)
        low = block.masked_fill(~real, math.inf).amin(2)
        widest = (high - low).argmax(2)[..., None, None].expand(*order.shape, 1)
        values = block.gather(3, widest).masked_fill(~real, math.inf).squeeze(3)
        order = order.gather(2, values.argsort(dim=2, stable=True))
        order = order.reshape(images, 2 * order.shape[1], -1)
    return order[:, :tiles]


def near_tiles(low: Tensor, high: Tensor, tail: float) -> tuple[Tensor, Tensor]:
    """The tiles near each tile, as one int32 list and its lengths, from the boxes [N, T, d]."""
    reach = -2 * math.log(tail) if tail > 0 else math.inf
    images, tiles, _ = low.shape
    step = max(1, CHUNK // tiles)
    lists, counts = [], []
    for image in range(images):
        for begin in range(0, tiles, step):
            some = slice(begin, begin + step)
            gap = low.new_zeros(len(low[image, some]), tiles)
            for a, b in zip(low[image].unbind(1), high[image].unbind(1), strict=True):
                apart = torch.maximum(a - b[some, None], a[some, None] - b).clamp_(min=0)
                gap.addcmul_(apart, apart)
            near = gap <= reach
            lists.append((near.nonzero()[:, 1] + image * tiles).int())
            counts.append(near.sum(1))
    return torch.cat(lists), torch.cat(counts)
