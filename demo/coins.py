"""The demo's data: a photograph of coins, labelled without a person, and how well a mask fits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import data, filters, segmentation

MIDDLE = 192
"""The column that divides the picture: trained left of it, measured right of it."""


def photograph() -> NDArray[np.uint8]:
    """Greek coins from Pompeii, `[303, 384]`; it comes with scikit-image, without a network."""
    picture: NDArray[np.uint8] = data.coins()
    return picture


def labels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 where there is a coin, by marker-controlled watershed.

    Source: scikit-image's tutorial "Comparing edge-based and region-based segmentation".
    """
    markers = np.zeros(picture.shape, np.int32)
    markers[picture < 30] = 1
    markers[picture > 150] = 2
    regions = segmentation.watershed(filters.sobel(picture), markers)
    filled: NDArray[np.uint8] = ndimage.binary_fill_holes(regions == 2).astype(np.uint8)
    return filled


def mean_iou(found: NDArray[np.integer], wanted: NDArray[np.integer], classes: int = 2) -> float:
    """Intersection over union, averaged over the classes that occur in either mask."""
    scores = []
    for index in range(classes):
        a, b = found == index, wanted == index
        if (a | b).any():
            scores.append(float((a & b).sum() / (a | b).sum()))
    return float(np.mean(scores))
