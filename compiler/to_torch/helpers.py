"""Definitions that emitted source carries along where torch has no word for an operator."""

from __future__ import annotations

HELPERS: dict[str, str] = {}
"""Source by name, in the order in which they are written. Each stands on torch alone."""

NEEDS: dict[str, tuple[str, ...]] = {}
"""The helpers that a helper calls; they are written before it."""

HELPERS["FrozenBatchNorm2d"] = '''\
class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation by fixed statistics, as torchvision's: everything is a buffer."""

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        bias = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + bias.reshape(1, -1, 1, 1)
'''

HELPERS["LayerNorm2d"] = '''\
class LayerNorm2d(nn.LayerNorm):
    """Normalises the channels at each pixel of [N, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.permute(0, 2, 3, 1)
        y = F.layer_norm(y, self.normalized_shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)
'''

HELPERS["Scale"] = '''\
class Scale(nn.Module):
    """A learned factor per channel, or one for all; `axes` follow the channel axis."""

    def __init__(self, channels: int, axes: int = 2):
        super().__init__()
        self.shape = [-1] + [1] * axes
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.reshape(self.shape)
'''

HELPERS["drop_path"] = '''\
def drop_path(x: Tensor, p: float, training: bool) -> Tensor:
    """Stochastic depth: zeroes whole images of the batch at random."""
    if not training or p == 0.0:
        return x
    shape = [x.shape[0]] + [1] * (x.dim() - 1)
    noise = torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(1.0 - p)
    return x * noise.div_(1.0 - p)
'''

# Negative padding crops: slices by symbolic sizes leave guards that torch.export cannot prove.
HELPERS["crop"] = '''\
def crop(x: Tensor, size: list[int], top: int, left: int) -> Tensor:
    """The part of `x` of this size that begins at (top, left)."""
    right, bottom = x.shape[3] - size[1] - left, x.shape[2] - size[0] - top
    return F.pad(x, [-left, -right, -top, -bottom])
'''

HELPERS["centre_crop"] = '''\
def centre_crop(x: Tensor, size: list[int]) -> Tensor:
    """The middle part of `x` of this size; an odd rest is cut off at the end."""
    height, width = x.shape[2] - size[0], x.shape[3] - size[1]
    top, left = height // 2, width // 2
    return F.pad(x, [-left, left - width, -top, top - height])
'''

HELPERS["pad_like"] = '''\
def pad_like(x: Tensor, size: list[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Pads `x` evenly to this size; an odd rest goes to the end."""
    height, width = size[0] - x.shape[2], size[1] - x.shape[3]
    top, left = height // 2, width // 2
    return F.pad(x, [left, width - left, top, height - top], mode, value)
'''

HELPERS["pad_to_multiple"] = '''\
def pad_to_multiple(x: Tensor, height: int, width: int, mode: str = "constant") -> Tensor:
    """Pads `x` evenly until (height, width) divide its size; an odd rest goes to the end."""
    rows = (height - x.shape[2] % height) % height
    columns = (width - x.shape[3] % width) % width
    top, left = rows // 2, columns // 2
    return F.pad(x, [left, columns - left, top, rows - top], mode)
'''
