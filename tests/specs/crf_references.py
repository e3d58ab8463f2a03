"""The networks before the CRFs, written out from the papers and the ports' lists of names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.specs.references import FCN8s


class CrfRnnScores(FCN8s):
    """sadeepj's FCN-8s: a bias at the first upsampling, and dropout of whole channels."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.upscore2 = nn.ConvTranspose2d(classes, classes, 4, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        x, pools = image, []
        for names in self.stages:
            for name in names:
                x = self.get_submodule(name)(x).relu()
            x = F.max_pool2d(x, 2, ceil_mode=True)
            pools.append(x)
        for layer in (self.fc6, self.fc7):
            x = F.dropout2d(layer(x).relu(), 0.5, self.training)
        x = self.upscore2(self.score_fr(x))
        x = x + _cut(self.score_pool4(pools[3]), x, 5)
        x = self.upscore_pool4(x)
        x = x + _cut(self.score_pool3(pools[2]), x, 9)
        return _cut(self.upscore8(x), image, 31)


def _cut(x: Tensor, like: Tensor, first: int) -> Tensor:
    rows, columns = like.shape[2:]
    return x[:, :, first : first + rows, first : first + columns]


class LargeFOV(nn.Module):
    """Chen et al. 2015, figure 1 and section 4.3, with the layer names of the prototxt."""

    WIDTHS = (64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3

    def __init__(self, classes: int) -> None:
        super().__init__()
        before = 3
        for stage, widths in enumerate(self.WIDTHS, 1):
            rate = 2 if stage == 5 else 1
            for place, width in enumerate(widths, 1):
                conv = nn.Conv2d(before, width, 3, padding=rate, dilation=rate)
                self.add_module(f"conv{stage}_{place}", conv)
                before = width
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=12, dilation=12)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.fc8_voc12 = nn.Conv2d(1024, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for stage, widths in enumerate(self.WIDTHS, 1):
            for place in range(1, len(widths) + 1):
                x = F.relu(self.get_submodule(f"conv{stage}_{place}")(x))
            stride = 2 if stage <= 3 else 1
            x = F.max_pool2d(x, 3, stride=stride, padding=1, ceil_mode=True)
        x = F.avg_pool2d(x, 3, stride=1, padding=1)
        for layer in (self.fc6, self.fc7):
            x = F.dropout(F.relu(layer(x)), 0.5, self.training)
        x = self.fc8_voc12(x)
        return F.interpolate(x, image.shape[2:], mode="bilinear", align_corners=True)


def _unit(before: int, after: int, kernel: int, stride: int = 1, rate: int = 1) -> nn.Sequential:
    pad = rate * (kernel - 1) // 2
    conv = nn.Conv2d(before, after, kernel, stride, pad, dilation=rate, bias=False)
    unit = nn.Sequential()
    unit.add_module("conv", conv)
    unit.add_module("bn", nn.BatchNorm2d(after, momentum=0.001))
    return unit


class _Bottleneck(nn.Module):
    def __init__(self, before: int, planes: int, stride: int, rate: int, project: bool) -> None:
        super().__init__()
        self.reduce = _unit(before, planes, 1, stride)
        self.conv3x3 = _unit(planes, planes, 3, 1, rate)
        self.increase = _unit(planes, 4 * planes, 1)
        self.shortcut = _unit(before, 4 * planes, 1, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.increase(F.relu(self.conv3x3(F.relu(self.reduce(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNetPyramid(nn.Module):
    """kazuto1011's DeepLabV2 on ResNet-101 at one scale."""

    STAGES = (64, 3, 1, 1), (128, 4, 2, 1), (256, 23, 1, 2), (512, 3, 1, 4)

    def __init__(self, classes: int, rates: Sequence[int] = (6, 12, 18, 24)) -> None:
        super().__init__()
        self.layer1 = nn.ModuleDict({"conv1": _unit(3, 64, 7, 2)})
        before = 64
        for number, (planes, count, stride, rate) in enumerate(self.STAGES, 2):
            stage = nn.Sequential()
            for block in range(1, count + 1):
                first = block == 1
                step = stride if first else 1
                stage.add_module(f"block{block}", _Bottleneck(before, planes, step, rate, first))
                before = 4 * planes
            self.add_module(f"layer{number}", stage)
        self.aspp = nn.ModuleDict(
            {
                f"c{i}": nn.Conv2d(2048, classes, 3, padding=r, dilation=r)
                for i, r in enumerate(rates)
            }
        )

    def forward(self, image: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.layer1["conv1"](image)), 3, 2, 1, ceil_mode=True)
        for number in range(2, 6):
            x = self.get_submodule(f"layer{number}")(x)
        return torch.stack([branch(x) for branch in self.aspp.values()]).sum(0)


class MultiScale(nn.Module):
    """The same net on smaller images, and the largest score; then the size of the image."""

    def __init__(self, classes: int, scales: Sequence[float] = (0.5,)) -> None:
        super().__init__()
        self.base = ResNetPyramid(classes)
        self.scales = scales

    def forward(self, image: Tensor) -> Tensor:
        scores = [self.base(image)]
        size = scores[0].shape[2:]
        for scale in self.scales:
            small = F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
            found = self.base(small)
            scores.append(F.interpolate(found, size, mode="bilinear", align_corners=False))
        best = torch.stack(scores).amax(0)
        return F.interpolate(best, image.shape[2:], mode="bilinear", align_corners=False)
