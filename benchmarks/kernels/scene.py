"""Pictures and fields for the kernels of CRFs: what they read depends on the picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from compiler.crf.features import Term, bilateral, features, gaussian

CHANNELS = 3
REGION = 64
"""Pixels of a region of one colour, to each side."""


@dataclass(frozen=True)
class Shape:
    """Scores, and the standard deviations of a gaussian and a bilateral term."""

    n: int
    classes: int
    h: int
    w: int
    near: float = 3.0
    far: float = 80.0
    colour: float = 13.0

    @property
    def pixels(self) -> int:
        """Of the batch."""
        return self.n * self.h * self.w

    def logits(self, dtype: str = "float32") -> Tensor:
        """The scores without their values."""
        kind = getattr(torch, dtype)
        return torch.empty(self.n, self.classes, self.h, self.w, dtype=kind, device="meta")


def picture(shape: Shape, device: str) -> Tensor:
    """Smooth regions with noise, in bytes as float32."""
    coarse = (shape.n, CHANNELS, -(-shape.h // REGION) + 1, -(-shape.w // REGION) + 1)
    colours = torch.rand(coarse, device=device) * 255
    smooth = F.interpolate(colours, (shape.h, shape.w), mode="bilinear", align_corners=False)
    return (smooth + 8 * torch.randn_like(smooth)).clamp(0, 255).round()


def scores(shape: Shape, device: str) -> Tensor:
    """Random scores."""
    return 2 * torch.randn(shape.n, shape.classes, shape.h, shape.w, device=device)


def terms(shape: Shape, guide: Tensor) -> list[Term]:
    """The two terms of every published setting."""
    return [gaussian(shape.near), bilateral(guide, shape.far, shape.colour)]


def maps(shape: Shape, device: str) -> list[Tensor]:
    """The features of both terms, [N, d, h, w]."""
    like = torch.empty(shape.n, 1, shape.h, shape.w, device=device)
    return [features(term, like) for term in terms(shape, picture(shape, device))]
