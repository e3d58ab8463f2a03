"""DeepLabV1: written by segdsl from specs/deeplabv1_largefov.seg.

DeepLab v1 with a large field of view: VGG-16 whose last strides are dilation and whose first
fully connected layer is a 3x3 convolution at rate 12.  A dense CRF follows the scores: it takes
the bytes of the picture as a second input.  `crf=false` ends at the scores.
Names are those of the Caffe release, whose images are BGR from 0 to 255 minus a mean.
@paper arXiv:1412.7062
@code TheLegendAli/DeepLab-Context voc12/config/DeepLab-LargeFOV/test.prototxt
@weights DeepLab-LargeFOV train_iter_6000.caffemodel

input    image  float32[N, 3, H, W]
input    rgb    uint8[N, 3, H, W]
output   proba  float32[N, 21, H, W]

20,505,429 parameters. The numbers in comments are lines of the .seg file.
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


class DeepLabV1(nn.Module):
    def __init__(self, classes: int = 21):
        super().__init__()
        self.conv1_1 = nn.Conv2d(3, 64, 3, padding=1)
        self.conv1_2 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2_1 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv2_2 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv3_1 = nn.Conv2d(128, 256, 3, padding=1)
        self.conv3_2 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv3_3 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv4_1 = nn.Conv2d(256, 512, 3, padding=1)
        self.conv4_2 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv4_3 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv5_1 = nn.Conv2d(512, 512, 3, padding=2, dilation=2)
        self.conv5_2 = nn.Conv2d(512, 512, 3, padding=2, dilation=2)
        self.conv5_3 = nn.Conv2d(512, 512, 3, padding=2, dilation=2)
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=12, dilation=12)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.fc8_voc12 = nn.Conv2d(1024, classes, 1)

    def forward(self, image: Tensor, rgb: Tensor) -> Tensor:
        x = self.conv1_1(image)  # 9: [N, 64, H, W]
        x = F.relu(x, inplace=True)  # 9: [N, 64, H, W]
        x = self.conv1_2(x)  # 9: [N, 64, H, W]
        x = F.relu(x, inplace=True)  # 9: [N, 64, H, W]
        y = F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)  # [N, 64, H//2 + 1, W//2 + 1]
        x = self.conv2_1(y)  # 9: [N, 128, H//2 + 1, W//2 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 128, H//2 + 1, W//2 + 1]
        x = self.conv2_2(x)  # 9: [N, 128, H//2 + 1, W//2 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 128, H//2 + 1, W//2 + 1]
        y = F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)  # 11
        x = self.conv3_1(y)  # 9: [N, 256, (H + 2)//4 + 1, (W + 2)//4 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 256, (H + 2)//4 + 1, (W + 2)//4 + 1]
        x = self.conv3_2(x)  # 9: [N, 256, (H + 2)//4 + 1, (W + 2)//4 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 256, (H + 2)//4 + 1, (W + 2)//4 + 1]
        x = self.conv3_3(x)  # 9: [N, 256, (H + 2)//4 + 1, (W + 2)//4 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 256, (H + 2)//4 + 1, (W + 2)//4 + 1]
        y = F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)  # 11
        x = self.conv4_1(y)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        x = self.conv4_2(x)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        x = self.conv4_3(x)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        y = F.max_pool2d(x, 3, stride=1, padding=1, ceil_mode=True)  # 11
        x = self.conv5_1(y)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        x = self.conv5_2(x)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        x = self.conv5_3(x)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        x = F.relu(x, inplace=True)  # 9: [N, 512, (H + 6)//8 + 1, (W + 6)//8 + 1]
        y = F.max_pool2d(x, 3, stride=1, padding=1, ceil_mode=True)  # 11
        x = F.relu(self.fc6(F.avg_pool2d(y, 3, stride=1, padding=1)), inplace=True)  # 30
        x = F.relu(self.fc7(F.dropout(x, 0.5, self.training)), inplace=True)  # 31
        fc7 = F.dropout(x, 0.5, self.training)  # 31: [N, 1024, (H + 6)//8 + 1, (W + 6)//8 + 1]
        coarse = self.fc8_voc12(fc7)  # 33: [N, 21, (H + 6)//8 + 1, (W + 6)//8 + 1]
        scores = F.interpolate(coarse, size=image.shape[-2:], mode="bilinear", align_corners=True)
        return mean_field(  # std/crf.seg:20: [N, 21, H, W]
            scores, [gaussian(3.0, compat=3.0), bilateral(rgb, 49.0, 5.0, compat=4.0)]
        )
