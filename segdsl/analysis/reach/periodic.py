"""Receptive fields away from the borders, for all sizes at once: one span per phase.

Output q*T + f reads the span of phase f, moved by q*S pixels: T is the period, S the shift.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm

from segdsl.analysis.reach.spans import DENSE, Span, contains, union
from segdsl.taps import Bins, Blurred, Corners, First, Nothing, Shifted, Sliding, Taps, Whole

MAX_PERIOD = 4096
"""Longer periods are not computed (a decision, to keep hostile input cheap)."""

TOO_LONG = f"the pattern repeats only after more than {MAX_PERIOD:,} pixels"


@dataclass(frozen=True, slots=True)
class Phases:
    """A periodic field: `shift` input pixels for every `period` outputs; an empty phase is None."""

    period: int
    shift: int
    spans: tuple[Span | None, ...]

    @property
    def jump(self) -> Fraction:
        """Input pixels per output pixel."""
        return Fraction(self.shift, self.period)

    def at(self, y: int) -> Span | None:
        """What output `y` reads on the unbounded axis; None is nothing."""
        turns, phase = divmod(y, self.period)
        span = self.spans[phase]
        return None if span is None else span.shifted(turns * self.shift)

    def read(self) -> list[tuple[int, Span]]:
        """The phases that read anything, with their spans."""
        return [(f, span) for f, span in enumerate(self.spans) if span is not None]


@dataclass(frozen=True, slots=True)
class Everything:
    """The whole axis, or all of it that is read before a global operator."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A field that has no period; `reason` says why."""

    reason: str


State = Phases | Everything | Unknown | None
"""What a value depends on along an axis; None: on no pixel of the input."""

START = Phases(1, 1, (Span(0, 0),))
EVERYTHING = Everything()


def through(state: State, taps: Taps) -> State:
    """The field of an output whose operand has the field `state` and is read by `taps`."""
    if state is None or isinstance(taps, Nothing):
        return None
    if isinstance(state, Everything) or isinstance(taps, Whole):
        return EVERYTHING
    if isinstance(state, Unknown):
        return state
    reason = why_not_periodic(taps)
    if reason is not None:
        return Unknown(reason)
    if isinstance(taps, Sliding):
        quick = _slide(state, taps)
        if quick is not None:
            return quick
    return _walk(state, taps)


def why_not_periodic(taps: Taps) -> str | None:
    """Why these taps do not repeat; None if they do."""
    match taps:
        case Shifted(offset=None):
            return "a margin or crop is split by an amount that depends on the size"
        case Corners():
            return "the ratio of a resize depends on the size"
        case Blurred():
            return "the coarse grid of a window begins where the size says"
        case Bins():
            return f"the {taps.bins} bins of an adaptive pool depend on the size"
        case First():
            return "one pixel is stretched over the axis"
        case Whole():
            return "the whole axis is read"
    if taps.advance is None:
        return f"the taps of {type(taps).__name__.lower()} do not repeat"
    return TOO_LONG if taps.advance[0] > MAX_PERIOD else None


def _slide(state: Phases, taps: Sliding) -> Phases | None:
    """The usual case without a loop: one phase, no holes before or after."""
    window = taps.window
    if window.kernel == window.stride == 1 and window.before == 0:
        return state
    span = state.spans[0]
    if state.period > 1 or span is None or span.bits != DENSE:
        return None
    if window.kernel > 1 and span.length < state.shift * window.dilation:
        return None
    first = -window.before
    last = first + window.extent - 1
    wide = Span(span.lo + state.shift * first, span.hi + state.shift * last)
    return Phases(1, state.shift * window.stride, (wide,))


@lru_cache(maxsize=4096)
def pattern(taps: Taps) -> tuple[tuple[int, ...], ...]:
    """The indices that outputs 0 to p_out - 1 read, for taps that advance by p_out."""
    assert taps.advance is not None
    return tuple(tuple(taps.indices(y)) for y in range(taps.advance[0]))


def _walk(state: Phases, taps: Taps) -> State:
    """The rule for all taps: period p_out * q with q = T / gcd(T, p_in)."""
    assert taps.advance is not None
    out, into = taps.advance
    turns = state.period // gcd(state.period, into)
    if out * turns > MAX_PERIOD:
        return Unknown(TOO_LONG)
    base = pattern(taps)
    spans: list[Span | None] = []
    for turn in range(turns):
        for indices in base:
            read = [state.at(i + turn * into) for i in indices]
            spans.append(_union(read))
    shift = state.shift * into * turns // state.period
    return reduced(Phases(out * turns, shift, tuple(spans)))


def _union(spans: Iterable[Span | None]) -> Span | None:
    read = list(dict.fromkeys(span for span in spans if span is not None))
    return union(read) if read else None


def reduced(state: Phases) -> Phases:
    """The same field with its smallest period."""
    for prime in _primes(gcd(state.period, state.shift)):
        while state.period % prime == state.shift % prime == 0:
            period, shift = state.period // prime, state.shift // prime
            shorter = Phases(period, shift, state.spans[:period])
            if any(shorter.at(y) != span for y, span in enumerate(state.spans)):
                break
            state = shorter
    return state


def _primes(number: int) -> Iterator[int]:
    factor = 2
    while number > 1:
        if number % factor == 0:
            yield factor
            while number % factor == 0:
                number //= factor
        factor = factor + 1 if factor * factor <= number else number


def merge(states: Sequence[State]) -> State:
    """What depends on all of `states` together."""
    read = list({id(state): state for state in states if state is not None}.values())
    if len(read) <= 1:
        return read[0] if read else None
    if any(isinstance(state, Everything) for state in read):
        return EVERYTHING
    for state in read:
        if isinstance(state, Unknown):
            return state
    return _merge([state for state in read if isinstance(state, Phases)])


def _merge(read: Sequence[Phases]) -> State:
    first = read[0]
    if any(not keeps_step(first, state) for state in read):
        words = " and ".join(map(str, sorted({state.jump for state in read})))
        return Unknown(f"paths advance {words} input pixels per output pixel")
    period = lcm(*(state.period for state in read))
    if period > MAX_PERIOD:
        return Unknown(TOO_LONG)
    big = max(read, key=lambda state: _covered(state) * (period // state.period))
    if all(state is big or within(state, big) for state in read):
        return big
    spans = tuple(_union([state.at(y) for state in read]) for y in range(period))
    return reduced(Phases(period, first.shift * period // first.period, spans))


def keeps_step(one: Phases, other: Phases) -> bool:
    """Whether two fields advance alike."""
    return one.shift * other.period == other.shift * one.period


def width(state: Phases) -> Fraction:
    """The mean interval over phases: a field that holds another is never less wide."""
    return Fraction(_covered(state), state.period)


def _covered(state: Phases) -> int:
    return sum(span.hi - span.lo + 1 for span in state.spans if span)


def within(inner: State, outer: State) -> bool:
    """Whether every output reads with `inner` only what it reads with `outer`."""
    if inner is None or inner is outer or isinstance(outer, Everything):
        return True
    if not isinstance(inner, Phases) or not isinstance(outer, Phases):
        return False
    if not keeps_step(inner, outer):
        return False
    pairs: Iterable[tuple[Span | None, Span | None]]
    if inner.period == outer.period:
        pairs = zip(inner.spans, outer.spans, strict=True)
    else:
        pairs = ((inner.at(y), outer.at(y)) for y in range(lcm(inner.period, outer.period)))
    return all(a is None or (b is not None and contains(b, a)) for a, b in pairs)
