"""How far one array is from its reference, and what that means."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from compiler.verify.tolerances import AGREEMENT, PLACES, WHOLE_NET
from compiler.weights.table import Array

Verdict = Literal["pass", "faint", "depart", "shape", "nan"]
"""`faint`: the reference is so small that the gate could not fail; no departure."""

WRONG: tuple[Verdict, ...] = ("depart", "shape", "nan")
_BADNESS: dict[Verdict, int] = {"pass": 0, "faint": 1, "depart": 2, "shape": 3, "nan": 4}


@dataclass(frozen=True)
class Gate:
    """What is judged, and its limit.

    `err` is at most the limit; `agreement`, the share of pixels with the reference's class, is at
    least it.
    """

    kind: Literal["err", "argmax"] = "err"
    limit: float = WHOLE_NET

    @classmethod
    def argmax(cls, agreement: float | None = None) -> Gate:
        """The gate for files of low precision; the limit is int8's unless it is given."""
        return cls("argmax", AGREEMENT["int8"] if agreement is None else agreement)


@dataclass(frozen=True)
class Figures:
    """One comparison. `agreement` and `miou` only where classes or whole numbers were compared.

    `limit` is that of `err`, or of `agreement` where it is given.
    """

    verdict: Verdict
    limit: float
    max_abs: float = 0.0
    err: float = 0.0
    rel_l2: float = 0.0
    agreement: float | None = None
    miou: float | None = None

    @property
    def wrong(self) -> bool:
        """Whether this is a departure."""
        return self.verdict in WRONG

    @property
    def badness(self) -> tuple[int, float, float]:
        """Sorts comparisons of one stage, the worst last."""
        lost = 0.0 if self.agreement is None else 1.0 - self.agreement
        return _BADNESS[self.verdict], lost, self.err


def compare(reference: Array, found: Array, gate: Gate) -> Figures:
    """The figures of `found` beside `reference`, which is float64 or whole numbers."""
    if gate.kind == "argmax":
        return _classes(reference, found, gate.limit)
    if reference.shape != found.shape:
        return Figures("shape", gate.limit, inf, inf, inf)
    if reference.dtype.kind in "biu":
        return _places(reference, found)
    return _numbers(reference, found.astype(np.float64), gate.limit)


def _numbers(reference: Array, found: Array, limit: float) -> Figures:
    if not (np.isfinite(reference).all() and np.isfinite(found).all()):
        return Figures("nan", limit, inf, inf, inf)
    scale = float(np.abs(reference).max(initial=0.0))
    difference = found - reference
    max_abs = float(np.abs(difference).max(initial=0.0))
    err = max_abs / max(1.0, scale)
    length, lost = float(np.linalg.norm(reference)), float(np.linalg.norm(difference))
    rel_l2 = lost / length if length else (inf if lost else 0.0)
    faint: Verdict = "faint" if scale <= limit else "pass"
    return Figures("depart" if err > limit else faint, limit, max_abs, err, rel_l2)


def _places(reference: Array, found: Array) -> Figures:
    """Whole numbers are equal or not; how far apart two places are says nothing."""
    share = float((reference == found).mean()) if reference.size else 1.0
    return Figures("pass" if share >= PLACES else "depart", PLACES, agreement=share)


def _classes(reference: Array, found: Array, limit: float) -> Figures:
    """Score maps, or a map of classes that the other side made itself, by class."""
    if not np.isfinite(reference).all() or not np.isfinite(found).all():
        return Figures("nan", limit, inf, inf, inf, 0.0)
    wanted = classes(reference)
    ready = found.dtype.kind in "biu"
    given = found.reshape(wanted.shape) if ready and found.size == wanted.size else None
    if given is None:
        if found.shape != reference.shape:
            return Figures("shape", limit, inf, inf, inf, 0.0)
        given = classes(found)
    share = float((wanted == given).mean()) if wanted.size else 1.0
    verdict: Verdict = "pass" if share >= limit else "depart"
    miou = mean_iou(wanted, given)
    if ready:
        return Figures(verdict, limit, agreement=share, miou=miou)
    numbers = _numbers(reference, found.astype(np.float64), limit)
    return Figures(verdict, limit, numbers.max_abs, numbers.err, numbers.rel_l2, share, miou)


def classes(scores: Array) -> Array:
    """The class of every pixel, `[N, ...]` from `[N, C, ...]`; one channel is cut at 0."""
    if scores.dtype.kind in "biu":
        return scores
    return scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(axis=1)


def mean_iou(wanted: Array, given: Array) -> float:
    """Intersection over union of two maps of classes, averaged over the classes in either."""
    shares = []
    for label in np.union1d(wanted, given):
        left, right = wanted == label, given == label
        shares.append(float((left & right).sum() / (left | right).sum()))
    return float(np.mean(shares)) if shares else 1.0
