"""FCNResNet: written by segdsl from specs/fcn_resnet50.seg.

FCN on a dilated ResNet-50, as torchvision's `fcn_resnet50`: scores at stride 8, enlarged to
the image.
Published weights hold the auxiliary head; `aux=false` leaves it out.
@paper arXiv:1411.4038
@code pytorch/vision torchvision/models/segmentation/fcn.py
@weights torchvision fcn_resnet50, fcn_resnet101
@mean 0.485, 0.456, 0.406
@std 0.229, 0.224, 0.225

input    image    float32[N, 3, H, W]
output   out      float32[N, 21, H, W]
output   aux_out  float32[N, 21, H, W]

35,322,218 parameters. The numbers in comments are lines of the .seg file.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FCNResNetOutputs(NamedTuple):
    out: Tensor
    aux_out: Tensor


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


class FCNHead(nn.Sequential):  # std/fcn.seg:5
    def __init__(self, cin: int, classes: int):
        super().__init__(
            nn.Conv2d(cin, cin // 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(cin // 4),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(cin // 4, classes, 1),
        )


class Stage(nn.Sequential):  # std/resnet.seg:42
    def __init__(self, cin: int, planes: int, n: int, stride: int, first: int, dilation: int):
        super().__init__(
            Bottleneck(cin, planes, first, stride=stride, downsample=True),
            *(Bottleneck(4 * planes, planes, dilation) for _ in range(n - 1)),
        )


class ResNet(nn.Module):  # std/resnet.seg:55
    def __init__(self, cin: int):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = Stage(64, 64, 3, stride=1, first=1, dilation=1)
        self.layer2 = Stage(256, 128, 4, stride=2, first=1, dilation=1)
        self.layer3 = Stage(512, 256, 6, stride=1, first=1, dilation=2)
        self.layer4 = Stage(1024, 512, 3, stride=1, first=2, dilation=4)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        c1 = F.relu(self.bn1(self.conv1(image)), inplace=True)  # [N, 64, (H + 1)//2, (W + 1)//2]
        x = F.max_pool2d(c1, 3, stride=2, padding=1)  # 73: [N, 64, (H + 3)//4, (W + 3)//4]
        x = self.layer1(x)  # 86: [N, 256, (H + 3)//4, (W + 3)//4]
        c4 = self.layer3(self.layer2(x))  # 86: [N, 1024, (H + 7)//8, (W + 7)//8]
        c5 = self.layer4(c4)  # 86: [N, 2048, (H + 7)//8, (W + 7)//8]
        return c4, c5


class FCNResNet(nn.Module):
    def __init__(self, classes: int = 21):
        super().__init__()
        self.backbone = ResNet(3)
        self.classifier = FCNHead(2048, classes)
        self.aux_classifier = FCNHead(1024, classes)

    def forward(self, image: Tensor) -> FCNResNetOutputs:
        c4, c5 = self.backbone(image)  # 18: [N, 1024, (H + 7)//8, (W + 7)//8]
        x = self.classifier(c5)  # 22: [N, 21, (H + 7)//8, (W + 7)//8]
        out = F.interpolate(x, size=image.shape[-2:], mode="bilinear", align_corners=False)  # 22
        x = self.aux_classifier(c4)  # 26: [N, 21, (H + 7)//8, (W + 7)//8]
        aux_out = F.interpolate(x, size=image.shape[-2:], mode="bilinear", align_corners=False)
        return FCNResNetOutputs(out, aux_out)
