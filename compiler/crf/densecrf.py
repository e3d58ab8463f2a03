"""The classes of `pydensecrf.densecrf`, in torch: `import compiler.crf as dcrf` and go on.

Same calls, same conventions, same numbers; other dtypes, layouts, channels and sizes work as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from compiler.crf.features import Term, bilateral, gaussian, pairwise
from compiler.crf.field import mean_field, unary_scores, updated
from compiler.crf.messages import Message, Settings, messages_of

Floats = NDArray[np.float32]
Numbers = float | Sequence[float]


class KernelType(IntEnum):
    """How kernels would be learned; this library does not learn them here, as the other."""

    CONST_KERNEL = 0
    DIAG_KERNEL = 1
    FULL_KERNEL = 2


class NormalizationType(IntEnum):
    """Where the row sums of a kernel divide."""

    NO_NORMALIZATION = 0
    NORMALIZE_BEFORE = 1
    NORMALIZE_AFTER = 2
    NORMALIZE_SYMMETRIC = 3


CONST_KERNEL, DIAG_KERNEL, FULL_KERNEL = KernelType
NO_NORMALIZATION, NORMALIZE_BEFORE, NORMALIZE_AFTER, NORMALIZE_SYMMETRIC = NormalizationType

_NORMS = {
    NO_NORMALIZATION: "none",
    NORMALIZE_BEFORE: "before",
    NORMALIZE_AFTER: "after",
    NORMALIZE_SYMMETRIC: "symmetric",
}
_BYTES = 2.0
"""Sigmas from here on are meant for guides in [0, 255]."""


class DenseCRF:
    """A fully connected CRF over `nvar` points with `nlabels` labels."""

    def __init__(self, nvar: int, nlabels: int) -> None:
        if nvar < 1 or nlabels < 1:
            raise ValueError(f"there are no {nvar} points with {nlabels} labels")
        self._grid = (1, nvar)
        self._labels = nlabels
        self._terms: list[Term] = []
        self._logits: torch.Tensor | None = None
        self._built: list[Message] | None = None

    def setUnaryEnergy(self, u: ArrayLike) -> None:  # noqa: N802
        """The energies (negative log-probabilities), [labels, points]; any dtype and layout."""
        energy = np.array(u, np.float32, order="C")
        count = self._grid[0] * self._grid[1]
        if energy.shape != (self._labels, count):
            raise ValueError(
                f"the unary is [labels, points] = [{self._labels}, {count}],"
                f" not {list(energy.shape)}"
            )
        grid = torch.from_numpy(energy).view(1, self._labels, *self._grid)
        self._logits = unary_scores(grid, "energy")

    def addPairwiseEnergy(  # noqa: N802
        self,
        features: ArrayLike,
        compat: Any,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """A kernel over features [d, points], which are divided by their sigmas already."""
        array = np.array(features, np.float32, order="C")
        count = self._grid[0] * self._grid[1]
        if array.ndim != 2 or array.shape[1] != count or not len(array):
            raise ValueError(f"features are [d, points] = [d, {count}], not {list(array.shape)}")
        guide = torch.from_numpy(array).view(1, -1, *self._grid)
        self._add(pairwise(guide, 1.0, **self._weights(compat, kernel, normalization)))

    def inference(self, n_iterations: int) -> Floats:
        """The probabilities [labels, points] after some iterations."""
        found = mean_field(self._unary(), self._terms, iterations=n_iterations)
        return self._flat(found)

    def startInference(self) -> tuple[Floats, Floats, Floats]:  # noqa: N802
        """The probabilities before the first iteration, and two arrays for `stepInference`."""
        start = self._flat(torch.softmax(self._unary(), 1))
        return start, np.zeros_like(start), np.zeros_like(start)

    def stepInference(self, q: Floats, tmp1: Floats, tmp2: Floats) -> None:  # noqa: N802
        """One iteration, in place: `q` becomes the new probabilities, `tmp1` their energies."""
        _, x = self._energies(q)
        tmp1[...] = x.T
        tmp2[...] = 0
        q[...] = torch.softmax(x, 1).T

    def klDivergence(self, q: Floats) -> float:  # noqa: N802
        """The divergence from the CRF up to a constant, with the whole pairwise energy."""
        anchor, x = self._energies(q)
        p = torch.from_numpy(np.array(q, np.float64)).T
        parts = p * (p.clamp(min=1e-20).log() - anchor - (x - anchor))
        return float(parts.sum())

    def _energies(self, q: Floats) -> tuple[torch.Tensor, torch.Tensor]:
        """The unary logits and the logits after one iteration, both [points, labels]."""
        logits = self._unary()
        rows = logits.flatten(2).transpose(1, 2).contiguous()
        given = np.ascontiguousarray(np.asarray(q, np.float32).T)
        if given.shape != tuple(rows.shape[1:]):
            raise ValueError(f"q is {list(rows.shape[:0:-1])}, not {list(np.shape(q))}")
        with torch.no_grad():
            if self._built is None:
                settings = Settings("lattice", 7, 1, True, 6e-6)
                self._built = messages_of(self._terms, logits, settings, mixed=False)
            state = torch.from_numpy(given)[None]
            x = updated(rows, self._built, None, state, 2, torch.empty_like(rows))
        return rows[0], x[0]

    def _unary(self) -> torch.Tensor:
        if self._logits is None:
            raise ValueError("the unary is missing: call setUnaryEnergy first")
        return self._logits

    def _add(self, term: Term) -> None:
        self._terms.append(term)
        self._built = None

    def _weights(self, compat: Any, kernel: int, normalization: int) -> dict[str, Any]:
        """A number attracts; a vector and a matrix, which is made symmetric, are energies."""
        KernelType(kernel)
        norm = _NORMS[NormalizationType(normalization)]
        array = np.asarray(compat, np.float32)
        if array.ndim == 0:
            return {"compat": float(array), "norm": norm}
        if array.ndim > 2 or set(array.shape) != {self._labels}:
            n = self._labels
            raise ValueError(f"compat is a number, [{n}] or [{n}, {n}], not {list(array.shape)}")
        energy = array if array.ndim == 1 else (array + array.T) / 2
        return {"energy": torch.from_numpy(np.array(energy)), "norm": norm}

    def _flat(self, grid: torch.Tensor) -> Floats:
        return np.ascontiguousarray(grid.reshape(self._labels, -1).numpy())


class DenseCRF2D(DenseCRF):
    """A fully connected CRF over the pixels of a picture: width comes first."""

    def __init__(self, w: int, h: int, nlabels: int) -> None:
        super().__init__(w * h if w > 0 and h > 0 else 0, nlabels)
        self._grid = (h, w)

    def addPairwiseGaussian(  # noqa: N802
        self,
        sxy: Numbers,
        compat: Any,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """A kernel over places; `sxy` is a number or (x, y), in pixels."""
        self._add(gaussian(sxy, **self._weights(compat, kernel, normalization)))

    def addPairwiseBilateral(  # noqa: N802
        self,
        sxy: Numbers,
        srgb: Numbers,
        rgbim: ArrayLike,
        compat: Any,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """A kernel over places and colours; `rgbim` is [h, w, channels], any dtype."""
        image = np.asarray(rgbim)
        if image.ndim == 2:
            image = image[..., None]
        if image.ndim != 3 or image.shape[:2] != self._grid:
            h, w = self._grid
            raise ValueError(f"the image is [{h}, {w}, channels], not {list(np.shape(rgbim))}")
        warn_of_small_guide(image, srgb)
        guide = torch.from_numpy(np.array(image.transpose(2, 0, 1), np.float32, order="C"))[None]
        self._add(bilateral(guide, sxy, srgb, **self._weights(compat, kernel, normalization)))


def warn_of_small_guide(guide: Any, sigma: Any) -> bool:
    """Warn of a guide in [0, 1] whose sigma is meant for [0, 255]; answers whether it did."""
    kind = str(getattr(guide, "dtype", ""))
    whole = "int" in kind or "bool" in kind
    if whole or float(np.min(np.asarray(sigma))) < _BYTES or float(abs(guide).max()) > 1:
        return False
    warnings.warn(
        f"the guide's values lie in [-1, 1], where a sigma of {sigma} sees no edges:"
        " is it meant for [0, 255]?",
        stacklevel=3,
    )
    return True
