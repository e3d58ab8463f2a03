"""Sets of input pixels along one axis: an interval, and which of its pixels are in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MAX_TRACKED = 1 << 16
"""Intervals with holes that are longer than this keep their ends only."""

DENSE = 0
UNTRACKED = -1


class Span(NamedTuple):
    """The pixels from `lo` to `hi`, both included and both in the set.

    `bits` says which: `DENSE` is all of them, `UNTRACKED` an unknown part, else bit i is pixel
    `lo + i`.
    """

    lo: int
    hi: int
    bits: int = DENSE

    @property
    def length(self) -> int:
        """Pixels from the first to the last, holes included."""
        return self.hi - self.lo + 1

    @property
    def pixels(self) -> int | None:
        """Pixels in the set; None if that was not tracked."""
        if self.bits == UNTRACKED:
            return None
        return self.bits.bit_count() if self.bits else self.length

    @property
    def mask(self) -> int:
        """Bit i is pixel `lo + i`; only of a tracked span."""
        return self.bits or (1 << self.length) - 1

    def shifted(self, by: int) -> Span:
        """The set moved by some pixels."""
        return Span(self.lo + by, self.hi + by, self.bits) if by else self


def union(spans: Sequence[Span]) -> Span:
    """The pixels that are in any of the sets (at least one)."""
    if len(spans) == 1:
        return spans[0]
    lo, hi = min(s.lo for s in spans), max(s.hi for s in spans)
    if _fills(spans, lo, hi):
        return Span(lo, hi)
    if hi - lo >= MAX_TRACKED or any(s.bits == UNTRACKED for s in spans):
        return Span(lo, hi, UNTRACKED)
    bits = 0
    for span in spans:
        bits |= span.mask << (span.lo - lo)
    return Span(lo, hi, DENSE if bits == (1 << (hi - lo + 1)) - 1 else bits)


def _fills(spans: Sequence[Span], lo: int, hi: int) -> bool:
    """Whether the sets without holes cover everything from `lo` to `hi`."""
    reached = lo - 1
    for span in sorted(s for s in spans if s.bits == DENSE):
        if span.lo > reached + 1:
            return False
        reached = max(reached, span.hi)
    return reached == hi


def contains(outer: Span, inner: Span) -> bool:
    """Whether every pixel of `inner` is in `outer`; untracked sets contain nothing for sure."""
    if inner.lo < outer.lo or inner.hi > outer.hi:
        return False
    if outer.bits == DENSE:
        return True
    if UNTRACKED in (outer.bits, inner.bits):
        return False
    return not (inner.mask << (inner.lo - outer.lo)) & ~outer.mask
