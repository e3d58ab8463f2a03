"""CrfRnnNet: written by segdsl from specs/crfasrnn.seg.

CRF as a recurrent network: FCN-8s, then mean-field iterations whose kernels and compatibility
are learned with it.  The CRF takes the bytes of the picture as a second input; `crf=false` ends
at the scores.  Names are those of the PyTorch port, whose images are BGR from 0 to 255 minus a
mean: its CRF takes these, which is the same, for only differences of colours count.
@paper arXiv:1502.03240
@code sadeepj/crfasrnn_pytorch crfasrnn/crfasrnn_model.py
@weights sadeepj/crfasrnn_pytorch crfasrnn_weights.pth

input    image  float32[N, 3, H, W]
input    rgb    uint8[N, 3, H, W]
output   out    float32[N, 21, H, W]

134,491,103 parameters. The numbers in comments are lines of the .seg file.
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


def crop(x: Tensor, size: list[int], top: int, left: int) -> Tensor:
    """The part of `x` of this size that begins at (top, left)."""
    right, bottom = x.shape[3] - size[1] - left, x.shape[2] - size[0] - top
    return F.pad(x, [-left, -right, -top, -bottom])


# Here stands the library of `mean_field`.


class CRFasRNN(nn.Module):  # std/crf.seg:54
    def __init__(self, cin: int):
        super().__init__()
        self.spatial_ker_weights = nn.Parameter(torch.zeros(cin, cin))
        self.bilateral_ker_weights = nn.Parameter(torch.zeros(cin, cin))
        self.compatibility_matrix = nn.Parameter(torch.zeros(cin, cin))

    def forward(self, scores: Tensor, image: Tensor) -> Tensor:
        return mean_field(  # 60: [N, 21, H, W]
            scores,
            [
                gaussian(3.0, compat=self.spatial_ker_weights, norm="after"),
                bilateral(image, 160.0, 3.0, compat=self.bilateral_ker_weights, norm="after"),
            ],
            mix=self.compatibility_matrix,
            returns="logits",
        )


class CrfRnnNet(nn.Module):
    def __init__(self, classes: int = 21):
        super().__init__()
        self.conv1_1 = nn.Conv2d(3, 64, 3, padding=100)
        self.conv1_2 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2_1 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv2_2 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv3_1 = nn.Conv2d(128, 256, 3, padding=1)
        self.conv3_2 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv3_3 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv4_1 = nn.Conv2d(256, 512, 3, padding=1)
        self.conv4_2 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv4_3 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv5_1 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv5_2 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv5_3 = nn.Conv2d(512, 512, 3, padding=1)
        self.fc6 = nn.Conv2d(512, 4096, 7)
        self.fc7 = nn.Conv2d(4096, 4096, 1)
        self.score_fr = nn.Conv2d(4096, classes, 1)
        self.upscore2 = nn.ConvTranspose2d(classes, classes, 4, stride=2)
        self.score_pool4 = nn.Conv2d(512, classes, 1)
        self.upscore_pool4 = nn.ConvTranspose2d(classes, classes, 4, stride=2, bias=False)
        self.score_pool3 = nn.Conv2d(256, classes, 1)
        self.upscore8 = nn.ConvTranspose2d(classes, classes, 16, stride=8, bias=False)
        self.crfrnn = CRFasRNN(classes)

    def forward(self, image: Tensor, rgb: Tensor) -> Tensor:
        x = F.relu(self.conv1_1(image), inplace=True)  # std/vgg.seg:8: [N, 64, H + 198, W + 198]
        x = self.conv1_2(x)  # std/vgg.seg:9: [N, 64, H + 198, W + 198]
        x = F.relu(x, inplace=True)  # std/vgg.seg:9: [N, 64, H + 198, W + 198]
        x = F.relu(self.conv2_1(F.max_pool2d(x, 2, ceil_mode=True)), inplace=True)  # std/vgg.seg:8
        x = self.conv2_2(x)  # std/vgg.seg:9: [N, 128, (H + 1)//2 + 99, (W + 1)//2 + 99]
        x = F.relu(x, inplace=True)  # std/vgg.seg:9: [N, 128, (H + 1)//2 + 99, (W + 1)//2 + 99]
        x = F.relu(self.conv3_1(F.max_pool2d(x, 2, ceil_mode=True)), inplace=True)  # std/vgg.seg:8
        x = self.conv3_2(x)  # std/vgg.seg:9: [N, 256, (H + 1)//4 + 50, (W + 1)//4 + 50]
        x = F.relu(x, inplace=True)  # std/vgg.seg:9: [N, 256, (H + 1)//4 + 50, (W + 1)//4 + 50]
        x = self.conv3_3(x)  # std/vgg.seg:9: [N, 256, (H + 1)//4 + 50, (W + 1)//4 + 50]
        x = F.relu(x, inplace=True)  # std/vgg.seg:9: [N, 256, (H + 1)//4 + 50, (W + 1)//4 + 50]
        pool3 = F.max_pool2d(x, 2, ceil_mode=True)  # 23: [N, 256, (H + 5)//8 + 25, (W + 5)//8 + 25]
        x = F.relu(self.conv4_1(pool3), inplace=True)  # [N, 512, (H + 5)//8 + 25, (W + 5)//8 + 25]
        x = self.conv4_2(x)  # std/vgg.seg:9: [N, 512, (H + 5)//8 + 25, (W + 5)//8 + 25]
        x = F.relu(x, inplace=True)  # std/vgg.seg:9: [N, 512, (H + 5)//8 + 25, (W + 5)//8 + 25]
        x = self.conv4_3(x)  # std/vgg.seg:9: [N, 512, (H + 5)//8 + 25, (W + 5)//8 + 25]
        x = F.relu(x, inplace=True)  # std/vgg.seg:9: [N, 512, (H + 5)//8 + 25, (W + 5)//8 + 25]
        pool4 = F.max_pool2d(x, 2, ceil_mode=True)  # [N, 512, (H + 5)//16 + 13, (W + 5)//16 + 13]
        x = F.relu(self.conv5_1(pool4), inplace=True)  # std/vgg.seg:8
        x = self.conv5_2(x)  # std/vgg.seg:9: [N, 512, (H + 5)//16 + 13, (W + 5)//16 + 13]
        x = F.relu(x, inplace=True)  # std/vgg.seg:9: [N, 512, (H + 5)//16 + 13, (W + 5)//16 + 13]
        x = self.conv5_3(x)  # std/vgg.seg:9: [N, 512, (H + 5)//16 + 13, (W + 5)//16 + 13]
        x = F.relu(x, inplace=True)  # std/vgg.seg:9: [N, 512, (H + 5)//16 + 13, (W + 5)//16 + 13]
        x = F.relu(self.fc6(F.max_pool2d(x, 2, ceil_mode=True)), inplace=True)  # 26
        x = F.relu(self.fc7(F.dropout2d(x, 0.5, self.training)), inplace=True)  # 27
        fc7 = F.dropout2d(x, 0.5, self.training)  # 27: [N, 4096, (H + 5)//32 + 1, (W + 5)//32 + 1]
        y = self.upscore2(self.score_fr(fc7))  # [N, 21, 2*((H + 5)//32) + 4, 2*((W + 5)//32) + 4]
        skip4 = crop(self.score_pool4(pool4), y.shape[-2:], 5, 5)  # 30
        y = self.upscore_pool4(y + skip4)  # 8: [N, 21, 4*((H + 5)//32) + 10, 4*((W + 5)//32) + 10]
        skip3 = crop(self.score_pool3(pool3), y.shape[-2:], 9, 9)  # 32
        y = self.upscore8(y + skip3)  # 8: [N, 21, 32*((H + 5)//32) + 88, 32*((W + 5)//32) + 88]
        scores = crop(y, image.shape[-2:], 31, 31)  # 33: [N, 21, H, W]
        return self.crfrnn(scores, rgb)  # 37: [N, 21, H, W]
