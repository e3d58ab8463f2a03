"""The messages of a mean field: kernels with their norms, weights and signs, by method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from compiler.crf.exact import exact_filter, separable_filter
from compiler.crf.features import Term, Weights, features
from compiler.crf.lattice import (
    LatticeStep,
    lattice_into,
    lattice_message,
    lattice_of,
    lattice_scratch,
    lattice_step,
    reversed_step,
)
from compiler.crf.window import (
    padded_by,
    window_filter,
    window_into,
    window_kernel,
    window_message,
)

EPSILON = 1e-20
"""Added to the divisors: a pixel without neighbours gets no message."""


class Settings(NamedTuple):
    """How messages are computed."""

    method: str
    window: int
    blur: int
    own: bool
    tail: float
    tracked: bool = False
    """Whether gradients are recorded."""


class Message(NamedTuple):
    """One normalised kernel, or the weighted sum of several."""

    filter: Callable[[Tensor, Tensor], Tensor]
    """(x, q) to x + K q; without a graph x is overwritten."""
    weights: Tensor | None
    """[], [C] or [C, C]; `None` where the filter holds them."""
    attracts: bool

    def added(self, x: Tensor, q: Tensor, axis: int) -> Tensor:
        """X with this message of q; `axis` is that of the classes."""
        if self.weights is None:
            return self.filter(x, q)
        message = weighted(self.weights, self.filter(torch.zeros_like(x), q), axis)
        return x + message if self.attracts else x - message


def class_weights(value: Weights, like: Tensor, name: str) -> Tensor:
    """Weights as a tensor [], [C] or [C, C] for the C classes of `like` [N, C, h, w]."""
    weights = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    classes = like.shape[1]
    if any(size != classes for size in weights.shape) or weights.dim() > 2:
        raise ValueError(
            f"{name} is a number, [{classes}] or [{classes}, {classes}] for {classes} classes,"
            f" not {list(weights.shape)}"
        )
    return weights


def weighted(weights: Tensor, x: Tensor, axis: int) -> Tensor:
    """W x over the classes, which lie along `axis`: 1 in [N, C, h, w], 2 in [N, P, C]."""
    if weights.dim() == 0:
        return x * weights
    if weights.dim() == 1:
        return x * (weights[:, None, None] if axis == 1 else weights)
    return torch.einsum("ab,nbhw->nahw" if axis == 1 else "ab,npb->npa", weights, x)


def messages_of(
    terms: Sequence[Term], scores: Tensor, settings: Settings, mixed: bool
) -> list[Message]:
    """The messages of all terms; kernels with plain numbers as weights become one sum.

    Args:
        terms: Checked against the method.
        scores: [N, C, h, w].
        settings: How.
        mixed: Whether a matrix stands over the attracting sum, which then is kept apart.
    """
    messages: list[Message] = []
    sums: dict[bool, list[tuple[float, Term]]] = {}
    for term in terms:
        if isinstance(term.weights, (int, float)):
            signed_weight = term.weights if term.attracts else -term.weights
            sums.setdefault(mixed and term.attracts, []).append((signed_weight, term))
        else:
            name = "compat" if term.attracts else "energy"
            weights = class_weights(term.weights, scores, name)
            kernel = kernel_sum([(1.0, term)], scores, settings)
            messages.append(Message(kernel, weights, term.attracts))
    for under_mix, weighted_terms in sums.items():
        messages.append(Message(kernel_sum(weighted_terms, scores, settings), None, under_mix))
    return messages


def kernel_sum(
    terms: list[tuple[float, Term]], scores: Tensor, settings: Settings
) -> Callable[[Tensor, Tensor], Tensor]:
    """(x, q) to x + the weighted sum of the normalised kernels, applied to q."""
    if settings.method == "lattice":
        return lattice_sum(terms, scores, settings)
    if settings.method == "window" and settings.blur == 1:
        return window_sum(terms, scores, settings)
    filters = [(weight, normalised_filter(term, scores, settings)) for weight, term in terms]
    return lambda x, q: x + sum(weight * apply(q) for weight, apply in filters)


def lattice_sum(
    terms: list[tuple[float, Term]], scores: Tensor, settings: Settings
) -> Callable[[Tensor, Tensor], Tensor]:
    """One filter for all terms; q is [N, P, C]. The features are constants here."""
    steps: list[LatticeStep] = []
    adjoints: list[LatticeStep] = []
    for weight, term in terms:
        f = features(term, scores).detach().flatten(2)
        lattice = lattice_of(f)
        ones = torch.ones_like(f[:, 0]).flatten()[:, None]
        n = lattice_into(torch.zeros_like(ones), ones, [lattice_step(lattice, None, None)])
        n = n.view(len(f), 1, -1)
        pre, post = (
            None if scale is None else scale.expand_as(n).flatten()
            for scale in scales(term.norm, n)
        )
        steps.append(lattice_step(lattice, pre, post, weight))
        if settings.tracked:
            adjoints.append(reversed_step(lattice_step(lattice, post, pre, weight)))
    if settings.tracked:
        return lambda x, q: x + lattice_message(q.flatten(0, 1), steps, adjoints).view_as(q)
    scratch = lattice_scratch(scores[0].flatten(1).T, steps)
    return lambda x, q: lattice_into(x.flatten(0, 1), q.flatten(0, 1), steps, scratch).view_as(x)


def window_sum(
    terms: list[tuple[float, Term]], scores: Tensor, settings: Settings
) -> Callable[[Tensor, Tensor], Tensor]:
    """One filter for all terms; q is [N, C, h, w]."""
    kernel = scaled_window(*terms[0], scores, settings)
    for weight, term in terms[1:]:
        kernel += scaled_window(weight, term, scores, settings)
    if settings.tracked:
        return lambda x, q: x + window_message(kernel, q)
    return lambda x, q: window_into(x, kernel, q)


def scaled_window(weight: float, term: Term, scores: Tensor, settings: Settings) -> Tensor:
    """Weight Khat as window values [N, k k, h, w]."""
    window, tracked = settings.window, settings.tracked
    kernel = window_kernel(features(term, scores), window, 1, settings.own)
    pre, post = scales(term.norm, kernel.sum(1, keepdim=True))
    after = weight if post is None else weight * post
    kernel = kernel * after if tracked else kernel.mul_(after)
    if pre is None:
        return kernel
    partners = padded_by(pre, window // 2)[:, 0].unfold(1, window, 1).unfold(2, window, 1)
    partners = partners.permute(0, 3, 4, 1, 2)
    split = kernel.view(len(kernel), window, window, *kernel.shape[2:])
    return (split * partners if tracked else split.mul_(partners)).flatten(1, 2)


def normalised_filter(term: Term, scores: Tensor, settings: Settings) -> Callable[[Tensor], Tensor]:
    """Khat q of one term, without sums over terms."""
    f = features(term, scores)
    if settings.method == "window":
        kernel = window_kernel(f, settings.window, settings.blur, settings.own)
        plain = partial(window_filter, kernel, blur=settings.blur)
        ones = torch.ones_like(f[:, :1])
    elif term.sigma is None:
        plain = partial(separable_filter, f, own=settings.own)
        ones = torch.ones_like(f[:, :1]).flatten(2).transpose(1, 2)
    else:
        plain = partial(exact_filter, f.flatten(2), own=settings.own, tail=settings.tail)
        ones = torch.ones_like(f[:, :1]).flatten(2).transpose(1, 2)
    pre, post = scales(term.norm, plain(ones))
    return lambda q: scaled_by(post, plain(scaled_by(pre, q)))


def scaled_by(scale: Tensor | None, x: Tensor) -> Tensor:
    """`x` times a scale, where there is one."""
    return x if scale is None else x * scale


def scales(norm: str, n: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """What to multiply with before and after a kernel, from its row sums n [N, 1, …]."""
    if norm == "none":
        return None, None
    if norm == "mean":
        n = n.flatten(1).mean(1).reshape([-1] + [1] * (n.dim() - 1))
    root = (n + EPSILON).rsqrt()
    # Through the root: the derivative of 1 / n overflows at n = 0.
    return {
        "symmetric": (root, root),
        "before": (root.square(), None),
        "after": (None, root.square()),
        "mean": (None, root.square()),
    }[norm]
