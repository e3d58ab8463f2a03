"""The points of DCNv3 in plain torch: rows of a table of cells, and their shares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .dcnv3_sampling import Sampling


@dataclass(frozen=True)
class Points:
    """Every point of every row, [N, P, Q, G, T], over a table of cells with a margin of zeros.

    Attributes:
        cell: the row of the table at the top left of each point.
        fy: its distance below that cell; likewise `fx`, to the right.
        slope_y: how its row changes with its offset; likewise `slope_x`.
        share: what its value is multiplied by.
    """

    cell: Tensor
    fy: Tensor
    fx: Tensor
    slope_y: Tensor
    slope_x: Tensor
    share: Tensor

    def corner(self, number: int) -> Tensor:
        """The share of one of the four cells around a point, before the mask."""
        by_y = self.fy if number // 2 else 1 - self.fy
        by_x = self.fx if number % 2 else 1 - self.fx
        return by_y * by_x


def working(x: Tensor) -> torch.dtype:
    """The dtype of coordinates and sums."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def cells(x: Tensor, groups: int) -> Tensor:
    """[N, C, H, W] as rows of a table, [N * (H + 2) * (W + 2) * G, C / G], with zeros around."""
    padded = F.pad(x.to(working(x)).permute(0, 2, 3, 1), [0, 0, 1, 1, 1, 1])
    return padded.reshape(-1, x.shape[1] // groups)


def _along(
    moved: Tensor, lines: Tensor, steps: Tensor, axis: int, size: int, how: Sampling
) -> tuple[Tensor, Tensor, Tensor]:
    """As the kernel's `axis_place`, for a whole map of offsets."""
    middle = how.dilation[axis] * (how.kernel[axis] - 1) // 2
    own = lines * how.stride[axis] + (middle - how.padding[axis])
    moved = moved * how.offset_scale
    slope = torch.full_like(moved, how.offset_scale)
    if how.offset_limit is not None:
        slope = slope * (moved.abs() <= how.offset_limit)
        moved = moved.clamp(-how.offset_limit, how.offset_limit)
    place = (steps * how.dilation[axis] - middle) * how.offset_scale + moved
    slope = slope * ((place > -1 - own) & (place < size - own))
    place = torch.minimum(torch.maximum(place, -1 - own), size - own)
    low = (own + place.floor()).clamp(-1, size - 1)
    return low.long().clamp(-1, size - 1), place - (low - own), slope


def points_of(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> Points:
    """Where the points lie, in plain torch."""
    (n, _, h, w), (p, q) = x.shape, offset.shape[2:]
    kind, device, shape = working(x), x.device, (n, p, q, how.groups, how.points)
    order = torch.arange(how.kernel[0] * how.kernel[1], device=device)
    if how.remove_center:
        order = order[order != len(order) // 2]
    moved = offset.permute(0, 2, 3, 1).to(kind).reshape(*shape, 2)
    ys = torch.arange(p, device=device, dtype=kind).view(-1, 1, 1, 1)
    xs = torch.arange(q, device=device, dtype=kind).view(-1, 1, 1)
    down, across = (order % how.kernel[0]).to(kind), (order // how.kernel[0]).to(kind)
    top, fy, slope_y = _along(moved[..., 1], ys, down, 0, h, how)
    left, fx, slope_x = _along(moved[..., 0], xs, across, 1, w, how)
    image = torch.arange(n, device=device).view(-1, 1, 1, 1, 1)
    group = torch.arange(how.groups, device=device).view(-1, 1)
    cell = ((image * (h + 2) + top + 1) * (w + 2) + left + 1) * how.groups + group
    share = mask.permute(0, 2, 3, 1).to(kind).reshape(shape)
    share = share.softmax(-1) if how.softmax else share
    return Points(cell, fy, fx, slope_y, slope_x, share)


def steps(x: Tensor, groups: int) -> list[int]:
    """How many rows of the table lie between a cell and its neighbours."""
    down = (x.shape[3] + 2) * groups
    return [0, groups, down, down + groups]
