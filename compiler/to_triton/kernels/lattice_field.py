"""Mean fields on lattices by the kernels: the steps of an iteration, and when they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .field import Member, Step, grouped, has_matrix, inferred, lengths, scales, stride, takes
from .lattice import default_config, fallback_reason, key, lattice_filter
from .lattice_mesh import mesh_of
from .router import accepts, chosen


def step_of(
    members: Sequence[Member], norms: Sequence[str], lattices: Sequence[Any],
    matrix: Tensor | None, scores: Tensor, config: str,
) -> Step:  # fmt: skip
    """The step of some terms under one matrix; the row sums by the same kernels."""
    (n, classes), size = scores.shape[:2], scores[0, 0].numel()
    ones = torch.zeros(n * size, stride(1), dtype=scores.dtype, device=scores.device)
    ones[:, 0] = 1
    pre: list[Tensor | None] = []
    post: list[Tensor | float] = []
    for (place, weight), norm in zip(members, norms, strict=True):
        before = after = None
        if norm != "none":
            plain = mesh_of([lattices[place]], [None], [1.0])
            sums = lattice_filter(ones, None, *plain.tensors, None, 1, "logits", config)
            before, after = scales(norm, sums[:, 0].view(n, size))
        pre.append(before)
        post.append(weight if after is None else after * weight)
    mesh = mesh_of([lattices[place] for place, _ in members], pre, post)

    def step(q: Tensor, x: Tensor, epilogue: str) -> Tensor:
        done: Tensor = lattice_filter(q, x, *mesh.tensors, matrix, classes, epilogue, config)
        return done

    return step


Library = tuple[
    Callable[..., Tensor], Callable[..., Tensor], Callable[..., Tensor], Callable[..., Any]
]
"""Of `compiler.crf`, or of the text of it in an emitted file: mean_field, unary_scores, features,
lattice_of.
"""


def lattice_field(
    library: Library, logits: Tensor, terms: Sequence[Any], *, method: str = "lattice",
    iterations: int = 10, mix: Any = None, unary_weight: Any = 1.0, given: str = "logits",
    start: str = "softmax", returns: str = "proba",
) -> Tensor:  # fmt: skip
    """`mean_field(method=lattice)` without gradients, by the kernels.

    The arguments are those of `mean_field`, which computes the field where the router does not
    choose the kernels. The lattices are built by torch, once for each field.

    Raises:
        ValueError: as `mean_field`.
    """
    mean_field, unary_scores, features, lattice_of = library
    if method != "lattice":
        raise ValueError(f"the lattice kernels are for method='lattice', not for {method!r}")
    settings = {"iterations": iterations, "unary_weight": unary_weight, "given": given,
                "start": start, "returns": returns}  # fmt: skip
    name = None
    if takes(logits, terms, iterations, mix, unary_weight):
        name = _route(logits, terms, mix)
    if name is None:
        return mean_field(logits, terms, method=method, mix=mix, **settings)

    def built(scores: Tensor) -> list[Step]:
        lattices = [lattice_of(features(term, scores).detach().flatten(2)) for term in terms]
        return [
            step_of(members, [terms[i].norm for i, _ in members], lattices, matrix, scores, name)
            for members, matrix in grouped(terms, mix, scores)
        ]

    return inferred(logits, unary_scores, built, **settings)


def _route(logits: Tensor, terms: Sequence[Any], mix: Any) -> str | None:
    """The configuration of the kernels; None where the library computes the field."""
    matrix = has_matrix(terms, mix)
    axes = [length + 1 for length in lengths(terms)]
    n, c, h, w = logits.shape
    if not accepts("lattice", fallback_reason(c, sum(axes), n * h * w, matrix=matrix)):
        return None
    return chosen(key(logits, axes, matrix=matrix), default_config(c))
