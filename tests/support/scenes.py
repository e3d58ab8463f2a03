"""Pictures with scores that are shifted and noisy: what a CRF is there to mend."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def scene(h: int, w: int, classes: int, regions: int = 7, seed: int = 0) -> tuple[Bytes, Floats]:
    """A picture [h, w, 3] of flat regions with noise, and energies [classes, h, w].

    Labels stand two pixels beside the colours, and 15 % of the pixels say nothing.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    py, px = rng.random(regions) * h, rng.random(regions) * w
    region = ((y[..., None] - py) ** 2 + (x[..., None] - px) ** 2).argmin(-1)
    colours = rng.integers(0, 256, (regions, 3))
    image = np.clip(np.rint(colours[region] + rng.normal(0, 8, (h, w, 3))), 0, 255)
    return image.astype(np.uint8), energies(np.roll(region % classes, 2, (0, 1)), classes, rng)


def energies(labels: NDArray[np.integer], classes: int, rng: np.random.Generator) -> Floats:
    """Energies [classes, h, w] of noisy scores that favour these labels."""
    scores = rng.normal(0, 0.8, (classes, *labels.shape))
    scores += 2 * (labels == np.arange(classes)[:, None, None])
    lost = rng.random(labels.shape) < 0.15
    scores[:, lost] = rng.normal(0, 1.2, (classes, int(lost.sum())))
    found: Floats = (np.log(np.exp(scores).sum(0)) - scores).astype(np.float32)
    return found
