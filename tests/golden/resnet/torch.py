"""ResNet: written by segdsl from specs/resnet.seg.

ResNet-18, 34, 50, 101 and 152 for classification, with the names of torchvision.
@paper arXiv:1512.03385
@code pytorch/vision torchvision/models/resnet.py
@weights torchvision resnet18, resnet34, resnet50, resnet101, resnet152
@mean 0.485, 0.456, 0.406
@std 0.229, 0.224, 0.225

input    image   float32[N, 3, H, W]
output   logits  float32[N, 1000]

25,557,032 parameters. The numbers in comments are lines of the .seg file.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):  # std/resnet.seg:23
    def __init__(
        self, cin: int, planes: int, dilation: int, stride: int = 1, downsample: bool = False
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(
            planes, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(cin, 4 * planes, 1, stride=stride, bias=False), nn.BatchNorm2d(4 * planes)
            )
            if downsample
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)  # 27
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)  # 29
        y = self.bn3(self.conv3(y))  # 31
        skip = self.downsample(x)  # 34
        return F.relu(y + skip, inplace=True)  # 35


class Stage(nn.Sequential):  # std/resnet.seg:42
    def __init__(self, cin: int, planes: int, n: int, stride: int, first: int, dilation: int):
        super().__init__(
            Bottleneck(cin, planes, first, stride=stride, downsample=True),
            *(Bottleneck(4 * planes, planes, dilation) for _ in range(n - 1)),
        )


class ResNet(nn.Module):
    def __init__(self, classes: int = 1000):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = Stage(64, 64, 3, stride=1, first=1, dilation=1)
        self.layer2 = Stage(256, 128, 4, stride=2, first=1, dilation=1)
        self.layer3 = Stage(512, 256, 6, stride=2, first=1, dilation=1)
        self.layer4 = Stage(1024, 512, 3, stride=2, first=1, dilation=1)
        self.fc = nn.Linear(2048, classes)

    def forward(self, image: Tensor) -> Tensor:
        c1 = F.relu(self.bn1(self.conv1(image)), inplace=True)  # [N, 64, (H + 1)//2, (W + 1)//2]
        x = F.max_pool2d(c1, 3, stride=2, padding=1)  # [N, 64, (H + 3)//4, (W + 3)//4]
        x = self.layer1(x)  # std/resnet.seg:86: [N, 256, (H + 3)//4, (W + 3)//4]
        x = self.layer2(x)  # std/resnet.seg:86: [N, 512, (H + 7)//8, (W + 7)//8]
        x = self.layer3(x)  # std/resnet.seg:86: [N, 1024, (H + 15)//16, (W + 15)//16]
        x = F.adaptive_avg_pool2d(self.layer4(x), 1).flatten(1)  # 15: [N, 2048]
        return self.fc(x)  # 15: [N, 1000]
