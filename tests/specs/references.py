"""Networks that no installable package has, written out from their papers and key lists.

Their state_dicts have the published names, so that they stand for the published models.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _pairs(*channels: int) -> nn.Sequential:
    """Valid convolutions with a bias and ReLUs (2015)."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 3), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet2015(nn.Module):
    """Ronneberger et al., figure 1; names as in the list `unet2015_reference`."""

    def __init__(self, channels: int, classes: int, width: int, depth: int, drop: float) -> None:
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        befores = [channels, *widths]
        self.d = nn.ModuleList(_pairs(befores[i], w, w) for i, w in enumerate(widths))
        ups = list(reversed(widths[:-1]))
        self.u = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in ups)
        self.v = nn.ModuleList(_pairs(2 * w, w, w) for w in ups)
        self.o = nn.Conv2d(width, classes, 1)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, pair in enumerate(self.d):
            if level:
                if x.shape[2] % 2 or x.shape[3] % 2:
                    raise ValueError("the paper wants every pool to meet an even map")
                x = F.max_pool2d(x, 2)
            x = pair(x)
            if level >= len(self.d) - 2 and self.drop.p:
                x = self.drop(x)
            skips.append(x)
        for up, pair, skip in zip(self.u, self.v, reversed(skips[:-1]), strict=True):
            x = up(x)
            top, left = ((a - b) // 2 for a, b in zip(skip.shape[2:], x.shape[2:], strict=True))
            cut = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
            x = pair(torch.cat([cut, x], 1))
        scores: Tensor = self.o(x)
        return scores


def names_of_2015(depth: int) -> dict[str, str]:
    """Prefix of the list `unet2015_reference` -> prefix in our spec, named as milesial does."""
    table = {"d.0": "inc.double_conv", "o": "outc.conv"}
    for level in range(1, depth + 1):
        table[f"d.{level}"] = f"down{level}.maxpool_conv.1.double_conv"
        table[f"u.{level - 1}"] = f"up{level}.up"
        table[f"v.{level - 1}"] = f"up{level}.conv.double_conv"
    return table


class _DoubleConv(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (before, after):
            layers.append(nn.Conv2d(channels, after, 3, padding=1, bias=False))
            layers += [nn.BatchNorm2d(after), nn.ReLU()]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.double_conv(x)
        return y


class _MilesialUp(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(before, after, 2, stride=2)
        self.conv = _DoubleConv(before, after)

    def forward(self, x: Tensor, skip: Tensor, pad: bool) -> Tensor:
        x = self.up(x)
        if pad:
            rows, columns = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            left, top = columns // 2, rows // 2
            x = F.pad(x, [left, columns - left, top, rows - top])
        y: Tensor = self.conv(torch.cat([skip, x], 1))
        return y


class MilesialUNet(nn.Module):
    """milesial/Pytorch-UNet with learned upsampling; without `pad` odd maps do not fit."""

    def __init__(self, channels: int, classes: int, width: int, depth: int, pad: bool) -> None:
        super().__init__()
        self.depth, self.pad = depth, pad
        self.inc = _DoubleConv(channels, width)
        for level in range(1, depth + 1):
            conv = _DoubleConv(width << level - 1, width << level)
            down = {"maxpool_conv": nn.Sequential(nn.MaxPool2d(2), conv)}
            self.add_module(f"down{level}", nn.ModuleDict(down))
        for level in range(1, depth + 1):
            after = width << depth - level
            self.add_module(f"up{level}", _MilesialUp(2 * after, after))
        self.outc = nn.ModuleDict({"conv": nn.Conv2d(width, classes, 1)})

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.inc(x)]
        for level in range(1, self.depth + 1):
            maps.append(self.get_submodule(f"down{level}.maxpool_conv")(maps[-1]))
        x = maps.pop()
        for level in range(1, self.depth + 1):
            x = self.get_submodule(f"up{level}")(x, maps.pop(), self.pad)
        scores: Tensor = self.outc["conv"](x)
        return scores


VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class FCN8s(nn.Module):
    """Long et al., FCN-8s of the Caffe release; names as wkentaro/pytorch-fcn has them.

    Args:
        classes: score channels.
        hidden: channels of fc6 and fc7; published: 4096.
        widths: channels and convolutions of the five stages; published: VGG-16's.
    """

    def __init__(
        self, classes: int, hidden: int = 4096, widths: Sequence[tuple[int, int]] = VGG16
    ) -> None:
        super().__init__()
        self.stages: list[list[str]] = []
        before = 3
        for stage, (width, count) in enumerate(widths, 1):
            self.stages.append([f"conv{stage}_{i}" for i in range(1, count + 1)])
            for name in self.stages[-1]:
                pad = 100 if name == "conv1_1" else 1
                self.add_module(name, nn.Conv2d(before, width, 3, padding=pad))
                before = width
        self.fc6 = nn.Conv2d(before, hidden, 7)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.score_fr = nn.Conv2d(hidden, classes, 1)
        self.score_pool3 = nn.Conv2d(widths[2][0], classes, 1)
        self.score_pool4 = nn.Conv2d(widths[3][0], classes, 1)
        self.upscore2 = nn.ConvTranspose2d(classes, classes, 4, stride=2, bias=False)
        self.upscore8 = nn.ConvTranspose2d(classes, classes, 16, stride=8, bias=False)
        self.upscore_pool4 = nn.ConvTranspose2d(classes, classes, 4, stride=2, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        x, pools = image, []
        for names in self.stages:
            for name in names:
                x = self.get_submodule(name)(x).relu()
            x = F.max_pool2d(x, 2, ceil_mode=True)
            pools.append(x)
        for layer in (self.fc6, self.fc7):
            x = F.dropout(layer(x).relu(), 0.5, self.training)
        x = self.upscore2(self.score_fr(x))
        x = x + _cut(self.score_pool4(pools[3]), x, 5)
        x = self.upscore_pool4(x)
        x = x + _cut(self.score_pool3(pools[2]), x, 9)
        return _cut(self.upscore8(x), image, 31)


def _cut(x: Tensor, like: Tensor, first: int) -> Tensor:
    if min(a - b - first for a, b in zip(x.shape[2:], like.shape[2:], strict=True)) < 0:
        raise ValueError(f"{tuple(x.shape)} has no {tuple(like.shape)} from {first}")
    return x[:, :, first : first + like.shape[2], first : first + like.shape[3]]


class _DenseLayer(nn.Module):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, growth, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.conv(self.norm(x).relu()), 0.2, self.training)


class _DenseBlock(nn.Module):
    def __init__(self, channels: int, growth: int, n: int, *, only_new: bool) -> None:
        super().__init__()
        self.channels, self.only_new = channels, only_new
        self.layers = nn.ModuleList(_DenseLayer(channels + i * growth, growth) for i in range(n))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x[:, self.channels :] if self.only_new else x


class _Down(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.dropout(self.conv(self.norm(x).relu()), 0.2, self.training), 2)


class _Up(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convTrans = nn.ConvTranspose2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.convTrans(x)
        top, left = ((a - b) // 2 for a, b in zip(x.shape[2:], skip.shape[2:], strict=True))
        return torch.cat([_cut_at(x, skip, top, left), skip], 1)


def _cut_at(x: Tensor, like: Tensor, top: int, left: int) -> Tensor:
    return x[:, :, top : top + like.shape[2], left : left + like.shape[3]]


class FCDenseNet(nn.Module):
    """Jegou et al., table 2; names as bfortuner/pytorch_tiramisu has them."""

    def __init__(self, classes: int, growth: int, down: Sequence[int], middle: int) -> None:
        super().__init__()
        self.firstconv = nn.Conv2d(3, 48, 3, padding=1)
        channels, skips = 48, []
        self.denseBlocksDown = nn.ModuleList()
        self.transDownBlocks = nn.ModuleList()
        for n in down:
            self.denseBlocksDown.append(_DenseBlock(channels, growth, n, only_new=False))
            channels += n * growth
            skips.append(channels)
            self.transDownBlocks.append(_Down(channels))
        dense = _DenseBlock(channels, growth, middle, only_new=True)
        self.bottleneck = nn.ModuleDict({"bottleneck": dense})
        self.transUpBlocks = nn.ModuleList()
        self.denseBlocksUp = nn.ModuleList()
        new = middle * growth
        for i, n in enumerate(reversed(down)):
            last = i == len(down) - 1
            self.transUpBlocks.append(_Up(new))
            channels = new + skips.pop()
            self.denseBlocksUp.append(_DenseBlock(channels, growth, n, only_new=not last))
            new = n * growth
        self.finalConv = nn.Conv2d(channels + new, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.firstconv(x), []
        for dense, down in zip(self.denseBlocksDown, self.transDownBlocks, strict=True):
            skips.append(dense(x))
            x = down(skips[-1])
        x = self.bottleneck["bottleneck"](x)
        for up, dense in zip(self.transUpBlocks, self.denseBlocksUp, strict=True):
            x = dense(up(x, skips.pop()))
        scores: Tensor = self.finalConv(x)
        return scores


TIRAMISU = {
    56: (12, (4, 4, 4, 4, 4), 4),
    67: (16, (5, 5, 5, 5, 5), 5),
    103: (16, (4, 5, 7, 10, 12), 15),
}
"""Growth, layers of the blocks on the way down, layers in the middle."""


def tiramisu(depth: int, classes: int) -> FCDenseNet:
    """FC-DenseNet56, 67 or 103."""
    return FCDenseNet(classes, *TIRAMISU[depth])
