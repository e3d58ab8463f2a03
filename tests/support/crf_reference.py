"""Mean-field inference by dense matrices in float64, written from the definition alone.

No shortcut is shared with `compiler.crf` or with the lowerings: every kernel is a full matrix over
all pixels of an image, pooling and interpolation are matrices too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """One pairwise term: features `[d, h, w]` per image, a weight as a matrix, its sign, a norm."""

    features: Array
    weight: Any
    attracts: bool = True
    norm: str = "symmetric"


def places(height: int, width: int, sx: float, sy: float) -> Array:
    """x/sx and y/sy of every pixel, `[2, h, w]`."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    return np.asarray(np.stack([x / sx, y / sy]))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(0))
    return np.asarray(e / e.sum(0))


def log_softmax(x: Array) -> Array:
    top = x - x.max(0)
    return np.asarray(top - np.log(np.exp(top).sum(0)))


def matrix(weight: Any, classes: int) -> Array:
    """A number, a vector or a matrix as a matrix."""
    array = np.asarray(weight, float)
    if array.ndim == 0 or array.shape == (1,):
        return float(array.reshape(())) * np.eye(classes)
    return np.diag(array) if array.ndim == 1 else array


def pooling(size: int, blur: int) -> tuple[Array, int]:
    """Means over runs of `blur` pixels, of those that are there, and where the first run begins."""
    before = -(-((-size) % blur) // 2)
    cells = -(-size // blur)
    table = np.zeros((cells, size))
    for cell in range(cells):
        inside = [
            i for i in range(cell * blur - before, (cell + 1) * blur - before) if 0 <= i < size
        ]
        table[cell, inside] = 1 / len(inside)
    return table, before


def interpolation(size: int, blur: int) -> Array:
    """From cells to pixels, bilinear between the cells' middles, constant beyond the last."""
    cells, before = -(-size // blur), -(-((-size) % blur) // 2)
    table = np.zeros((size, cells))
    for pixel in range(size):
        place = min(max((pixel + before + 0.5) / blur - 0.5, 0.0), cells - 1.0)
        low = int(place)
        high = min(low + 1, cells - 1)
        table[pixel, low] += 1 - (place - low)
        table[pixel, high] += place - low
    return table


def kernel(features: Array, window: int | None, blur: int, own: bool) -> Array:
    """The matrix of a kernel over the pixels of one image."""
    _, height, width = features.shape
    down: Array = np.eye(height * width)
    up: Array = np.eye(height * width)
    if blur > 1:
        down = np.asarray(np.kron(pooling(height, blur)[0], pooling(width, blur)[0]))
        up = np.asarray(np.kron(interpolation(height, blur), interpolation(width, blur)))
        height, width = -(-height // blur), -(-width // blur)
    f = features.reshape(len(features), -1) @ down.T
    k = np.exp(-0.5 * ((f[:, :, None] - f[:, None]) ** 2).sum(0))
    y, x = np.divmod(np.arange(height * width), width)
    if window is not None:
        reach = window // 2
        k *= (abs(y[:, None] - y) <= reach) & (abs(x[:, None] - x) <= reach)
    if not own:
        np.fill_diagonal(k, 0)
    return np.asarray(up @ k @ down)


def normalised(k: Array, norm: str) -> Array:
    n = k @ np.ones(len(k))
    divisor = n + 1e-20
    if norm == "symmetric":
        return np.asarray(k / np.sqrt(divisor[:, None] * divisor))
    if norm == "before":
        return np.asarray(k / divisor)
    if norm == "after":
        return np.asarray(k / divisor[:, None])
    return np.asarray(k / divisor.mean()) if norm == "mean" else k


def mean_field(
    logits: Array,
    pairs: Sequence[Pair],
    *,
    iterations: int,
    window: int | None = None,
    blur: int = 1,
    own: bool = True,
    mix: Any = None,
    unary_weight: Any = 1.0,
    given: str = "logits",
    start: str = "softmax",
    returns: str = "proba",
) -> Array:
    """The result `[C, h, w]` for one image."""
    classes, height, width = logits.shape
    u = logits.reshape(classes, -1).astype(float)
    u = {"logits": u, "energy": -u, "proba": np.log(np.maximum(u, 1e-5))}[given]
    kernels = [normalised(kernel(p.features, window, blur, own), p.norm) for p in pairs]
    over = np.eye(classes) if mix is None else np.asarray(mix, float)
    x = u
    for step in range(iterations):
        q = log_softmax(x) if start == "log_softmax" and step == 0 else softmax(x)
        x = matrix(unary_weight, classes) @ u
        for pair, k in zip(pairs, kernels, strict=True):
            message = matrix(pair.weight, classes) @ (q @ k.T)
            x = x + over @ message if pair.attracts else x - message
    if returns != "logits":
        x = softmax(x) if returns == "proba" else log_softmax(x)
    return np.asarray(x.reshape(classes, height, width))
