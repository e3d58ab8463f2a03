"""ResNet-50 with deformable stages: torchvision's network, its 3x3 convolutions replaced.

Names are mmcv's and mmdetection's; the points are read by a `grid_sample` each (arXiv:1703.06211,
arXiv:1811.11168).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.peers import need


class DeformPack(nn.Module):
    """mmcv's DeformConv2dPack; with `modulated` its ModulatedDeformConv2dPack, without a bias."""

    def __init__(self, channels: int, out: int, stride: int = 1, modulated: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, channels, 3, 3) / (9 * channels) ** 0.5)
        self.conv_offset = nn.Conv2d(channels, 27 if modulated else 18, 3, stride, 1)
        self.stride, self.modulated = stride, modulated

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        found = self.conv_offset(x)
        rows = torch.arange(found.shape[2], dtype=x.dtype, device=x.device).view(-1, 1)
        columns = torch.arange(found.shape[3], dtype=x.dtype, device=x.device)
        total = x.new_zeros(())
        for p in range(9):
            y = rows * self.stride - 1 + p // 3 + found[:, 2 * p]
            along = columns * self.stride - 1 + p % 3 + found[:, 2 * p + 1]
            grid = torch.stack([(2 * along + 1) / width - 1, (2 * y + 1) / height - 1], -1)
            read = F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)
            if self.modulated:
                read = read * found[:, 18 + p : 19 + p].sigmoid()
            total = total + F.conv2d(read, self.weight[:, :, p // 3, p % 3, None, None])
        return total


class SemanticHead(nn.Module):
    """UPSNet's deformable semantic head (arXiv:1901.03784), which LPSNet takes over."""

    def __init__(self, before: int, width: int, classes: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([DeformPack(before, width), DeformPack(width, width)])
        self.score = nn.Conv2d(3 * width, classes, 1)

    def forward(self, *levels: Tensor) -> Tensor:
        maps = []
        for x in levels:
            for conv in self.convs:
                x = conv(x).relu()
            size = levels[0].shape[2:]
            maps.append(F.interpolate(x, size, mode="bilinear", align_corners=False))
        scores: Tensor = self.score(torch.cat(maps, 1))
        return scores


def dcn_resnet50(modulated: bool, deform: Sequence[bool] = (False, True, True, True)) -> nn.Module:
    """torchvision's ResNet-50 with `DeformPack`s in the stages that are named."""
    module: nn.Module = need("torchvision").models.resnet50(weights=None)
    for i, moved in enumerate(deform, 1):
        for block in module.get_submodule(f"layer{i}").children() if moved else ():
            conv = block.get_submodule("conv2")
            assert isinstance(conv, nn.Conv2d)
            moving = DeformPack(conv.in_channels, conv.out_channels, conv.stride[0], modulated)
            block.add_module("conv2", moving)
    return module
