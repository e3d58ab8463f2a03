"""The effective receptive field with uniform weights: how often each pixel enters, per axis.

Luo et al. 2016 (arXiv:1701.04128): in a chain of L convolutions of kernel k the weights spread as
a bell with standard deviation sqrt(L*(k*k - 1)/12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, lcm, sqrt

import numpy as np
from numpy.typing import NDArray

from segdsl.analysis.reach.periodic import MAX_PERIOD, pattern, why_not_periodic
from segdsl.analysis.reach.wiring import ReachError, Wiring
from segdsl.ir import Value
from segdsl.taps import Taps
from segdsl.types import Axis

Floats = NDArray[np.float64]

SHARES = (0.2, 0.3, 0.5, 0.9545, 0.99)
"""The shares of the weight for which widths are told."""


@dataclass(frozen=True, eq=False)
class Profile:
    """The weights of the input pixels from `lo` on, for one output; they sum to 1."""

    lo: int
    weights: Floats

    @property
    def mean(self) -> float:
        """The centre of gravity, as an input pixel."""
        return self.lo + float(np.arange(len(self.weights)) @ self.weights)

    @property
    def std(self) -> float:
        """The standard deviation, in input pixels."""
        places = np.arange(len(self.weights)) + (self.lo - self.mean)
        return sqrt(float(places**2 @ self.weights))

    def width(self, share: float) -> int:
        """Pixels of the smallest interval around the middle that holds this share of the weight."""
        sums = np.concatenate(([0.0], np.cumsum(self.weights)))
        length = len(self.weights)
        for cut in range((length - 1) // 2, 0, -1):
            if sums[length - cut] - sums[cut] >= share - 1e-12:
                return length - 2 * cut
        return length

    @property
    def widths(self) -> dict[float, int]:
        """The widths for all of `SHARES`."""
        return {share: self.width(share) for share in SHARES}


@dataclass(frozen=True, eq=False)
class Spread:
    """A profile per phase: output q*period + f has that of phase f, moved by q*shift pixels."""

    period: int
    shift: int
    phases: tuple[Profile | None, ...]

    def at(self, y: int) -> Profile | None:
        """The profile of output `y`; None: it reads nothing."""
        turns, phase = divmod(y, self.period)
        found = self.phases[phase]
        return None if found is None else Profile(found.lo + turns * self.shift, found.weights)


START = Spread(1, 1, (Profile(0, np.ones(1)),))


def effective(wiring: Wiring, value: Value, axis: Axis) -> Spread:
    """The uniform-weight profile of a value along an axis, local paths only, away from borders.

    Every operator takes the mean of what it reads, every merge the mean of its operands.

    Raises:
        ReachError: the value reads no pixel by value edges, or has no periodic field.
    """
    names = _needed(wiring, value.node, axis)
    users = _users(wiring, names, axis)
    found: dict[str, Spread | None] = {}
    for node in names:
        found[node] = _spread(wiring, node, axis, found)
        for slot, operand in enumerate(wiring.wires[node].operands):
            if wiring.wires[node].tags[axis][slot] == "value":
                users[operand.node] -= 1
                if not users[operand.node] and operand.node != value.node:
                    del found[operand.node]
    answer = found[value.node]
    if answer is None:
        raise ReachError(f"`{value.node}` reads no pixel of `{wiring.input}` by value edges")
    return answer


def _needed(wiring: Wiring, last: str, axis: Axis) -> list[str]:
    """The nodes that `last` depends on by value edges, in order."""
    wanted = {last}
    for node in reversed(list(wiring.wires)):
        if node in wanted:
            wired = wiring.wires[node]
            kinds = wired.tags[axis]
            wanted |= {
                v.node for v, kind in zip(wired.operands, kinds, strict=True) if kind == "value"
            }
    return [node for node in wiring.wires if node in wanted]


def _users(wiring: Wiring, names: Sequence[str], axis: Axis) -> dict[str, int]:
    count = dict.fromkeys(names, 0)
    for node in names:
        wired = wiring.wires[node]
        for operand, kind in zip(wired.operands, wired.tags[axis], strict=True):
            if kind == "value":
                count[operand.node] += 1
    return count


def _spread(
    wiring: Wiring, node: str, axis: Axis, found: dict[str, Spread | None]
) -> Spread | None:
    wired = wiring.wires[node]
    if not wired.operands:
        return START if node == wiring.input else None
    parts = []
    for operand, taps, kind in zip(wired.operands, wired.taps[axis], wired.tags[axis], strict=True):
        spread = found.get(operand.node) if kind == "value" else None
        if spread is not None:
            parts.append(_through(spread, taps, node))
    return _merged(parts, node) if parts else None


def _through(spread: Spread, taps: Taps, node: str) -> Spread:
    reason = why_not_periodic(taps)
    if reason is not None:
        raise ReachError(f"`{node}` has no effective field for all sizes: {reason}")
    assert taps.advance is not None
    out, into = taps.advance
    if out == into == 1 and pattern(taps) == ((0,),):
        return spread
    turns = spread.period // gcd(spread.period, into)
    _check(out * turns, node)
    phases = tuple(
        _mean([spread.at(i + turn * into) for i in indices])
        for turn in range(turns)
        for indices in pattern(taps)
    )
    return Spread(out * turns, spread.shift * into * turns // spread.period, phases)


def _merged(parts: Sequence[Spread], node: str) -> Spread:
    if len(parts) == 1:
        return parts[0]
    if len({part.shift * parts[0].period == parts[0].shift * part.period for part in parts}) > 1:
        raise ReachError(f"paths of different steps meet at `{node}`")
    period = lcm(*(part.period for part in parts))
    _check(period, node)
    phases = tuple(_mean([part.at(y) for part in parts]) for y in range(period))
    return Spread(period, parts[0].shift * period // parts[0].period, phases)


def _check(period: int, node: str) -> None:
    if period > MAX_PERIOD:
        raise ReachError(f"the pattern at `{node}` repeats only after {period:,} pixels")


def _mean(profiles: Sequence[Profile | None]) -> Profile | None:
    """The mean of those profiles that read anything."""
    read = [p for p in profiles if p is not None]
    if len(read) <= 1:
        return read[0] if read else None
    lo = min(p.lo for p in read)
    weights = np.zeros(max(p.lo + len(p.weights) for p in read) - lo)
    for profile in read:
        start = profile.lo - lo
        weights[start : start + len(profile.weights)] += profile.weights
    return Profile(lo, weights / len(read))
