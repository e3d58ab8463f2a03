"""The demo's training: random crops of half a picture, Adam, one cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Plan:
    """How to train: equal plans on equal data give equal weights on one machine."""

    steps: int = 280
    batch: int = 6
    crop: int = 112
    rate: float = 1e-2
    seed: int = 0


def train(
    module: nn.Module,
    picture: NDArray[np.uint8],
    wanted: NDArray[np.uint8],
    plan: Plan,
    told: Callable[[int, float], None],
) -> None:
    """Train on random crops, turned, mirrored and lit differently.

    Args:
        module: takes `[N, 1, crop, crop]`, gives scores of two classes.
        picture: greys, `[H, W]`, no side smaller than a crop.
        wanted: the class of each pixel.
        plan: steps, batch, crop, rate and seed.
        told: called after each step with its number (from 1) and its loss.
    """
    draw = np.random.default_rng(plan.seed)
    torch.manual_seed(plan.seed)
    optimiser = torch.optim.Adam(module.parameters(), lr=plan.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=plan.steps)
    module.train()
    for step in range(1, plan.steps + 1):
        images, classes = _batch(picture, wanted, plan, draw)
        loss = _loss(module(images), classes)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        told(step, float(loss.detach()))
    module.eval()


def _loss(scores: Tensor, classes: Tensor) -> Tensor:
    """Cross entropy and soft Dice: the one for every pixel, the other for the shape."""
    coin = scores.softmax(1)[:, 1]
    overlap = 2 * (coin * classes).sum() / (coin.sum() + classes.sum() + 1)
    return functional.cross_entropy(scores, classes) + 1 - overlap


def _batch(
    picture: NDArray[np.uint8],
    wanted: NDArray[np.uint8],
    plan: Plan,
    draw: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    pairs = [_crop(picture, wanted, plan.crop, draw) for _ in range(plan.batch)]
    images = np.stack([image for image, _ in pairs])[:, None]
    classes = np.stack([label for _, label in pairs])
    return torch.from_numpy(images), torch.from_numpy(classes.astype(np.int64))


def _crop(
    picture: NDArray[np.uint8],
    wanted: NDArray[np.uint8],
    side: int,
    draw: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    top = draw.integers(picture.shape[0] - side + 1)
    left = draw.integers(picture.shape[1] - side + 1)
    window = np.s_[top : top + side, left : left + side]
    image, label = picture[window].astype(np.float32) / 255, wanted[window]
    quarters, mirrored = int(draw.integers(4)), bool(draw.integers(2))
    image, label = np.rot90(image, quarters), np.rot90(label, quarters)
    if mirrored:
        image, label = image[:, ::-1], label[:, ::-1]
    lit = image * np.float32(draw.uniform(0.7, 1.3)) + np.float32(draw.uniform(-0.15, 0.15))
    return np.clip(lit, 0, 1), np.ascontiguousarray(label)
