"""Deformable operators as people write them in torch: `grid_sample` at normalised positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdsl.ops import deform as dfm
from segdsl.ops.base import Op


def run(op: Op, inputs: Sequence[Tensor], layer: nn.Module | None) -> Tensor | None:
    """The result of a deformable operator; None if it is another one."""
    match op:
        case dfm.Dcnv3Core():
            return _dcnv3(op, *inputs)
        case dfm.DeformConv():
            assert isinstance(layer, nn.Conv2d)
            return _deform_conv(op, inputs, layer)
        case dfm.CenterFeatureScale():
            x, v, f, weight, bias = inputs
            share = torch.sigmoid(F.linear(f.movedim(1, -1), weight, bias)).movedim(-1, 1)
            each = x.shape[1] // len(bias)
            share = torch.stack([share[:, c // each] for c in range(x.shape[1])], 1)
            return x * (1 - share) + v * share
        case _:
            return None


def _sample(x: Tensor, y: Tensor, at_x: Tensor) -> Tensor:
    """Values of [N, C, H, W] at points [N, rows, columns] in pixels, zeros outside."""
    height, width = x.shape[2:]
    grid = torch.stack([(2 * at_x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _lines(count: int, stride: int, start: int) -> Tensor:
    return torch.arange(count, dtype=torch.float64) * stride + start


def _limited(moved: Tensor, limit: float | None) -> Tensor:
    return moved if limit is None else moved.clamp(-limit, limit)


def _dcnv3(op: dfm.Dcnv3Core, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    rows, columns = offset.shape[2:]
    count, each = len(op.points), x.shape[1] // op.groups
    middle = [(d * (k - 1)) // 2 for k, d in zip(op.kernel, op.dilation, strict=True)]
    y0 = _lines(rows, op.stride[0], middle[0] - op.sides.top).view(-1, 1).to(x.dtype)
    x0 = _lines(columns, op.stride[1], middle[1] - op.sides.left).to(x.dtype)
    found = []
    for g in range(op.groups):
        shares = mask[:, g * count : (g + 1) * count]
        shares = shares.softmax(1) if op.softmax else shares
        total = torch.zeros(())
        for p, (j, i) in enumerate(op.points):
            at = 2 * (g * count + p)
            dx, dy = (
                _limited(offset[:, at + k] * op.offset_scale, op.offset_limit) for k in (0, 1)
            )
            y = y0 + (j * op.dilation[0] - middle[0]) * op.offset_scale + dy
            along = x0 + (i * op.dilation[1] - middle[1]) * op.offset_scale + dx
            total = (
                total + _sample(x[:, g * each : (g + 1) * each], y, along) * shares[:, p : p + 1]
            )
        found.append(total)
    return torch.cat(found, 1)


def _deform_conv(op: dfm.DeformConv, inputs: Sequence[Tensor], layer: nn.Conv2d) -> Tensor:
    x, offset = inputs[:2]
    rows, columns = offset.shape[2:]
    taps, each = op.kernel[0] * op.kernel[1], x.shape[1] // op.offset_groups
    y0 = _lines(rows, op.stride[0], -op.sides.top).view(-1, 1).to(x.dtype)
    x0 = _lines(columns, op.stride[1], -op.sides.left).to(x.dtype)
    sampled = []
    for g in range(op.offset_groups):
        for p in range(taps):
            at = g * taps + p
            dy, dx = (_limited(offset[:, 2 * at + k], op.offset_limit) for k in (0, 1))
            y = y0 + p // op.kernel[1] * op.dilation[0] + dy
            along = x0 + p % op.kernel[1] * op.dilation[1] + dx
            part = _sample(x[:, g * each : (g + 1) * each], y, along)
            sampled.append(part if len(inputs) == 2 else part * inputs[2][:, at : at + 1])
    cells = _ordered(sampled, op.offset_groups)
    blocks = cells.view(*x.shape[:2], *op.kernel, rows, columns).permute(0, 1, 4, 2, 5, 3)
    tiled = blocks.reshape(*x.shape[:2], rows * op.kernel[0], columns * op.kernel[1])
    return F.conv2d(tiled, layer.weight, layer.bias, stride=tuple(op.kernel), groups=op.groups)


def _ordered(sampled: list[Tensor], groups: int) -> Tensor:
    """[N, C, taps, rows, columns] from the maps of each group and tap."""
    taps = len(sampled) // groups
    return torch.cat([torch.stack(sampled[g * taps : (g + 1) * taps], 2) for g in range(groups)], 1)
