"""UPerNet: written by segdsl from specs/upernet.seg.

UPerNet on a ResNet, as mmsegmentation's `upernet_r50`.  The auxiliary head works in training
only; its weights are in the file.
@paper arXiv:1807.10221
@code open-mmlab/mmsegmentation configs/upernet
@weights mmsegmentation upernet_r50_512x512_160k_ade20k, upernet_r101_512x512_160k_ade20k

input    image       float32[N, 3, H, W]
output   scores      float32[N, 150, H, W]
output   aux_scores  float32[N, 150, H, W]  (in training only)

66,516,108 parameters. The numbers in comments are lines of the .seg file.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UPerNetOutputs(NamedTuple):
    scores: Tensor
    aux_scores: Tensor | None


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


class ConvModule(nn.Module):  # std/upernet.seg:4
    def __init__(self, cin: int, out: int, kernel: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(cin, out, kernel, padding=(kernel - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)  # 5


class Stage(nn.Sequential):  # std/resnet.seg:42
    def __init__(
        self, cin: int, planes: int, n: int, stride: int = 1, first: int = 1, dilation: int = 1
    ):
        super().__init__(
            Bottleneck(cin, planes, first, stride=stride, downsample=True),
            *(Bottleneck(4 * planes, planes, dilation) for _ in range(n - 1)),
        )


class UPerHead(nn.Module):  # std/upernet.seg:26
    def __init__(self, cin: int, classes: int, channels: int):
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, classes, 1)
        self.psp_modules = nn.ModuleList(
            [
                nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvModule(cin, channels, kernel=1)),
                nn.Sequential(nn.AdaptiveAvgPool2d(2), ConvModule(cin, channels, kernel=1)),
                nn.Sequential(nn.AdaptiveAvgPool2d(3), ConvModule(cin, channels, kernel=1)),
                nn.Sequential(nn.AdaptiveAvgPool2d(6), ConvModule(cin, channels, kernel=1)),
            ]
        )
        self.bottleneck = ConvModule(cin + 4 * channels, channels)
        self.lateral_convs = nn.ModuleList(
            [ConvModule(n, channels, kernel=1) for n in (256, 512, 1024)]
        )
        self.fpn_convs = nn.ModuleList([ConvModule(channels, channels) for _ in range(3)])
        self.fpn_bottleneck = ConvModule(4 * channels, channels)

    def forward(self, levels0: Tensor, levels1: Tensor, levels2: Tensor, levels3: Tensor) -> Tensor:
        x = self.psp_modules[0](levels3)  # 14: [N, 512, 1, 1]
        x = F.interpolate(x, size=levels3.shape[-2:], mode="bilinear", align_corners=False)  # 16
        y = self.psp_modules[1](levels3)  # 14: [N, 512, 2, 2]
        y = F.interpolate(y, size=levels3.shape[-2:], mode="bilinear", align_corners=False)  # 16
        z = self.psp_modules[2](levels3)  # 14: [N, 512, 3, 3]
        z = F.interpolate(z, size=levels3.shape[-2:], mode="bilinear", align_corners=False)  # 16
        x2 = self.psp_modules[3](levels3)  # 14: [N, 512, 6, 6]
        x2 = F.interpolate(x2, size=levels3.shape[-2:], mode="bilinear", align_corners=False)  # 16
        bottleneck = self.bottleneck(torch.cat([levels3, x, y, z, x2], dim=1))  # 18
        lateral_convs0 = self.lateral_convs[0](levels0)  # 32: [N, 512, (H + 3)//4, (W + 3)//4]
        lateral_convs1 = self.lateral_convs[1](levels1)  # 32: [N, 512, (H + 7)//8, (W + 7)//8]
        lateral_convs2 = self.lateral_convs[2](levels2)  # 32: [N, 512, (H + 15)//16, (W + 15)//16]
        x = F.interpolate(  # 37: [N, 512, (H + 15)//16, (W + 15)//16]
            bottleneck, size=lateral_convs2.shape[-2:], mode="bilinear", align_corners=False
        )
        x = lateral_convs2 + x  # 37: [N, 512, (H + 15)//16, (W + 15)//16]
        y = F.interpolate(x, size=lateral_convs1.shape[-2:], mode="bilinear", align_corners=False)
        y = lateral_convs1 + y  # 37: [N, 512, (H + 7)//8, (W + 7)//8]
        z = F.interpolate(y, size=lateral_convs0.shape[-2:], mode="bilinear", align_corners=False)
        z = lateral_convs0 + z  # 37: [N, 512, (H + 3)//4, (W + 3)//4]
        fpn_convs0 = self.fpn_convs[0](z)  # 40: [N, 512, (H + 3)//4, (W + 3)//4]
        y = self.fpn_convs[1](y)  # 40: [N, 512, (H + 7)//8, (W + 7)//8]
        x = self.fpn_convs[2](x)  # 40: [N, 512, (H + 15)//16, (W + 15)//16]
        y = F.interpolate(y, size=fpn_convs0.shape[-2:], mode="bilinear", align_corners=False)  # 44
        x = F.interpolate(x, size=fpn_convs0.shape[-2:], mode="bilinear", align_corners=False)  # 44
        z = F.interpolate(  # 45: [N, 512, (H + 3)//4, (W + 3)//4]
            bottleneck, size=fpn_convs0.shape[-2:], mode="bilinear", align_corners=False
        )
        x = self.fpn_bottleneck(torch.cat([fpn_convs0, y, x, z], dim=1))  # 47
        return self.conv_seg(F.dropout2d(x, 0.1, self.training))  # [N, 150, (H + 3)//4, (W + 3)//4]


class AuxHead(nn.Module):  # std/upernet.seg:54
    def __init__(self, cin: int, classes: int, channels: int = 256):
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, classes, 1)
        self.convs = nn.Sequential(ConvModule(cin, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout2d(self.convs(x), 0.1, self.training)  # [N, 256, (H + 15)//16, (W + 15)//16]
        return self.conv_seg(x)  # 56: [N, 150, (H + 15)//16, (W + 15)//16]


class ResNetV1c(nn.Module):  # specs/upernet.seg:7
    def __init__(self, cin: int):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(cin, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
        )
        self.layer1 = Stage(64, 64, 3)
        self.layer2 = Stage(256, 128, 4, stride=2)
        self.layer3 = Stage(512, 256, 6, stride=2)
        self.layer4 = Stage(1024, 512, 3, stride=2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        stem = F.max_pool2d(self.stem(image), 3, stride=2, padding=1)  # 14
        c2 = self.layer1(stem)  # 15: [N, 256, (H + 3)//4, (W + 3)//4]
        c3 = self.layer2(c2)  # 16: [N, 512, (H + 7)//8, (W + 7)//8]
        c4 = self.layer3(c3)  # 17: [N, 1024, (H + 15)//16, (W + 15)//16]
        c5 = self.layer4(c4)  # 18: [N, 2048, (H + 31)//32, (W + 31)//32]
        return c2, c3, c4, c5


class UPerNet(nn.Module):
    def __init__(self, classes: int = 150):
        super().__init__()
        self.backbone = ResNetV1c(3)
        self.decode_head = UPerHead(2048, classes, 512)
        self.auxiliary_head = AuxHead(1024, classes)

    def forward(self, image: Tensor) -> UPerNetOutputs:
        c2, c3, c4, c5 = self.backbone(image)  # 30: [N, 256, (H + 3)//4, (W + 3)//4]
        x = self.decode_head(c2, c3, c4, c5)  # 34: [N, 150, (H + 3)//4, (W + 3)//4]
        scores = F.interpolate(x, size=image.shape[-2:], mode="bilinear", align_corners=False)  # 34
        aux_scores: Tensor | None = None
        if self.training:
            x = self.auxiliary_head(c4)  # 38: [N, 150, (H + 15)//16, (W + 15)//16]
            aux_scores2 = F.interpolate(  # 38: [N, 150, H, W]
                x, size=image.shape[-2:], mode="bilinear", align_corners=False
            )
            aux_scores = aux_scores2
        return UPerNetOutputs(scores, aux_scores)
