"""The effective receptive field of a network whose weights are all alike, along one axis.

Weights instead of intervals flow from one output pixel to the input: the taps of an operator and
the operands of a merge share evenly. As Luo et al. 2016 (arXiv:1701.04128) show, a stack of
convolutions so tends to a Gaussian, much narrower than the theoretical field.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segdsl.analysis.reach.periodic import Phases, pattern
from segdsl.analysis.reach.spans import Span
from segdsl.analysis.reach.tables import Reach
from segdsl.ir import Value
from segdsl.taps import Taps
from segdsl.types import Axis

SHARES = (0.2, 0.3, 0.5, 0.9545, 0.99)
"""Parts of the total influence for which widths are told."""

Floats = NDArray[np.float64]

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Spread:
    """How far influence spreads along one axis.

    Attributes:
        field: the theoretical field, in pixels.
        std: the standard deviation of the influence, in pixels.
        widths: for each of SHARES the pixels around the middle of the field that hold it.
    """

    field: int
    std: float
    widths: tuple[int, ...]


@dataclass(frozen=True)
class _Weights:
    """Weights of the positions from `first` on."""

    first: int
    values: Floats


def widest(state: Phases) -> tuple[int, Span] | None:
    """The first phase with the largest field; None where no phase reads anything."""
    return max(state.read(), key=lambda item: item[1].length, default=None)


def uniform(reach: Reach, value: Value, axis: Axis) -> Spread | None:
    """The spread of the widest phase of a value; None where its local field has no period."""
    state = reach.line(value, axis).local
    chosen = widest(state) if isinstance(state, Phases) else None
    if chosen is None:
        return None
    phase, span = chosen
    weights = _at_input(reach, value, axis, phase)
    places = np.arange(weights.first, weights.first + len(weights.values))
    return spread(span.lo, span.hi, places, weights.values)


def spread(low: int, high: int, places: NDArray[np.int64], weights: Floats) -> Spread:
    """The spread of weights at these places, about the middle of the field from `low` to `high`."""
    share = weights / weights.sum()
    mean = float(share @ places)
    std = float(np.sqrt(share @ (places - mean) ** 2))
    return Spread(high - low + 1, std, widths(np.abs(2 * places - low - high), share))


def widths(twice: NDArray[np.int64], share: Floats) -> tuple[int, ...]:
    """For each of SHARES the smallest width, in pixels, of a centred range that holds it.

    Args:
        twice: double the distance of each pixel from the middle, all odd or all even.
        share: the part of the total that each pixel has.
    """
    inside = np.bincount(twice.ravel(), weights=share.ravel()).cumsum()
    found = []
    for wanted in SHARES:
        reached = int(np.searchsorted(inside, wanted * inside[-1] - _ROUNDING))
        found.append(reached + 1)
    return tuple(found)


def _at_input(reach: Reach, value: Value, axis: Axis, y: int) -> _Weights:
    """The influence of every input pixel on output `y` of a value."""
    marks = {value.node: _Weights(y, np.ones(1))}
    for node in reversed(list(reach.wiring.wires)):
        if node == reach.wiring.input or node not in marks:
            continue
        weights = marks.pop(node)
        read = _values(reach, node, axis)
        for operand, taps in read:
            pushed = _pushed(weights, taps, len(read))
            marks[operand] = _sum(marks[operand], pushed) if operand in marks else pushed
    return marks[reach.wiring.input]


def _values(reach: Reach, node: str, axis: Axis) -> list[tuple[str, Taps]]:
    """The operands that carry the local field, with their taps."""
    wired = reach.wiring.wires[node]
    return [
        (operand.node, taps)
        for operand, taps, kind in zip(
            wired.operands, wired.taps[axis], wired.tags[axis], strict=True
        )
        if kind == "value" and isinstance(reach.line(operand, axis).local, Phases)
    ]


def _pushed(weights: _Weights, taps: Taps, operands: int) -> _Weights:
    """The weights of the pixels that are read; every tap of an output has an equal part."""
    assert taps.advance is not None, "the field has a period"
    out, into = taps.advance
    turn = weights.first // out
    size = len(weights.values)
    parts: list[tuple[int, Floats]] = []
    for phase, indices in enumerate(pattern(taps)):
        skip = turn * out + phase - weights.first
        skip += out if skip < 0 else 0
        if skip >= size or not indices:
            continue
        share = weights.values[skip::out] / (len(indices) * operands)
        turns = (weights.first + skip) // out
        parts += [(turns * into + index, share) for index in indices]
    if not parts:
        return _Weights(weights.first, np.zeros(1))
    first = min(start for start, _ in parts)
    last = max(start + (len(share) - 1) * into for start, share in parts)
    total = np.zeros(last - first + 1)
    for start, share in parts:
        total[start - first : start - first + (len(share) - 1) * into + 1 : into] += share
    return _Weights(first, total)


def _sum(one: _Weights, other: _Weights) -> _Weights:
    first = min(one.first, other.first)
    last = max(w.first + len(w.values) for w in (one, other))
    total = np.zeros(last - first)
    for w in (one, other):
        total[w.first - first : w.first - first + len(w.values)] += w.values
    return _Weights(first, total)
