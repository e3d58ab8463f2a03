"""What the kernels of mean fields share: rows of pixels, weights in groups, the end of a step.

A map [N, C, h, w] is held as rows [N h w, S]: a pixel's classes lie together, filled up with zeros
to a multiple of four, so that they are read 16 bytes at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .common import DTYPES, INTERPRETED

EPILOGUES: dict[str, int] = {"logits": 0, "proba": 1, "log_proba": 2}
"""What is returned, by the number that the kernels know it by."""

EPSILON = 1e-20
"""Added to row sums: a pixel without neighbours gets no message."""

TOGETHER = 4
"""Classes that one load takes."""

MOST_CLASSES = 256
"""The scores of a pixel stay in registers."""

MOST_MIXED = 64
"""A matrix over the classes takes as many steps as there are classes, each over all of them."""


@triton.jit
def finished(
    acc, at, kept, classes, Anchor, Matrix,
    C: tl.constexpr, EPILOGUE: tl.constexpr,
):  # fmt: skip
    """The end of a step: messages [rows, BC] to x or its softmax.

    Anchor has the offsets `at`, where `kept` says; Matrix is [C, C]; both may be None.
    """
    if Matrix is not None:
        # Class by class: a float32 product of whole tiles keeps both in registers, and spills.
        mixed = tl.zeros_like(acc)
        for c in tl.range(0, C):
            one = tl.sum(tl.where((classes == c)[None, :], acc, 0.0), axis=1)
            column = tl.load(Matrix + classes * C + c, mask=classes < C, other=0.0)
            mixed += one[:, None] * column[None, :]
        acc = mixed
    if Anchor is not None:
        acc += tl.load(Anchor + at, mask=kept, other=0.0)
    if EPILOGUE > 0:
        acc = tl.where((classes < C)[None, :], acc, float("-inf"))
        acc = acc - tl.max(acc, axis=1)[:, None]
        norm = tl.sum(tl.exp(acc), axis=1)[:, None]
        acc = tl.exp(acc) / norm if EPILOGUE == 1 else acc - tl.log(norm)
    return acc


def ended(
    message: Tensor, anchor: Tensor | None, matrix: Tensor | None, classes: int, epilogue: str
) -> Tensor:
    """The same in plain torch, on rows [P, S]."""
    real = message[:, :classes]
    real = real if matrix is None else real @ matrix.T
    real = real if anchor is None else anchor[:, :classes] + real
    if epilogue != "logits":
        real = (torch.softmax if epilogue == "proba" else torch.log_softmax)(real, 1)
    return torch.nn.functional.pad(real, (0, message.shape[1] - classes))


def stride(classes: int) -> int:
    """S: the classes of a row, with what fills it up."""
    return -(-classes // TOGETHER) * TOGETHER


def rows_of(x: Tensor) -> Tensor:
    """A map [N, C, h, w] as rows [N h w, S]."""
    c = x.shape[1]
    wide = x.new_zeros(x[:, 0].numel(), stride(c))
    wide[:, :c] = x.permute(0, 2, 3, 1).reshape(-1, c)
    return wide


def map_of(rows: Tensor, like: Tensor) -> Tensor:
    """Rows [N h w, S] as a map of the shape of `like`, [N, C, h, w]."""
    n, c, h, w = like.shape
    return rows[:, :c].reshape(n, h, w, c).permute(0, 3, 1, 2).contiguous()


def check_rows(
    q: Tensor, anchor: Tensor | None, matrix: Tensor | None, classes: int, epilogue: str
) -> None:
    """Refuse operands of a step that do not go together.

    Raises:
        ValueError: rows that are not [P, S] without gaps, an anchor or a matrix of another size,
            an unknown epilogue.
    """
    if q.dim() != 2 or not 0 < classes <= q.shape[1] or q.shape[1] % TOGETHER:
        raise ValueError(f"rows of {classes} classes are [P, {stride(classes)}], not {[*q.shape]}")
    if anchor is not None and anchor.shape != q.shape:
        raise ValueError(f"`anchor` is {tuple(anchor.shape)}, not {tuple(q.shape)}")
    if matrix is not None and matrix.shape != (classes, classes):
        raise ValueError(f"the matrix is {tuple(matrix.shape)}, not {(classes, classes)}")
    if epilogue not in EPILOGUES:
        raise ValueError(f"the epilogue is one of {', '.join(EPILOGUES)}, not {epilogue!r}")


def check_kinds(floats: Sequence[Tensor | None], places: Sequence[Tensor | None]) -> None:
    """Refuse operands that a kernel would read wrongly.

    Raises:
        TypeError: numbers that are not float32, or places that are not int32.
        ValueError: an operand with gaps.
    """
    for wanted, given in ((torch.float32, floats), (torch.int32, places)):
        for tensor in given:
            if tensor is not None and tensor.dtype != wanted:
                raise TypeError(f"the kernel takes {wanted}, not {tensor.dtype}")
            if tensor is not None and not tensor.is_contiguous():
                raise ValueError(f"an operand has gaps: strides {tuple(tensor.stride())}")


def scales(norm: str, n: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """What to multiply with at the sender and at the receiver, from row sums n [N, pixels].

    Returns:
        [N pixels] each, or None for 1.
    """
    if norm == "none":
        return None, None
    if norm == "mean":
        n = n.mean(1, keepdim=True).expand_as(n)
    root = (n + EPSILON).rsqrt().flatten()
    if norm == "symmetric":
        return root, root
    return (root.square(), None) if norm == "before" else (None, root.square())


def is_number(weights: Any) -> bool:
    """Whether weights are one number for all classes."""
    return isinstance(weights, int | float) or (isinstance(weights, Tensor) and weights.dim() == 0)


def matrix_of(weights: Any, like: Tensor) -> Tensor:
    """Weights [C], a diagonal, or [C, C], as a matrix; a number as a multiple of the identity."""
    given = torch.as_tensor(weights, dtype=like.dtype, device=like.device)
    if given.dim() == 0:
        given = given.expand(like.shape[1])
    return torch.diag(given) if given.dim() == 1 else given


Member = tuple[int, float | Tensor]
"""The place of a term among all, and the number that its normalised kernel is multiplied with."""


def grouped(
    terms: Sequence[Any], mix: Any, like: Tensor
) -> list[tuple[list[Member], Tensor | None]]:
    """Terms by the matrix over their sum: numbers go together, and every other weight is one.

    Args:
        terms: of the field.
        mix: [C, C] over the attracting ones, or None.
        like: [N, C, h, w].
    """
    plain: dict[bool, list[Member]] = {}
    found: list[tuple[list[Member], Tensor | None]] = []
    mixing = None if mix is None else matrix_of(mix, like)
    for place, term in enumerate(terms):
        sign, under = (1.0 if term.attracts else -1.0), mixing is not None and term.attracts
        if is_number(term.weights):
            plain.setdefault(under, []).append((place, sign * term.weights))
            continue
        matrix = matrix_of(term.weights, like)
        if under:
            assert mixing is not None
            matrix = mixing @ matrix
        found.append(([(place, sign)], matrix))
    found += [(members, mixing if under else None) for under, members in plain.items()]
    return found


def has_matrix(terms: Sequence[Any], mix: Any) -> bool:
    """Whether any group of the terms stands under a matrix."""
    return mix is not None or not all(is_number(term.weights) for term in terms)


def lengths(terms: Sequence[Any]) -> list[int]:
    """How many features a pixel has in each term."""
    return [
        (2 if t.sxy is not None else 0) + (t.guide.shape[1] if t.sigma is not None else 0)
        for t in terms
    ]


def tracked(parts: Sequence[Any]) -> bool:
    """Whether a gradient is recorded: the kernels have none."""
    wanted = any(isinstance(part, Tensor) and part.requires_grad for part in parts)
    return wanted and torch.is_grad_enabled()


def takes(logits: Tensor, terms: Sequence[Any], iterations: int, *learned: Any) -> bool:
    """Whether a kernel may be asked at all: a device, a dtype, messages, and no gradients."""
    if not iterations or not terms or tracked([logits, *learned, *sum(terms, ())]):
        return False
    if not (logits.is_cuda or INTERPRETED) or logits.dim() != 4 or not logits.numel():
        return False
    return logits.dtype in DTYPES and min(lengths(terms)) > 0


Step = Callable[[Tensor, Tensor, str], Tensor]
"""(q, x, epilogue) to the epilogue of x plus a message of q; all are rows, or all are maps."""


def inferred(
    logits: Tensor, unary_scores: Callable[..., Tensor], built: Callable[[Tensor], list[Step]],
    *, iterations: int, unary_weight: Any, given: str, start: str, returns: str,
    packed: Callable[[Tensor], Tensor] = rows_of,
    unpacked: Callable[[Tensor, Tensor], Tensor] = map_of,
) -> Tensor:  # fmt: skip
    """The iterations of a field: `built` makes the steps of one from the scores [N, C, h, w].

    Maps are held as `packed` makes them; `unpacked`, which sees the scores too, turns them back.

    Raises:
        ValueError: scores or guides that `mean_field` refuses.
    """
    wide = torch.is_autocast_enabled(logits.device.type)
    with torch.autocast(logits.device.type, enabled=False):
        scores = unary_scores(logits, given)
        *before, last = built(scores)
        anchor = scores
        if not isinstance(unary_weight, int | float) or unary_weight != 1:
            weight = torch.as_tensor(unary_weight, dtype=scores.dtype, device=scores.device)
            anchor = scores * (weight if weight.dim() == 0 else weight[:, None, None])
        anchor = packed(anchor)
        first = torch.log_softmax if start == "log_softmax" else torch.softmax
        q = packed(first(scores, 1))
        for step in range(iterations):
            x = anchor
            for one in before:
                x = one(q, x, "logits")
            q = last(q, x, returns if step == iterations - 1 else "proba")
        done = unpacked(q, scores)
    return done if wide else done.to(logits.dtype)
