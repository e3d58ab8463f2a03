"""InternImage and UPerNet written out from the papers and the release's key lists, maps NHWC.

Their state_dicts have the published names in the published order. The sampling of DCNv3 is here a
`grid_sample` per point at normalised positions (arXiv:2211.05778, equation 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Last(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class _First(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


def _norm(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(channels, eps=1e-6))


def _norm_after_conv(channels: int) -> nn.Sequential:
    return nn.Sequential(_Last(), nn.LayerNorm(channels, eps=1e-6))


def sampled(x: Tensor, offset: Tensor, mask: Tensor, groups: int, scale: float) -> Tensor:
    """The 3x3 points of each group, weighed and summed; all maps NHWC, columns of points first."""
    n, height, width, channels = x.shape
    values = x.view(n, height, width, groups, -1).permute(0, 3, 4, 1, 2).flatten(0, 1)
    moved = offset.view(n, height, width, groups, 9, 2)
    shares = mask.view(n, height, width, groups, 9).softmax(-1)
    rows = torch.arange(height, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
    columns = torch.arange(width, dtype=x.dtype, device=x.device).view(1, 1, -1, 1)
    total = torch.zeros_like(values)
    for p in range(9):
        px = columns + (p // 3 - 1 + moved[..., p, 0]) * scale
        py = rows + (p % 3 - 1 + moved[..., p, 1]) * scale
        grid = torch.stack([(2 * px + 1) / width - 1, (2 * py + 1) / height - 1], -1)
        grid = grid.permute(0, 3, 1, 2, 4).flatten(0, 1)
        read = F.grid_sample(values, grid, padding_mode="zeros", align_corners=False)
        total = total + read * shares[..., p].permute(0, 3, 1, 2).flatten(0, 1)[:, None]
    return total.view(n, channels, height, width).permute(0, 2, 3, 1)


def _dropped(x: Tensor, p: float, training: bool) -> Tensor:
    if not training or p == 0:
        return x
    kept = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - p)
    return x * (kept / (1 - p))


@dataclass(frozen=True)
class Size:
    """What tells the published sizes apart.

    Attributes:
        channels: of the first level; a group has 16, or 32 with `huge`.
        depths: blocks of the levels.
        norm: `pre`, `post` or `res_post`.
        layer_scale: the start of the learned factors; None: there are none.
        offset_scale: multiplies grid and offsets.
        huge: 5x5 depthwise convolutions, centre-feature scale, norms in the third level.
        drop: stochastic depth of the last block.
    """

    channels: int
    depths: Sequence[int]
    norm: str = "pre"
    layer_scale: float | None = None
    offset_scale: float = 1.0
    huge: bool = False
    drop: float = 0.0


class _DCNv3(nn.Module):
    def __init__(self, channels: int, size: Size) -> None:
        super().__init__()
        self.groups = channels // (32 if size.huge else 16)
        self.scale, kernel = size.offset_scale, 5 if size.huge else 3
        if size.huge:
            shape = (self.groups, channels)
            self.center_feature_scale_proj_weight = nn.Parameter(torch.zeros(shape))
            self.center_feature_scale_proj_bias = nn.Parameter(torch.zeros(self.groups))
        conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.dw_conv = nn.Sequential(conv, _norm_after_conv(channels), nn.GELU())
        self.offset = nn.Linear(channels, self.groups * 18)
        self.mask = nn.Linear(channels, self.groups * 9)
        self.input_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.huge = size.huge

    def forward(self, x: Tensor) -> Tensor:
        values, found = self.input_proj(x), self.dw_conv(x.permute(0, 3, 1, 2))
        y = sampled(values, self.offset(found), self.mask(found), self.groups, self.scale)
        if self.huge:
            weight = self.center_feature_scale_proj_weight
            share = F.linear(found, weight, self.center_feature_scale_proj_bias).sigmoid()
            share = share.repeat_interleave(x.shape[3] // self.groups, 3)
            y = y * (1 - share) + values * share
        out: Tensor = self.output_proj(y)
        return out


class _Mlp(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class _Block(nn.Module):
    def __init__(self, channels: int, size: Size, drop: float) -> None:
        super().__init__()
        self.norm1 = _norm(channels)
        self.dcn = _DCNv3(channels, size)
        self.norm2 = _norm(channels)
        self.mlp = _Mlp(channels)
        self.scaled = size.layer_scale is not None
        if size.layer_scale is not None:
            self.gamma1 = nn.Parameter(size.layer_scale * torch.ones(channels))
            self.gamma2 = nn.Parameter(size.layer_scale * torch.ones(channels))
        if size.norm == "res_post":
            self.res_post_norm1, self.res_post_norm2 = _norm(channels), _norm(channels)
        self.kind, self.drop = size.norm, drop

    def forward(self, x: Tensor) -> Tensor:
        for i, unit in enumerate((self.dcn, self.mlp), 1):
            norm = self.get_submodule(f"norm{i}")
            y = norm(unit(x)) if self.kind == "post" else unit(norm(x))
            if self.kind == "res_post":
                y = self.get_submodule(f"res_post_norm{i}")(y)
            if self.scaled:
                y = y * getattr(self, f"gamma{i}")
            x = x + _dropped(y, self.drop, self.training)
        return x


class _Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, 2, 1, bias=False)
        self.norm = _norm_after_conv(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x.permute(0, 3, 1, 2)))
        return y


class _Level(nn.Module):
    def __init__(self, channels: int, size: Size, drops: Sequence[float], index: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(channels, size, drop) for drop in drops)
        self.kind = size.norm
        if self.kind != "post":
            self.norm = _norm(channels)
        self.ends = range(5, len(drops), 6) if size.huge and index == 2 else range(0)
        if self.ends:
            self.post_norms = nn.ModuleList(_norm(channels) for _ in self.ends)
        if index < 3:
            self.downsample = _Downsample(channels)

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.ends:
                x = self.post_norms[self.ends.index(i)](x)
        if self.kind != "post":
            x = self.get_submodule("norm")(x)
        return x


class _Stem(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(3, half, 3, 2, 1)
        self.norm1 = nn.Sequential(*_norm_after_conv(half), _First())
        self.conv2 = nn.Conv2d(half, channels, 3, 2, 1)
        self.norm2 = _norm_after_conv(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm2(self.conv2(F.gelu(self.norm1(self.conv1(x)))))
        return y


class Backbone(nn.Module):
    """InternImage without its head: the maps of the four levels, NCHW."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.patch_embed = _Stem(size.channels)
        drops = [size.drop * k / (sum(size.depths) - 1) for k in range(sum(size.depths))]
        self.levels = nn.ModuleList()
        for i, n in enumerate(size.depths):
            own, drops = drops[:n], drops[n:]
            self.levels.append(_Level(size.channels << i, size, own, i))

    def forward(self, image: Tensor) -> Any:
        x = self.patch_embed(image)
        found = []
        for level in self.levels:
            x = level(x)
            found.append(x.permute(0, 3, 1, 2))
            if hasattr(level, "downsample"):
                x = level.get_submodule("downsample")(x)
        return found


