"""DeepLabV2: written by segdsl from specs/deeplabv2_crf.seg.

DeepLab v2 on ResNet-101: the same net on the image at three scales, the largest score of the
three, and a dense CRF, which takes the bytes of the picture as a second input.  `crf=false` ends
at the scores.
Names are those of kazuto1011's port, whose images are BGR from 0 to 255 minus a mean.
@paper arXiv:1606.00915
@code kazuto1011/deeplab-pytorch libs/models/deeplabv2.py, libs/models/msc.py
@weights kazuto1011/deeplab-pytorch deeplabv2_resnet101_msc-vocaug

input    image  float32[N, 3, H, W]
input    rgb    uint8[N, 3, H, W]
output   proba  float32[N, 21, H, W]

44,048,532 parameters. The numbers in comments are lines of the .seg file.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# Here stands the library of `mean_field`.


class ConvBN(nn.Module):  # specs/deeplabv2_crf.seg:6
    def __init__(self, cin: int, out: int, kernel: int = 1, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(
            cin,
            out,
            kernel,
            stride=stride,
            padding=kernel // 2 * dilation,
            dilation=dilation,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out, momentum=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))  # 10


class Bottleneck(nn.Module):  # specs/deeplabv2_crf.seg:14
    def __init__(
        self, cin: int, planes: int, dilation: int, stride: int = 1, shortcut: bool = False
    ):
        super().__init__()
        self.reduce = ConvBN(cin, planes, stride=stride)
        self.conv3x3 = ConvBN(planes, planes, kernel=3, dilation=dilation)
        self.increase = ConvBN(planes, 4 * planes)
        self.shortcut = ConvBN(cin, 4 * planes, stride=stride) if shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.reduce(x), inplace=True)  # 16
        y = F.relu(self.conv3x3(y), inplace=True)  # 17
        return F.relu(self.increase(y) + self.shortcut(x), inplace=True)  # 21


class Stage(nn.Module):  # specs/deeplabv2_crf.seg:27
    def __init__(
        self, cin: int, planes: int, stride: int = 1, dilation: int = 1, block4: bool = False
    ):
        super().__init__()
        self.block1 = Bottleneck(cin, planes, dilation, stride=stride, shortcut=True)
        self.block2 = Bottleneck(4 * planes, planes, dilation)
        self.block3 = Bottleneck(4 * planes, planes, dilation)
        self.block4 = Bottleneck(4 * planes, planes, dilation) if block4 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(x)  # 29
        x = self.block2(x)  # 30
        return self.block4(self.block3(x))  # 30


class Stage_2(nn.Module):  # specs/deeplabv2_crf.seg:27
    """`Stage` as it is at base.layer4, base.layer4, base.layer4."""

    def __init__(self, cin: int, planes: int, dilation: int, stride: int = 1):
        super().__init__()
        self.block1 = Bottleneck(cin, planes, dilation, stride=stride, shortcut=True)
        self.block2 = Bottleneck(4 * planes, planes, dilation)
        self.block3 = Bottleneck(4 * planes, planes, dilation)
        self.block4 = Bottleneck(4 * planes, planes, dilation)
        self.block5 = Bottleneck(4 * planes, planes, dilation)
        self.block6 = Bottleneck(4 * planes, planes, dilation)
        self.block7 = Bottleneck(4 * planes, planes, dilation)
        self.block8 = Bottleneck(4 * planes, planes, dilation)
        self.block9 = Bottleneck(4 * planes, planes, dilation)
        self.block10 = Bottleneck(4 * planes, planes, dilation)
        self.block11 = Bottleneck(4 * planes, planes, dilation)
        self.block12 = Bottleneck(4 * planes, planes, dilation)
        self.block13 = Bottleneck(4 * planes, planes, dilation)
        self.block14 = Bottleneck(4 * planes, planes, dilation)
        self.block15 = Bottleneck(4 * planes, planes, dilation)
        self.block16 = Bottleneck(4 * planes, planes, dilation)
        self.block17 = Bottleneck(4 * planes, planes, dilation)
        self.block18 = Bottleneck(4 * planes, planes, dilation)
        self.block19 = Bottleneck(4 * planes, planes, dilation)
        self.block20 = Bottleneck(4 * planes, planes, dilation)
        self.block21 = Bottleneck(4 * planes, planes, dilation)
        self.block22 = Bottleneck(4 * planes, planes, dilation)
        self.block23 = Bottleneck(4 * planes, planes, dilation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(x)  # 29
        x = self.block2(x)  # 30
        x = self.block3(x)  # 30
        x = self.block4(x)  # 30
        x = self.block5(x)  # 30
        x = self.block6(x)  # 30
        x = self.block7(x)  # 30
        x = self.block8(x)  # 30
        x = self.block9(x)  # 30
        x = self.block10(x)  # 30
        x = self.block11(x)  # 30
        x = self.block12(x)  # 30
        x = self.block13(x)  # 30
        x = self.block14(x)  # 30
        x = self.block15(x)  # 30
        x = self.block16(x)  # 30
        x = self.block17(x)  # 30
        x = self.block18(x)  # 30
        x = self.block19(x)  # 30
        x = self.block20(x)  # 30
        x = self.block21(x)  # 30
        return self.block23(self.block22(x))  # 30


class Scores(nn.Module):  # specs/deeplabv2_crf.seg:39
    def __init__(self, cin: int, classes: int):
        super().__init__()
        self.layer1 = nn.ModuleDict({"conv1": ConvBN(cin, 64, kernel=7, stride=2)})
        self.layer2 = Stage(64, 64)
        self.layer3 = Stage(256, 128, stride=2, block4=True)
        self.layer4 = Stage_2(512, 256, 2)
        self.layer5 = Stage(1024, 512, dilation=4)
        self.aspp = nn.ModuleDict(
            {
                "c0": nn.Conv2d(2048, classes, 3, padding=6, dilation=6),
                "c1": nn.Conv2d(2048, classes, 3, padding=12, dilation=12),
                "c2": nn.Conv2d(2048, classes, 3, padding=18, dilation=18),
                "c3": nn.Conv2d(2048, classes, 3, padding=24, dilation=24),
            }
        )

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.layer1["conv1"](image), inplace=True)  # 40
        x = self.layer2(F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True))  # 42
        x = self.layer3(x)  # 43
        x = self.layer4(x)  # 44
        layer5 = self.layer5(x)  # 45
        y = self.aspp["c0"](layer5)  # 35
        y2 = self.aspp["c1"](layer5)  # 35
        y3 = self.aspp["c2"](layer5)  # 35
        y4 = self.aspp["c3"](layer5)  # 35
        sum_ = y + y2  # 46
        sum_ = sum_ + y3  # 46
        return sum_ + y4  # 46


class DeepLabV2(nn.Module):
    def __init__(self, classes: int = 21):
        super().__init__()
        self.base = Scores(3, classes)

    def forward(self, image: Tensor, rgb: Tensor) -> Tensor:
        fine = self.base(image)  # 61: [N, 21, (H + 1)//8 + 1, (W + 1)//8 + 1]
        x = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=False)  # 64
        x = self.base(x)  # 64: [N, 21, (H + 2)//16 + 1, (W + 2)//16 + 1]
        x = F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)  # 64
        y = F.interpolate(image, scale_factor=0.75, mode="bilinear", align_corners=False)  # 64
        y = self.base(y)  # 64: [N, 21, (3*H + 4)//32 + 1, (3*W + 4)//32 + 1]
        y = F.interpolate(y, size=fine.shape[-2:], mode="bilinear", align_corners=False)  # 64
        max_ = torch.maximum(fine, x)  # 66: [N, 21, (H + 1)//8 + 1, (W + 1)//8 + 1]
        max_ = torch.maximum(max_, y)  # 66: [N, 21, (H + 1)//8 + 1, (W + 1)//8 + 1]
        scores = F.interpolate(max_, size=image.shape[-2:], mode="bilinear", align_corners=False)
        return mean_field(  # std/crf.seg:43: [N, 21, H, W]
            scores, [gaussian(1.0, compat=3.0), bilateral(rgb, 67.0, 3.0, compat=4.0)]
        )
