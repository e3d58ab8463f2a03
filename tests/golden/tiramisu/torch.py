"""Tiramisu: written by segdsl from specs/tiramisu.seg.

FC-DenseNet56, 67 and 103, the one hundred layers tiramisu.
The result are scores; some versions of bfortuner's port end in a log-softmax.  Dropout is of
single values, as in the paper's code; the port drops whole channels.
@paper arXiv:1611.09326
@code SimJeg/FC-DenseNet FC-DenseNet.py
@weights bfortuner/pytorch_tiramisu FCDenseNet57, FCDenseNet67, FCDenseNet103

input    image   float32[N, 3, H, W]
output   logits  float32[N, 11, H, W]

9,322,091 parameters. The numbers in comments are lines of the .seg file.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def centre_crop(x: Tensor, size: list[int]) -> Tensor:
    """The middle part of `x` of this size; an odd rest is cut off at the end."""
    height, width = x.shape[2] - size[0], x.shape[3] - size[1]
    top, left = height // 2, width // 2
    return F.pad(x, [-left, left - width, -top, top - height])


class Layer(nn.Module):  # specs/tiramisu.seg:15
    def __init__(self, cin: int, growth: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(cin)
        self.conv = nn.Conv2d(cin, growth, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.conv(F.relu(self.norm(x), inplace=True)), 0.2, self.training)  # 16


class Down(nn.Module):  # specs/tiramisu.seg:20
    def __init__(self, cin: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(cin)
        self.conv = nn.Conv2d(cin, cin, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.conv(F.relu(self.norm(x), inplace=True)), 0.2, self.training)  # 22
        return F.max_pool2d(x, 2)  # 22


class Up(nn.Module):  # specs/tiramisu.seg:26
    def __init__(self, cin: int):
        super().__init__()
        self.convTrans = nn.ConvTranspose2d(cin, cin, 3, stride=2)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        up = centre_crop(self.convTrans(x), skip.shape[-2:])  # 27
        return torch.cat([up, skip], dim=1)  # 28


class Dense(nn.Module):  # specs/tiramisu.seg:5
    def __init__(self, cin: int, n: int, growth: int):
        super().__init__()
        self.layers = nn.ModuleList([Layer(cin + i * growth, growth) for i in range(n)])

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.layers:  # 9
            maps.append(layer(torch.cat(maps, dim=1)))
        return torch.cat(maps, dim=1)  # 11


class Dense_2(nn.Module):  # specs/tiramisu.seg:5
    """`Dense` as it is at bottleneck.bottleneck, denseBlocksUp.0, denseBlocksUp.1,
    denseBlocksUp.2, denseBlocksUp.3.
    """

    def __init__(self, cin: int, n: int, growth: int):
        super().__init__()
        self.layers = nn.ModuleList([Layer(cin + i * growth, growth) for i in range(n)])

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.layers:  # 9
            maps.append(layer(torch.cat(maps, dim=1)))
        return torch.cat(maps[1:], dim=1)  # 11


class Tiramisu(nn.Module):
    def __init__(self, classes: int = 11):
        super().__init__()
        self.firstconv = nn.Conv2d(3, 48, 3, padding=1)
        self.denseBlocksDown = nn.ModuleList(
            [
                Dense(48, 4, 16),
                Dense(112, 5, 16),
                Dense(192, 7, 16),
                Dense(304, 10, 16),
                Dense(464, 12, 16),
            ]
        )
        self.transDownBlocks = nn.ModuleList([Down(n) for n in (112, 192, 304, 464, 656)])
        self.bottleneck = nn.ModuleDict({"bottleneck": Dense_2(656, 15, 16)})
        self.transUpBlocks = nn.ModuleList([Up(n) for n in (240, 192, 160, 112, 80)])
        self.denseBlocksUp = nn.ModuleList(
            [
                Dense_2(896, 12, 16),
                Dense_2(656, 10, 16),
                Dense_2(464, 7, 16),
                Dense_2(304, 5, 16),
                Dense(192, 4, 16),
            ]
        )
        self.finalConv = nn.Conv2d(256, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.firstconv(image)  # 45: [N, 48, H, W]
        denseBlocksDown0 = self.denseBlocksDown[0](x)  # 48: [N, 112, H, W]
        x = self.transDownBlocks[0](denseBlocksDown0)  # 49: [N, 112, H//2, W//2]
        denseBlocksDown1 = self.denseBlocksDown[1](x)  # 48: [N, 192, H//2, W//2]
        x = self.transDownBlocks[1](denseBlocksDown1)  # 49: [N, 192, H//4, W//4]
        denseBlocksDown2 = self.denseBlocksDown[2](x)  # 48: [N, 304, H//4, W//4]
        x = self.transDownBlocks[2](denseBlocksDown2)  # 49: [N, 304, H//8, W//8]
        denseBlocksDown3 = self.denseBlocksDown[3](x)  # 48: [N, 464, H//8, W//8]
        x = self.transDownBlocks[3](denseBlocksDown3)  # 49: [N, 464, H//16, W//16]
        denseBlocksDown4 = self.denseBlocksDown[4](x)  # 48: [N, 656, H//16, W//16]
        x = self.transDownBlocks[4](denseBlocksDown4)  # 49: [N, 656, H//32, W//32]
        x = self.bottleneck["bottleneck"](x)  # 52: [N, 240, H//32, W//32]
        x = self.transUpBlocks[0](x, denseBlocksDown4)  # 55: [N, 896, H//16, W//16]
        x = self.denseBlocksUp[0](x)  # 56: [N, 192, H//16, W//16]
        x = self.transUpBlocks[1](x, denseBlocksDown3)  # 55: [N, 656, H//8, W//8]
        x = self.denseBlocksUp[1](x)  # 56: [N, 160, H//8, W//8]
        x = self.transUpBlocks[2](x, denseBlocksDown2)  # 55: [N, 464, H//4, W//4]
        x = self.denseBlocksUp[2](x)  # 56: [N, 112, H//4, W//4]
        x = self.transUpBlocks[3](x, denseBlocksDown1)  # 55: [N, 304, H//2, W//2]
        x = self.denseBlocksUp[3](x)  # 56: [N, 80, H//2, W//2]
        x = self.transUpBlocks[4](x, denseBlocksDown0)  # 55: [N, 192, H, W]
        return self.finalConv(self.denseBlocksUp[4](x))  # 58: [N, 11, H, W]
