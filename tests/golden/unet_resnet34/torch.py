"""UNetResNet34: written by segdsl from specs/unet_resnet34.seg.

U-Net with a ResNet-34 encoder, as segmentation_models_pytorch's `Unet('resnet34')`: a map is
enlarged to its skip by repeating pixels, so any size works.
@paper arXiv:1505.04597
@code qubvel-org/segmentation_models.pytorch decoders/unet/decoder.py
@weights segmentation_models_pytorch Unet resnet34
@mean 0.485, 0.456, 0.406
@std 0.229, 0.224, 0.225

input    image   float32[N, 3, H, W]
output   scores  float32[N, 21, H, W]

24,439,269 parameters. The numbers in comments are lines of the .seg file.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Basic(nn.Module):  # std/resnet.seg:4
    def __init__(
        self, cin: int, planes: int, dilation: int, stride: int = 1, downsample: bool = False
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(
            cin, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(cin, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes)
            )
            if downsample
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)  # 8
        y = self.bn2(self.conv2(y))  # 10
        skip = self.downsample(x)  # 13
        return F.relu(y + skip, inplace=True)  # 14


class ConvBNReLU(nn.Sequential):  # std/blocks.seg:5
    def __init__(self, cin: int, out: int, kernel: int = 3, stride: int = 1, dilation: int = 1):
        super().__init__(
            nn.Conv2d(
                cin,
                out,
                kernel,
                stride=stride,
                padding=dilation * (kernel - 1) // 2,
                dilation=dilation,
                bias=False,
            ),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        )


class Stage(nn.Sequential):  # std/resnet.seg:42
    def __init__(
        self,
        cin: int,
        planes: int,
        n: int,
        stride: int,
        first: int,
        dilation: int,
        downsample: bool,
    ):
        super().__init__(
            Basic(cin, planes, first, stride=stride, downsample=downsample),
            *(Basic(planes, planes, dilation) for _ in range(n - 1)),
        )


class Up(nn.Module):  # specs/unet_resnet34.seg:7
    def __init__(self, x_channels: int, skip_channels: int, out: int):
        super().__init__()
        self.conv1 = ConvBNReLU(x_channels + skip_channels, out)
        self.conv2 = ConvBNReLU(out, out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        up = F.interpolate(x, size=skip.shape[-2:], mode="nearest")  # 8
        x = self.conv1(torch.cat([up, skip], dim=1))  # 10
        return self.conv2(x)  # 10


class Last(nn.Module):  # specs/unet_resnet34.seg:14
    def __init__(self, cin: int, out: int):
        super().__init__()
        self.conv1 = ConvBNReLU(cin, out)
        self.conv2 = ConvBNReLU(out, out)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        x = self.conv1(F.interpolate(x, size=image.shape[-2:], mode="nearest"))  # 15: [N, 16, H, W]
        return self.conv2(x)  # 15: [N, 16, H, W]


class ResNet(nn.Module):  # std/resnet.seg:55
    def __init__(self, cin: int):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = Stage(64, 64, 3, stride=1, first=1, dilation=1, downsample=False)
        self.layer2 = Stage(64, 128, 4, stride=2, first=1, dilation=1, downsample=True)
        self.layer3 = Stage(128, 256, 6, stride=2, first=1, dilation=1, downsample=True)
        self.layer4 = Stage(256, 512, 3, stride=2, first=1, dilation=1, downsample=True)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        c1 = F.relu(self.bn1(self.conv1(image)), inplace=True)  # [N, 64, (H + 1)//2, (W + 1)//2]
        x = F.max_pool2d(c1, 3, stride=2, padding=1)  # 73: [N, 64, (H + 3)//4, (W + 3)//4]
        c2 = self.layer1(x)  # 86: [N, 64, (H + 3)//4, (W + 3)//4]
        c3 = self.layer2(c2)  # 86: [N, 128, (H + 7)//8, (W + 7)//8]
        c4 = self.layer3(c3)  # 86: [N, 256, (H + 15)//16, (W + 15)//16]
        c5 = self.layer4(c4)  # 86: [N, 512, (H + 31)//32, (W + 31)//32]
        return c1, c2, c3, c4, c5


class UNetResNet34(nn.Module):
    def __init__(self, classes: int = 21, width: int = 16):
        super().__init__()
        self.encoder = ResNet(3)
        self.decoder = nn.ModuleDict(
            {
                "blocks": nn.ModuleList(
                    [
                        Up(512, 256, 16 * width),
                        Up(16 * width, 128, 8 * width),
                        Up(8 * width, 64, 4 * width),
                        Up(4 * width, 64, 2 * width),
                        Last(2 * width, width),
                    ]
                )
            }
        )
        self.segmentation_head = nn.Sequential(nn.Conv2d(width, classes, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        c1, c2, c3, c4, c5 = self.encoder(image)  # 28: [N, 64, (H + 1)//2, (W + 1)//2]
        x = self.decoder["blocks"][0](c5, c4)  # 32: [N, 256, (H + 15)//16, (W + 15)//16]
        x = self.decoder["blocks"][1](x, c3)  # 32: [N, 128, (H + 7)//8, (W + 7)//8]
        x = self.decoder["blocks"][2](x, c2)  # 32: [N, 64, (H + 3)//4, (W + 3)//4]
        x = self.decoder["blocks"][3](x, c1)  # 32: [N, 32, (H + 1)//2, (W + 1)//2]
        x = self.decoder["blocks"][4](x, image)  # 34: [N, 16, H, W]
        return self.segmentation_head(x)  # 36: [N, 21, H, W]
