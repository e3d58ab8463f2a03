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

input    image   float32[N, 3, H, W]
output   scores  float32[N, 2, H, W]

31,037,698 parameters. The numbers in comments are lines of the .seg file.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pad_like(x: Tensor, size: list[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Pads `x` evenly to this size; an odd rest goes to the end."""
    height, width = size[0] - x.shape[2], size[1] - x.shape[3]
    top, left = height // 2, width // 2
    return F.pad(x, [left, width - left, top, height - top], mode, value)


class DoubleConv(nn.Module):  # specs/unet.seg:5
    def __init__(self, cin: int, out: int):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(cin, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)  # 10


class Up(nn.Module):  # specs/unet.seg:16
    def __init__(self, deep_channels: int, skip_channels: int, out: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(deep_channels, out, 2, stride=2)
        self.conv = DoubleConv(skip_channels + out, out)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        up = self.up(deep)  # 17
        return self.conv(torch.cat([skip, pad_like(up, skip.shape[-2:])], dim=1))  # 21


class UNet(nn.Module):
    def __init__(self, classes: int = 2, width: int = 64):
        super().__init__()
        self.inc = DoubleConv(3, width)
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
        x = self.inc(image)  # 46: [N, 64, H, W]
        down1 = self.down1["maxpool_conv"](x)  # 50: [N, 128, H//2, W//2]
        down2 = self.down2["maxpool_conv"](down1)  # 50: [N, 256, H//4, W//4]
        down3 = self.down3["maxpool_conv"](down2)  # 50: [N, 512, H//8, W//8]
        y = self.down4["maxpool_conv"](down3)  # 50: [N, 1024, H//16, W//16]
        y = self.up1(y, down3)  # 57: [N, 512, H//8, W//8]
        y = self.up2(y, down2)  # 57: [N, 256, H//4, W//4]
        y = self.up3(y, down1)  # 57: [N, 128, H//2, W//2]
        return self.outc["conv"](self.up4(y, x))  # 59: [N, 2, H, W]
