"""DCNResNet50: written by segdsl from specs/dcn_resnet50.seg.

ResNet-50 with deformable 3x3 convolutions in the stages where `deform` is true, as
mmdetection's `dconv_c3-c5` (version 1) and, `modulated`, `mdconv_c3-c5` (version 2).  Its
weights are under `backbone` in the files of detectors, without `fc`.
@paper arXiv:1703.06211, arXiv:1811.11168
@code open-mmlab/mmdetection mmdet/models/backbones/resnet.py
@weights mmdetection faster_rcnn_r50_fpn_dconv_c3-c5_1x_coco,
  faster_rcnn_r50_fpn_mdconv_c3-c5_1x_coco

input    image   float32[N, 3, H, W]
output   logits  float32[N, 1000]

26,137,874 parameters. The numbers in comments are lines of the .seg file.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# Here stands `bilinear_sum`.


# Here stands `DeformConv2d`.


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


class DeformBottleneck(nn.Module):  # specs/dcn_resnet50.seg:7
    def __init__(self, cin: int, planes: int, stride: int = 1, downsample: bool = False):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = DeformConv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.conv2.conv_offset = nn.Conv2d(planes, 18, 3, stride=stride, padding=1)
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
        narrow = F.relu(self.bn1(self.conv1(x)), inplace=True)  # 9
        moved = self.conv2.conv_offset(narrow)  # std/dcn.seg:64
        y = self.conv2(narrow, moved)  # std/dcn.seg:66
        out = self.bn3(self.conv3(F.relu(self.bn2(y), inplace=True)))  # 15
        skip = self.downsample(x)  # 17
        return F.relu(out + skip, inplace=True)  # 18


class Stage(nn.Sequential):  # std/resnet.seg:42
    def __init__(
        self, cin: int, planes: int, n: int, stride: int, first: int = 1, dilation: int = 1
    ):
        super().__init__(
            Bottleneck(cin, planes, first, stride=stride, downsample=True),
            *(Bottleneck(4 * planes, planes, dilation) for _ in range(n - 1)),
        )


class DeformStage(nn.Sequential):  # specs/dcn_resnet50.seg:25
    def __init__(self, cin: int, planes: int, n: int, stride: int):
        super().__init__(
            DeformBottleneck(cin, planes, stride=stride, downsample=True),
            *(DeformBottleneck(4 * planes, planes) for _ in range(n - 1)),
        )


class DCNResNet50(nn.Module):
    def __init__(self, classes: int = 1000):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = Stage(64, 64, 3, stride=1)
        self.layer2 = DeformStage(256, 128, 4, stride=2)
        self.layer3 = DeformStage(512, 256, 6, stride=2)
        self.layer4 = DeformStage(1024, 512, 3, stride=2)
        self.fc = nn.Linear(2048, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(image)), inplace=True)  # 43: [N, 64, (H + 1)//2, (W + 1)//2]
        x = F.max_pool2d(x, 3, stride=2, padding=1)  # 44: [N, 64, (H + 3)//4, (W + 3)//4]
        x = self.layer1(x)  # 50: [N, 256, (H + 3)//4, (W + 3)//4]
        x = self.layer2(x)  # 48: [N, 512, (H + 7)//8, (W + 7)//8]
        x = self.layer3(x)  # 48: [N, 1024, (H + 15)//16, (W + 15)//16]
        c5 = self.layer4(x)  # 48: [N, 2048, (H + 31)//32, (W + 31)//32]
        return self.fc(F.adaptive_avg_pool2d(c5, 1).flatten(1))  # 54: [N, 1000]
