"""Mean fields over all pairs by the kernel: the steps of an iteration, and when they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .dense_crf import CONFIGS, default_config, dense_filter, fallback_reason, key
from .feature_tiles import tiles_of
from .field import Step, grouped, has_matrix, inferred, lengths, scales, stride, takes
from .router import accepts, chosen

TAIL = 6e-6
"""Pairs with a smaller kernel value are left out, unless the field says else."""


@dataclass(frozen=True)
class Pairs:
    """What all launches of a field share."""

    own: bool
    tail: float
    config: str


def dense_step(
    f: Tensor, norm: str, weight: float | Tensor, matrix: Tensor | None, classes: int, how: Pairs
) -> Step:  # fmt: skip
    """The step of one term with features [N, d, h, w]; the row sums by the same kernel."""
    n = len(f)
    tiles = tiles_of(f.flatten(2).transpose(1, 2), CONFIGS[how.config].tile, how.tail)

    def filtered(
        q: Tensor, x: Tensor | None, pre: Tensor | None, post: Tensor | None,
        over: Tensor | None, count: int, epilogue: str,
    ) -> Tensor:  # fmt: skip
        done: Tensor = dense_filter(
            q, x, *tiles.tensors, pre, post, over, n, tiles.narrow, count, how.own, epilogue,
            how.config,
        )  # fmt: skip
        return done

    pre = after = None
    if norm != "none":
        ones = torch.zeros(f[:, 0].numel(), stride(1), dtype=f.dtype, device=f.device)
        ones[:, 0] = 1
        sums = filtered(ones, None, None, None, None, 1, "logits")
        pre, after = scales(norm, sums[:, 0].view(n, -1))
    post = f.new_ones(f[:, 0].numel()) * weight if after is None else after * weight
    return lambda q, x, epilogue: filtered(q, x, pre, post, matrix, classes, epilogue)


def separable_step(
    f: Tensor, norm: str, weight: float | Tensor, matrix: Tensor | None, own: bool
) -> Step:  # fmt: skip
    """The step of a term whose features are the place alone: two small products, by torch."""
    n, _, h, w = f.shape
    axes = [(p[:, None] - p).square().mul(-0.5).exp() for p in (f[0, 1, :, 0], f[0, 0, 0, :])]

    def filtered(q: Tensor) -> Tensor:
        grid = q.view(n, h, w, -1)
        down, across = axes
        rows = torch.einsum("xk,njkc->njxc", across, grid)
        if own:
            return torch.einsum("yj,njxc->nyxc", down, rows).reshape(q.shape)
        # K - I without subtracting 1: small kernels would cancel.
        hollow = [axis - torch.diag(axis.diagonal()) for axis in axes]
        rest = torch.einsum("yj,njxc->nyxc", hollow[0], rows)
        return (rest + torch.einsum("xk,nykc->nyxc", hollow[1], grid)).reshape(q.shape)

    pre = after = None
    if norm != "none":
        sums = filtered(f.new_ones(n * h * w, 1))
        pre, after = scales(norm, sums.view(n, -1))
    post = weight if after is None else (after * weight)[:, None]

    def step(q: Tensor, x: Tensor, epilogue: str) -> Tensor:
        message = post * filtered(q if pre is None else q * pre[:, None])
        if matrix is not None:
            message = torch.nn.functional.pad(
                message[:, : len(matrix)] @ matrix.T, (0, q.shape[1] - len(matrix))
            )
        assert epilogue == "logits", "a dense step ends an iteration"
        return x + message

    return step


Library = tuple[Callable[..., Tensor], Callable[..., Tensor], Callable[..., Tensor]]
"""Of `compiler.crf`, or of the text of it in an emitted file: mean_field, unary_scores, features.
"""


def dense_field(
    library: Library, logits: Tensor, terms: Sequence[Any], *, method: str = "exact",
    iterations: int = 10, include_self: bool = True, mix: Any = None, unary_weight: Any = 1.0,
    given: str = "logits", start: str = "softmax", returns: str = "proba", tail: float = TAIL,
) -> Tensor:  # fmt: skip
    """`mean_field(method=exact)` without gradients, by the kernel.

    The arguments are those of `mean_field`, which computes the field where the router does not
    choose the kernel. Terms of the place alone are separable, and stay with torch.

    Raises:
        ValueError: as `mean_field`.
    """
    mean_field, unary_scores, features = library
    if method != "exact":
        raise ValueError(f"the dense kernel is for method='exact', not for {method!r}")
    settings = {"iterations": iterations, "unary_weight": unary_weight, "given": given,
                "start": start, "returns": returns}  # fmt: skip
    name = None
    if 0 <= tail < 1 and takes(logits, terms, iterations, mix, unary_weight):
        name = _route(logits, terms, mix, start)
    if name is None:
        return mean_field(logits, terms, method=method, include_self=include_self, mix=mix,
                          tail=tail, **settings)  # fmt: skip
    how = Pairs(include_self, tail, name)

    def built(scores: Tensor) -> list[Step]:
        first: list[Step] = []
        last: list[Step] = []
        for members, matrix in grouped(terms, mix, scores):
            for place, weight in members:
                term = terms[place]
                kernel = features(term, scores), term.norm, weight, matrix
                if term.sigma is None:
                    first.append(separable_step(*kernel, include_self))
                else:
                    last.append(dense_step(*kernel, scores.shape[1], how))
        return first + last

    return inferred(logits, unary_scores, built, **settings)


def _route(logits: Tensor, terms: Sequence[Any], mix: Any, start: str) -> str | None:
    """The tile of the kernel; None where the library computes the field."""
    pairs = [term.sigma is not None for term in terms]
    matrix = has_matrix(terms, mix)
    n, c, h, w = logits.shape
    widths = [width for width, dense in zip(lengths(terms), pairs, strict=True) if dense]
    # Logarithms of 0 are infinite, which halves of a scale cannot hold.
    if not widths or start != "softmax":
        return None
    if not accepts("dense_crf", fallback_reason(c, max(widths), n, h * w, matrix=matrix)):
        return None
    return chosen(key(logits, widths, matrix=matrix), default_config(c, logits.dtype))
