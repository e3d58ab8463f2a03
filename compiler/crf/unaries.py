"""The functions of `pydensecrf.utils`: energies from labels and probabilities, feature arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]


def unary_from_softmax(
    sm: ArrayLike, scale: float | None = None, clip: float | None = 1e-5
) -> Floats:
    """Energies [labels, points] from probabilities [labels, …].

    Args:
        sm: Probabilities, labels first.
        scale: Mixed with the uniform distribution so that 1 becomes about `scale`; in (0, 1].
        clip: Probabilities are at least this.
    """
    p = np.asarray(sm)
    if p.ndim < 2:
        raise ValueError(f"probabilities are [labels, …], not {list(p.shape)}")
    if scale is not None:
        if not 0 < scale <= 1:
            raise ValueError(f"`scale` lies in (0, 1], not {scale}")
        p = scale * p + (1 - scale) / len(p)
    if clip is not None:
        p = np.clip(p, clip, 1.0)
    with np.errstate(divide="ignore"):
        energy: Floats = -np.log(p).reshape(len(p), -1).astype(np.float32)
    return energy


def unary_from_labels(
    labels: ArrayLike, n_labels: int, gt_prob: float, zero_unsure: bool = True
) -> Floats:
    """Energies [n_labels, points] that give each point's label the probability `gt_prob`.

    Args:
        labels: Whole numbers, any shape.
        n_labels: Without the label 0 where `zero_unsure`.
        gt_prob: In (0, 1).
        zero_unsure: Label 0 means "any", and label 1 is the first row.
    """
    if not 0 < gt_prob < 1:
        raise ValueError(f"`gt_prob` lies in (0, 1), not {gt_prob}")
    flat = np.asarray(labels).ravel()
    if not np.issubdtype(flat.dtype, np.integer) or n_labels < 2 or not flat.size:
        raise ValueError(f"labels are whole numbers of at least 2 classes, not {flat.dtype}")
    flat = flat.astype(np.int64) - bool(zero_unsure)
    low, high = int(flat.min()), int(flat.max())
    if low < -bool(zero_unsure) or high >= n_labels:
        shift = bool(zero_unsure)
        first, last = low + shift, high + shift
        raise ValueError(f"labels lie in 0..{n_labels - 1 + shift}, these in {first}..{last}")
    energy = np.full((n_labels, flat.size), -np.log((1 - gt_prob) / (n_labels - 1)), np.float32)
    energy[flat, np.arange(flat.size)] = -np.log(gt_prob)
    energy[:, flat < 0] = -np.log(1 / n_labels)
    return energy


def create_pairwise_gaussian(sdims: Sequence[float], shape: Sequence[int]) -> Floats:
    """Places over their sigmas, [axes, points]; both arguments in the order of the axes."""
    if len(sdims) != len(shape):
        raise ValueError(f"{len(sdims)} sigmas for {len(shape)} axes")
    mesh = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(np.float32)
    places: Floats = mesh.reshape(len(shape), -1) / np.array(sdims, np.float32)[:, None]
    return places


def create_pairwise_bilateral(
    sdims: Sequence[float], schan: float | Sequence[float], img: ArrayLike, chdim: int = -1
) -> Floats:
    """Places and channels over their sigmas, [axes + channels, points].

    Args:
        sdims: By axis, (row, column) for a picture: not (x, y).
        schan: One number, or one per channel.
        img: Any dtype.
        chdim: The axis of the channels, -1 where there is none.
    """
    values = np.asarray(img).astype(np.float32)
    values = values[None] if chdim == -1 else np.moveaxis(values, chdim, 0)
    sigmas = np.array(schan, np.float32)
    if sigmas.ndim > 1 or (sigmas.ndim == 1 and len(sigmas) != len(values)):
        raise ValueError(f"{sigmas.size} sigmas for {len(values)} channels")
    colours = values.reshape(len(values), -1) / sigmas.reshape(-1, 1)
    return np.concatenate([create_pairwise_gaussian(sdims, values.shape[1:]), colours])
