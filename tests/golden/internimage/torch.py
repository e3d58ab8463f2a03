"""InternImage: written by segdsl from specs/internimage.seg.

InternImage for classification in the published sizes, with the names of the release.
`channels` and `depths` make another size of the same kind.
@paper arXiv:2211.05778
@code OpenGVLab/InternImage classification/models/intern_image.py
@weights OpenGVLab/InternImage internimage_t_1k_224, internimage_s_1k_224, internimage_b_1k_224,
  internimage_l_22kto1k_384, internimage_xl_22kto1k_384, internimage_h_22kto1k_640

input    image   float32[N, 3, H, W]
output   scores  float32[N, 1000]

29,918,424 parameters. The numbers in comments are lines of the .seg file.
"""

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


class InternLayer(nn.Module):  # std/internimage.seg:30
    def __init__(self, cin: int, groups: int, offset_scale: float, drop: float):
        super().__init__()
        self.drop = drop
        self.norm1 = nn.Sequential(LayerNorm2d(cin, eps=1e-06))
        self.dcn = DCNv3(cin, groups, offset_scale)
        self.norm2 = nn.Sequential(LayerNorm2d(cin, eps=1e-06))
        self.mlp = Mlp(cin, 4 * cin)

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)  # 50
        f = drop_path(self.dcn(norm1), self.drop, self.training)  # 21
        z = x + f  # 55
        norm2 = self.norm2(z)  # 60
        f = drop_path(self.mlp(norm2), self.drop, self.training)  # 21
        return z + f  # 65


class Level(nn.Module):  # std/internimage.seg:71
    def __init__(self, cin: int, groups: int, offset_scale: float):
        super().__init__()
        self.blocks = nn.Sequential(
            InternLayer(cin, groups, offset_scale, drop=0.0896551724137931),
            InternLayer(cin, groups, offset_scale, drop=0.09310344827586207),
            InternLayer(cin, groups, offset_scale, drop=0.09655172413793105),
            InternLayer(cin, groups, offset_scale, drop=0.1),
        )
        self.norm = nn.Sequential(LayerNorm2d(cin, eps=1e-06))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.blocks(x))  # 93: [N, 512, (H + 31)//32, (W + 31)//32]


class InternImage(nn.Module):
    def __init__(self, classes: int = 1000):
        super().__init__()
        self.patch_embed = Stem(3, 64)
        self.levels = nn.ModuleList(
            [
                nn.ModuleDict(
                    {
                        "blocks": nn.Sequential(
                            InternLayer(64, 4, 1.0, drop=0.0),
                            InternLayer(64, 4, 1.0, drop=0.003448275862068966),
                            InternLayer(64, 4, 1.0, drop=0.006896551724137932),
                            InternLayer(64, 4, 1.0, drop=0.010344827586206898),
                        ),
                        "norm": nn.Sequential(LayerNorm2d(64, eps=1e-06)),
                        "downsample": Downsample(64),
                    }
                ),
                nn.ModuleDict(
                    {
                        "blocks": nn.Sequential(
                            InternLayer(128, 8, 1.0, drop=0.013793103448275864),
                            InternLayer(128, 8, 1.0, drop=0.017241379310344827),
                            InternLayer(128, 8, 1.0, drop=0.020689655172413796),
                            InternLayer(128, 8, 1.0, drop=0.024137931034482762),
                        ),
                        "norm": nn.Sequential(LayerNorm2d(128, eps=1e-06)),
                        "downsample": Downsample(128),
                    }
                ),
                nn.ModuleDict(
                    {
                        "blocks": nn.Sequential(
                            InternLayer(256, 16, 1.0, drop=0.027586206896551727),
                            InternLayer(256, 16, 1.0, drop=0.03103448275862069),
                            InternLayer(256, 16, 1.0, drop=0.034482758620689655),
                            InternLayer(256, 16, 1.0, drop=0.03793103448275863),
                            InternLayer(256, 16, 1.0, drop=0.04137931034482759),
                            InternLayer(256, 16, 1.0, drop=0.04482758620689655),
                            InternLayer(256, 16, 1.0, drop=0.048275862068965524),
                            InternLayer(256, 16, 1.0, drop=0.05172413793103448),
                            InternLayer(256, 16, 1.0, drop=0.055172413793103454),
                            InternLayer(256, 16, 1.0, drop=0.05862068965517242),
                            InternLayer(256, 16, 1.0, drop=0.06206896551724138),
                            InternLayer(256, 16, 1.0, drop=0.06551724137931035),
                            InternLayer(256, 16, 1.0, drop=0.06896551724137931),
                            InternLayer(256, 16, 1.0, drop=0.07241379310344828),
                            InternLayer(256, 16, 1.0, drop=0.07586206896551725),
                            InternLayer(256, 16, 1.0, drop=0.07931034482758621),
                            InternLayer(256, 16, 1.0, drop=0.08275862068965519),
                            InternLayer(256, 16, 1.0, drop=0.08620689655172414),
                        ),
                        "norm": nn.Sequential(LayerNorm2d(256, eps=1e-06)),
                        "downsample": Downsample(256),
                    }
                ),
                Level(512, 32, 1.0),
            ]
        )
        self.conv_head = nn.Sequential(
            nn.Conv2d(512, 768, 1, bias=False), nn.Sequential(nn.BatchNorm2d(768))
        )
        self.head = nn.Linear(768, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image)  # std/internimage.seg:146: [N, 64, (H + 3)//4, (W + 3)//4]
        x = self.levels[0]["blocks"](x)  # std/internimage.seg:83: [N, 64, (H + 3)//4, (W + 3)//4]
        f = self.levels[0]["norm"](x)  # std/internimage.seg:93: [N, 64, (H + 3)//4, (W + 3)//4]
        x = self.levels[0]["downsample"](f)  # [N, 128, (H + 7)//8, (W + 7)//8]
        x = self.levels[1]["blocks"](x)  # std/internimage.seg:83: [N, 128, (H + 7)//8, (W + 7)//8]
        f = self.levels[1]["norm"](x)  # std/internimage.seg:93: [N, 128, (H + 7)//8, (W + 7)//8]
        x = self.levels[1]["downsample"](f)  # [N, 256, (H + 15)//16, (W + 15)//16]
        x = self.levels[2]["blocks"](x)  # [N, 256, (H + 15)//16, (W + 15)//16]
        f = self.levels[2]["norm"](x)  # [N, 256, (H + 15)//16, (W + 15)//16]
        x = self.levels[2]["downsample"](f)  # [N, 512, (H + 31)//32, (W + 31)//32]
        x = self.levels[3](x)  # std/internimage.seg:151: [N, 512, (H + 31)//32, (W + 31)//32]
        x = F.adaptive_avg_pool2d(F.gelu(self.conv_head(x)), 1).flatten(1)  # 8: [N, 768]
        return self.head(x)  # 9: [N, 1000]
