"""UPerNetInternImage: written by segdsl from specs/upernet_internimage.seg.

UPerNet on InternImage, as the release trained it on ADE20K.  The auxiliary head works in
training only; its weights are in the file.
@paper arXiv:2211.05778
@code OpenGVLab/InternImage segmentation/configs/ade20k
@weights OpenGVLab/InternImage upernet_internimage_t_512_160k_ade20k,
  upernet_internimage_s_512_160k_ade20k, upernet_internimage_b_512_160k_ade20k,
  upernet_internimage_l_640_160k_ade20k, upernet_internimage_xl_640_160k_ade20k,
  upernet_internimage_h_896_160k_ade20k

input    image       float32[N, 3, H, W]
output   scores      float32[N, 150, H, W]
output   aux_scores  float32[N, 150, H, W]  (in training only)

59,077,148 parameters. The numbers in comments are lines of the .seg file.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Normalises the channels at each pixel of [N, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.permute(0, 2, 3, 1)
        y = F.layer_norm(y, self.normalized_shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)


def drop_path(x: Tensor, p: float, training: bool) -> Tensor:
    """Stochastic depth: zeroes whole images of the batch at random."""
    if not training or p == 0.0:
        return x
    shape = [x.shape[0]] + [1] * (x.dim() - 1)
    noise = torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(1.0 - p)
    return x * noise.div_(1.0 - p)


# Here stands `bilinear_sum`.


# Here stands `dcnv3_core`.


class UPerNetInternImageOutputs(NamedTuple):
    scores: Tensor
    aux_scores: Tensor | None


class Stem(nn.Module):  # std/internimage.seg:99
    def __init__(self, cin: int, out: int):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, out // 2, 3, stride=2, padding=1)
        self.norm1 = nn.ModuleDict({"1": LayerNorm2d(out // 2, eps=1e-06)})
        self.conv2 = nn.Conv2d(out // 2, out, 3, stride=2, padding=1)
        self.norm2 = nn.ModuleDict({"1": LayerNorm2d(out, eps=1e-06)})

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1["1"](self.conv1(x)))  # 100: [N, 32, (H + 1)//2, (W + 1)//2]
        return self.norm2["1"](self.conv2(x))  # 101: [N, 64, (H + 3)//4, (W + 3)//4]


class DCNv3(nn.Module):  # std/dcn.seg:27
    def __init__(
        self,
        cin: int,
        groups: int,
        offset_scale: float,
        stride: int = 1,
        softmax: bool = True,
        remove_center: bool = False,
    ):
        super().__init__()
        self.groups = groups
        self.offset_scale = offset_scale
        self.softmax = softmax
        self.remove_center = remove_center
        self.dw_conv = nn.ModuleList(
            [
                nn.Conv2d(cin, cin, 3, stride=stride, padding=1, groups=cin),
                nn.ModuleDict({"1": LayerNorm2d(cin, eps=1e-06)}),
            ]
        )
        self.offset = nn.Linear(cin, 18 * groups)
        self.mask = nn.Linear(cin, 9 * groups)
        self.input_proj = nn.Linear(cin, cin)
        self.output_proj = nn.Linear(cin, cin)

    def forward(self, x: Tensor) -> Tensor:
        f = F.gelu(self.dw_conv[1]["1"](self.dw_conv[0](x)))  # 12
        moved = self.offset(f.movedim(1, -1)).movedim(-1, 1)  # 13
        mask = self.mask(f.movedim(1, -1)).movedim(-1, 1)  # 14
        v = self.input_proj(x.movedim(1, -1)).movedim(-1, 1)  # 15
        s = dcnv3_core(  # 16
            v,
            moved,
            mask,
            groups=self.groups,
            offset_scale=self.offset_scale,
            softmax=self.softmax,
            remove_center=self.remove_center,
        )
        return self.output_proj(s.movedim(1, -1)).movedim(-1, 1)  # 53


class Mlp(nn.Module):  # std/internimage.seg:6
    def __init__(self, cin: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(cin, hidden)
        self.fc2 = nn.Linear(hidden, cin)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.fc1(x.movedim(1, -1)).movedim(-1, 1))  # 8
        return self.fc2(x.movedim(1, -1)).movedim(-1, 1)  # 9


class Downsample(nn.Module):  # std/internimage.seg:105
    def __init__(self, cin: int):
        super().__init__()
        self.conv = nn.Conv2d(cin, 2 * cin, 3, stride=2, padding=1, bias=False)
        self.norm = nn.ModuleDict({"1": LayerNorm2d(2 * cin, eps=1e-06)})

    def forward(self, x: Tensor) -> Tensor:
        return self.norm["1"](self.conv(x))  # 106


class ConvModule(nn.Module):  # std/upernet.seg:4
    def __init__(self, cin: int, out: int, kernel: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(cin, out, kernel, padding=(kernel - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)  # 5


class InternLayer(nn.Module):  # std/internimage.seg:30
    def __init__(self, cin: int, groups: int, offset_scale: float, drop: float):
        super().__init__()
        self.drop = drop
        self.norm1 = nn.Sequential(LayerNorm2d(cin, eps=1e-06))
        self.dcn = DCNv3(cin, groups, offset_scale)
        self.norm2 = nn.Sequential(LayerNorm2d(cin, eps=1e-06))
        self.mlp = Mlp(cin, 4 * cin)
        self.gamma1 = nn.Parameter(torch.zeros(cin))
        self.gamma2 = nn.Parameter(torch.zeros(cin))

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)  # 50
        f = self.dcn(norm1) * self.gamma1.reshape(1, -1, 1, 1)  # 18
        f = drop_path(f, self.drop, self.training)  # 21
        z = x + f  # 55
        norm2 = self.norm2(z)  # 60
        f = self.mlp(norm2) * self.gamma2.reshape(1, -1, 1, 1)  # 18
        f = drop_path(f, self.drop, self.training)  # 21
        return z + f  # 65


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
            [ConvModule(n, channels, kernel=1) for n in (64, 128, 256)]
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
    def __init__(self, cin: int, classes: int, channels: int):
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, classes, 1)
        self.convs = nn.Sequential(ConvModule(cin, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout2d(self.convs(x), 0.1, self.training)  # [N, 256, (H + 15)//16, (W + 15)//16]
        return self.conv_seg(x)  # 56: [N, 150, (H + 15)//16, (W + 15)//16]


class Level(nn.Module):  # std/internimage.seg:71
    def __init__(self, cin: int, groups: int, offset_scale: float):
        super().__init__()
        self.blocks = nn.Sequential(
            InternLayer(cin, groups, offset_scale, drop=0.1793103448275862),
            InternLayer(cin, groups, offset_scale, drop=0.18620689655172415),
            InternLayer(cin, groups, offset_scale, drop=0.1931034482758621),
            InternLayer(cin, groups, offset_scale, drop=0.2),
        )
        self.norm = nn.Sequential(LayerNorm2d(cin, eps=1e-06))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.blocks(x))  # 93: [N, 512, (H + 31)//32, (W + 31)//32]


class InternImage(nn.Module):  # std/internimage.seg:115
    def __init__(self, cin: int):
        super().__init__()
        self.patch_embed = Stem(cin, 64)
        self.levels = nn.ModuleList(
            [
                nn.ModuleDict(
                    {
                        "blocks": nn.Sequential(
                            InternLayer(64, 4, 1.0, drop=0.0),
                            InternLayer(64, 4, 1.0, drop=0.006896551724137932),
                            InternLayer(64, 4, 1.0, drop=0.013793103448275864),
                            InternLayer(64, 4, 1.0, drop=0.020689655172413796),
                        ),
                        "norm": nn.Sequential(LayerNorm2d(64, eps=1e-06)),
                        "downsample": Downsample(64),
                    }
                ),
                nn.ModuleDict(
                    {
                        "blocks": nn.Sequential(
                            InternLayer(128, 8, 1.0, drop=0.027586206896551727),
                            InternLayer(128, 8, 1.0, drop=0.034482758620689655),
                            InternLayer(128, 8, 1.0, drop=0.04137931034482759),
                            InternLayer(128, 8, 1.0, drop=0.048275862068965524),
                        ),
                        "norm": nn.Sequential(LayerNorm2d(128, eps=1e-06)),
                        "downsample": Downsample(128),
                    }
                ),
                nn.ModuleDict(
                    {
                        "blocks": nn.Sequential(
                            InternLayer(256, 16, 1.0, drop=0.055172413793103454),
                            InternLayer(256, 16, 1.0, drop=0.06206896551724138),
                            InternLayer(256, 16, 1.0, drop=0.06896551724137931),
                            InternLayer(256, 16, 1.0, drop=0.07586206896551725),
                            InternLayer(256, 16, 1.0, drop=0.08275862068965519),
                            InternLayer(256, 16, 1.0, drop=0.0896551724137931),
                            InternLayer(256, 16, 1.0, drop=0.09655172413793105),
                            InternLayer(256, 16, 1.0, drop=0.10344827586206896),
                            InternLayer(256, 16, 1.0, drop=0.11034482758620691),
                            InternLayer(256, 16, 1.0, drop=0.11724137931034484),
                            InternLayer(256, 16, 1.0, drop=0.12413793103448276),
                            InternLayer(256, 16, 1.0, drop=0.1310344827586207),
                            InternLayer(256, 16, 1.0, drop=0.13793103448275862),
                            InternLayer(256, 16, 1.0, drop=0.14482758620689656),
                            InternLayer(256, 16, 1.0, drop=0.1517241379310345),
                            InternLayer(256, 16, 1.0, drop=0.15862068965517243),
                            InternLayer(256, 16, 1.0, drop=0.16551724137931037),
                            InternLayer(256, 16, 1.0, drop=0.1724137931034483),
                        ),
                        "norm": nn.Sequential(LayerNorm2d(256, eps=1e-06)),
                        "downsample": Downsample(256),
                    }
                ),
                Level(512, 32, 1.0),
            ]
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.patch_embed(image)  # 146: [N, 64, (H + 3)//4, (W + 3)//4]
        f = self.levels[0]["norm"](self.levels[0]["blocks"](x))  # [N, 64, (H + 3)//4, (W + 3)//4]
        x = self.levels[0]["downsample"](f)  # 157: [N, 128, (H + 7)//8, (W + 7)//8]
        f2 = self.levels[1]["norm"](self.levels[1]["blocks"](x))  # [N, 128, (H + 7)//8, (W + 7)//8]
        x = self.levels[1]["downsample"](f2)  # 157: [N, 256, (H + 15)//16, (W + 15)//16]
        f3 = self.levels[2]["norm"](self.levels[2]["blocks"](x))  # 93
        c5 = self.levels[3](self.levels[2]["downsample"](f3))  # 151
        return f, f2, f3, c5


class UPerNetInternImage(nn.Module):
    def __init__(self, classes: int = 150, width: int = 512):
        super().__init__()
        self.backbone = InternImage(3)
        self.decode_head = UPerHead(512, classes, width)
        self.auxiliary_head = AuxHead(256, classes, width // 2)

    def forward(self, image: Tensor) -> UPerNetInternImageOutputs:
        c2, c3, c4, c5 = self.backbone(image)  # 22: [N, 64, (H + 3)//4, (W + 3)//4]
        x = self.decode_head(c2, c3, c4, c5)  # 26: [N, 150, (H + 3)//4, (W + 3)//4]
        scores = F.interpolate(x, size=image.shape[-2:], mode="bilinear", align_corners=False)  # 27
        aux_scores: Tensor | None = None
        if self.training:
            x = self.auxiliary_head(c4)  # 31: [N, 150, (H + 15)//16, (W + 15)//16]
            aux_scores2 = F.interpolate(  # 31: [N, 150, H, W]
                x, size=image.shape[-2:], mode="bilinear", align_corners=False
            )
            aux_scores = aux_scores2
        return UPerNetInternImageOutputs(scores, aux_scores)
