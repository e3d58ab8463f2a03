"""Which input pixels no output reads, away from the borders, for all sizes at once.

Sets of residues are pushed backward: position y of a value is needed if y mod its period is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd, lcm

from segdsl.analysis.reach.periodic import MAX_PERIOD, pattern, why_not_periodic
from segdsl.analysis.reach.wiring import Wiring
from segdsl.taps import Nothing, Taps
from segdsl.types import Axis


@dataclass(frozen=True, slots=True)
class Needed:
    """The positions y with `y % period` in `residues`."""

    period: int
    residues: frozenset[int]

    @property
    def everywhere(self) -> bool:
        """Whether all positions are needed."""
        return len(self.residues) == self.period


ALL = Needed(1, frozenset({0}))


def needed(wiring: Wiring, axis: Axis, targets: Iterable[str]) -> dict[str, Needed]:
    """The positions of every node that some position of a target depends on.

    Where taps do not repeat, or only after very many positions, all positions count as needed.
    """
    found = dict.fromkeys(targets, ALL)
    for node in reversed(list(wiring.wires)):
        if node not in found:
            continue
        wired = wiring.wires[node]
        for operand, taps in zip(wired.operands, wired.taps[axis], strict=True):
            if isinstance(taps, Nothing):
                continue
            part = pulled(found[node], taps)
            before = found.get(operand.node)
            found[operand.node] = part if before is None else either(before, part)
    return found


def pulled(need: Needed, taps: Taps) -> Needed:
    """The positions of an operand that the needed outputs read."""
    if taps.also is not None:
        own, more = (pulled(need, each) for each in taps.dependences)
        return either(own, more)
    if why_not_periodic(taps) is not None:
        return ALL
    assert taps.advance is not None
    out, into = taps.advance
    turns = need.period // gcd(need.period, out)
    period = into * turns
    if out * turns > MAX_PERIOD or period > MAX_PERIOD:
        return ALL
    base = pattern(taps)
    residues = {
        (i + turn * into) % period
        for turn in range(turns)
        for y, indices in enumerate(base)
        if (y + turn * out) % need.period in need.residues
        for i in indices
    }
    return _shortened(Needed(period, frozenset(residues)))


def either(one: Needed, other: Needed) -> Needed:
    """The positions that are in one of two sets."""
    if one.everywhere or other.everywhere:
        return ALL
    period = lcm(one.period, other.period)
    if period > MAX_PERIOD:
        return ALL
    residues = frozenset(
        y for y in range(period)
        if y % one.period in one.residues or y % other.period in other.residues
    )  # fmt: skip
    return _shortened(Needed(period, residues))


def _shortened(need: Needed) -> Needed:
    return ALL if need.everywhere else need


def losers(wiring: Wiring, axis: Axis, found: dict[str, Needed]) -> list[str]:
    """The nodes whose own taps skip positions of an operand although they are needed everywhere.

    The causes of unread pixels, in order; only those whose operand is not read whole by others.
    """
    causes = []
    for node, wired in wiring.wires.items():
        if node not in found or not found[node].everywhere:
            continue
        if any(operand.node in found and not found[operand.node].everywhere
               for operand in wired.operands):  # fmt: skip
            causes.append(node)
    return causes