class ConvClassifier(Backbone):
    """InternImage T to XL."""

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__(size)
        channels = size.channels * 8
        norm = nn.Sequential(nn.BatchNorm2d(channels * 3 // 2))
        conv = nn.Conv2d(channels, channels * 3 // 2, 1, bias=False)
        self.conv_head = nn.Sequential(conv, norm, nn.GELU())
        self.head = nn.Linear(channels * 3 // 2, classes)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.conv_head(super().forward(image)[3]).mean((2, 3)))
        return logits


class _Attend(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        for name in "qkv":
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(channels)))
        for name in "qkv":
            self.add_module(name, nn.Linear(channels, channels, bias=False))
        self.proj = nn.Linear(channels, out)

    def forward(self, *inputs: Tensor) -> Tensor:
        heads = []
        for name, x in zip("qkv", inputs, strict=True):
            y = self.get_submodule(name)(x) + self.get_parameter(f"{name}_bias")
            heads.append(y.unflatten(2, (16, -1)).transpose(1, 2))
        y = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        out: Tensor = self.proj(y)[:, 0]
        return out


class _Pool(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm1_q, self.norm1_k, self.norm1_v = (_norm(channels) for _ in "qkv")
        self.cross_dcn = _Attend(channels, out)

    def forward(self, x: Tensor) -> Tensor:
        q = self.norm1_q(x.mean(1, keepdim=True))
        y: Tensor = self.cross_dcn(q, self.norm1_k(x), self.norm1_v(x))
        return y


class ClipClassifier(Backbone):
    """InternImage-H."""

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__(size)
        conv = nn.Conv2d(size.channels * 8, 4096, 1)
        self.dcnv3_head_x4 = nn.Sequential(conv, nn.PixelShuffle(2))
        self.dcnv3_head_x3 = nn.Conv2d(size.channels * 4, 1024, 1)
        self.clip_projector = _Pool(1024, 768)
        self.fc_norm = _norm(768)
        self.head = nn.Linear(768, classes)

    def forward(self, image: Tensor) -> Tensor:
        maps = super().forward(image)
        x = self.dcnv3_head_x4(maps[3]) + self.dcnv3_head_x3(maps[2])
        logits: Tensor = self.head(self.fc_norm(self.clip_projector(x.flatten(2).mT)))
        return logits


class _ConvModule(nn.Module):
    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x)).relu()
        return y


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


class UPerHead(nn.Module):
    """mmsegmentation's UPerHead over maps of the given channels, finest first."""

    def __init__(self, channels: Sequence[int], width: int, classes: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(width, classes, 1)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), _ConvModule(channels[-1], width, 1))
            for bins in (1, 2, 3, 6)
        )
        self.bottleneck = _ConvModule(channels[-1] + 4 * width, width, 3)
        self.lateral_convs = nn.ModuleList(_ConvModule(c, width, 1) for c in channels[:-1])
        self.fpn_convs = nn.ModuleList(_ConvModule(width, width, 3) for _ in channels[:-1])
        self.fpn_bottleneck = _ConvModule(len(channels) * width, width, 3)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        top = maps[-1]
        pooled = [_resized(module(top), top) for module in self.psp_modules]
        levels = [conv(x) for conv, x in zip(self.lateral_convs, maps, strict=False)]
        levels.append(self.bottleneck(torch.cat([top, *pooled], 1)))
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + _resized(levels[i], levels[i - 1])
        for i, conv in enumerate(self.fpn_convs):
            levels[i] = conv(levels[i])
        x = self.fpn_bottleneck(torch.cat([_resized(x, levels[0]) for x in levels], 1))
        scores: Tensor = self.conv_seg(F.dropout2d(x, 0.1, self.training))
        return scores


class _AuxHead(nn.Module):
    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(width, classes, 1)
        self.convs = nn.Sequential(_ConvModule(channels, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv_seg(F.dropout2d(self.convs(x), 0.1, self.training))
        return scores


class UPerNet(nn.Module):
    """A backbone of four maps, the head, and in training the auxiliary head on the third."""

    def __init__(
        self, backbone: nn.Module, channels: Sequence[int], classes: int, width: int = 512
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.decode_head = UPerHead(channels, width, classes)
        self.auxiliary_head = _AuxHead(channels[2], width // 2, classes)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = self.backbone(image)
        scores = [_resized(self.decode_head(maps), image)]
        if self.training:
            scores.append(_resized(self.auxiliary_head(maps[2]), image))
        return scores


def upernet_internimage(size: Size, classes: int, width: int = 512) -> UPerNet:
    """UPerNet on InternImage, as the release trained it."""
    channels = [size.channels << i for i in range(4)]
    return UPerNet(Backbone(size), channels, classes, width)
