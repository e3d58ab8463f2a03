"""Pairwise terms of a dense CRF and the feature vectors at which their kernels compare pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Number = float | Tensor
"""A number, or a scalar tensor that may be learned."""

Numbers = Number | Sequence[float]
"""One number, or one per axis or channel."""

Weights = Number | Sequence[float] | Sequence[Sequence[float]]
"""A number w for w I, a vector [C] for a diagonal, a matrix [C, C] as it is."""


class Term(NamedTuple):
    """One kernel exp(-|f_i - f_j|^2 / 2) of a mean field, with its weights."""

    guide: Tensor | None
    """[N, G, h, w], any dtype: what the pixels are compared by beside their place."""
    sxy: Numbers | None
    """Pixels per unit of distance, x before y; `None` leaves the place out."""
    sigma: Numbers | None
    """Units of the guide per unit of distance, one for all channels or one for each."""
    weights: Weights
    attracts: bool
    """Whether the weights are compatibilities (positive attracts) or energies (positive repels)."""
    norm: str


def gaussian(
    sxy: Numbers = 3.0,
    *,
    compat: Weights | None = None,
    energy: Weights | None = None,
    norm: str = "symmetric",
) -> Term:
    """Compares pixels by their place alone; `sxy` is a number or (x, y), in pixels."""
    return Term(None, sxy, None, *signed(compat, energy, 3.0), norm)


def bilateral(
    guide: Tensor | None,
    sxy: Numbers = 80.0,
    srgb: Numbers = 13.0,
    *,
    compat: Weights | None = None,
    energy: Weights | None = None,
    norm: str = "symmetric",
) -> Term:
    """Compares pixels by their place and by a guide, mostly the picture.

    The guide may be `None` for a `MeanField`, which gets it with each call.
    """
    return Term(guide, sxy, srgb, *signed(compat, energy, 10.0), norm)


def pairwise(
    guide: Tensor | None,
    sigma: Numbers,
    *,
    compat: Weights | None = None,
    energy: Weights | None = None,
    norm: str = "symmetric",
) -> Term:
    """Compares pixels by a guide alone."""
    return Term(guide, None, sigma, *signed(compat, energy, 1.0), norm)


def signed(compat: Weights | None, energy: Weights | None, default: float) -> tuple[Weights, bool]:
    """The weights of a term and whether they attract."""
    if compat is not None and energy is not None:
        raise ValueError("a term has `compat` or `energy`, not both: they differ by the sign")
    if energy is not None:
        return energy, False
    return (default if compat is None else compat), True


def features(term: Term, like: Tensor) -> Tensor:
    """The features [N, d, h, w] of a term: x/sx, y/sy, then the guide over its sigmas.

    Args:
        term: Its guide has the N, h and w of `like`.
        like: [N, ..., h, w]: gives sizes, device and dtype.

    Raises:
        ValueError: A guide of another size or not finite, a wrong number of sigmas, a sigma
            that is not positive.
    """
    count, height, width = like.shape[0], like.shape[-2], like.shape[-1]
    parts = []
    if term.sxy is not None:
        sx, sy = sigmas(term.sxy, 2, "sxy", like).unbind()
        x = torch.arange(width, dtype=like.dtype, device=like.device) / sx
        y = torch.arange(height, dtype=like.dtype, device=like.device) / sy
        parts += [x.expand(count, 1, height, width), y[:, None].expand(count, 1, height, width)]
    if term.sigma is not None:
        if term.guide is None:
            raise ValueError("a term with a sigma for its guide has no guide")
        guide = term.guide
        if guide.dim() != 4 or [guide.shape[0], *guide.shape[2:]] != [count, height, width]:
            raise ValueError(
                f"the guide is {list(guide.shape)}, but the scores need"
                f" [{count}, channels, {height}, {width}]"
            )
        if not bool(guide.detach().isfinite().all()):
            raise ValueError(f"the guide {list(guide.shape)} holds NaN or infinite values")
        scale = sigmas(term.sigma, guide.shape[1], "the guide's sigma", like)
        parts.append(guide.to(like.device, like.dtype) / scale[:, None, None])
    return torch.cat(parts, 1)


def sigmas(value: Numbers, count: int, name: str, like: Tensor) -> Tensor:
    """`count` positive sigmas from one number or from one for each."""
    sigma = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if sigma.dim() > 1 or sigma.numel() not in (1, count):
        raise ValueError(f"{name} needs one number or {count}, not {list(sigma.shape)}")
    if not bool((sigma > 0).all()):
        raise ValueError(f"{name} must be positive, not {sigma.tolist()}")
    return sigma.expand(count)
