"""UNet: written by segdsl from specs/unet.seg.

U-Net in three forms:
`valid` is the paper's: nothing is padded, skips are cropped, 572 pixels become 388.  Every
pool must meet an even map, or the crops would be off by half a pixel.
`padded` is milesial's: zero padding and batch norm; an enlarged map is padded to its skip, so
any size from 2 ** depth works.
`same` has the weights of `padded` but pads no map: sizes divide by 2 ** depth.
`drop` is the dropout at the end of the contracting path; the paper's release has 0.5.
@paper arXiv:1505.04597
@code milesial/Pytorch-UNet unet/unet_model.py
@weights milesial/Pytorch-UNet unet_carvana_scale1.0_epoch2

input    image   float32[N, 1, H, W]
output   scores  float32[N, 2, 16*((H + 4)//16) - 188, 16*((W + 4)//16) - 188]

31,030,658 parameters. The numbers in comments are lines of the .seg file.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def centre_crop(x: Tensor, size: list[int]) -> Tensor:
    """The middle part of `x` of this size; an odd rest is cut off at the end."""
    height, width = x.shape[2] - size[0], x.shape[3] - size[1]
    top, left = height // 2, width // 2
    return F.pad(x, [-left, left - width, -top, top - height])


class DoubleConv(nn.Module):  # specs/unet.seg:5
    def __init__(self, cin: int, out: int):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(cin, out, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 3),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)  # 7


class Up(nn.Module):  # specs/unet.seg:16
    def __init__(self, deep_channels: int, skip_channels: int, out: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(deep_channels, out, 2, stride=2)
        self.conv = DoubleConv(skip_channels + out, out)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        up = self.up(deep)  # 17
        return self.conv(torch.cat([centre_crop(skip, up.shape[-2:]), up], dim=1))  # 21


class UNet(nn.Module):
    def __init__(self, classes: int = 2, width: int = 64, drop: float = 0.5):
        super().__init__()
        self.drop = drop
        self.inc = DoubleConv(1, width)
        self.down1 = nn.ModuleDict(
            {"maxpool_conv": nn.Sequential(nn.MaxPool2d(2), DoubleConv(width, 2 * width))}
        )
        self.down2 = nn.ModuleDict(
            {"maxpool_conv": nn.Sequential(nn.MaxPool2d(2), DoubleConv(2 * width, 4 * width))}
        )
        self.down3 = nn.ModuleDict(
            {"maxpool_conv": nn.Sequential(nn.MaxPool2d(2), DoubleConv(4 * width, 8 * width))}
        )
        self.down4 = nn.ModuleDict(
            {"maxpool_conv": nn.Sequential(nn.MaxPool2d(2), DoubleConv(8 * width, 16 * width))}
        )
        self.up1 = Up(16 * width, 8 * width, 8 * width)
        self.up2 = Up(8 * width, 4 * width, 4 * width)
        self.up3 = Up(4 * width, 2 * width, 2 * width)
        self.up4 = Up(2 * width, width, width)
        self.outc = nn.ModuleDict({"conv": nn.Conv2d(width, classes, 1)})

    def forward(self, image: Tensor) -> Tensor:
        x = self.inc(image)  # 46: [N, 64, H - 4, W - 4]
        down1 = self.down1["maxpool_conv"](x)  # 50: [N, 128, H//2 - 6, W//2 - 6]
        down2 = self.down2["maxpool_conv"](down1)  # 50: [N, 256, H//4 - 7, W//4 - 7]
        y = F.dropout(self.down3["maxpool_conv"](down2), self.drop, self.training)  # 52
        z = F.dropout(self.down4["maxpool_conv"](y), self.drop, self.training)  # 52
        y = self.up1(z, y)  # 57: [N, 512, 2*((H + 4)//16) - 20, 2*((W + 4)//16) - 20]
        y = self.up2(y, down2)  # 57: [N, 256, 4*((H + 4)//16) - 44, 4*((W + 4)//16) - 44]
        y = self.up3(y, down1)  # 57: [N, 128, 8*((H + 4)//16) - 92, 8*((W + 4)//16) - 92]
        return self.outc["conv"](self.up4(y, x))  # 59
