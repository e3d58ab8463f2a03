"""What a `check` may ask of a receptive field: `rf(x).size`, `.h.min`, `.full.is_global`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from segdsl.analysis.reach.periodic import Everything, Phases, State, Unknown
from segdsl.analysis.reach.tables import Line, Reach, centre_offset
from segdsl.analysis.reach.wiring import AXES
from segdsl.ir import Value
from segdsl.types import HEIGHT, WIDTH

NUMBERS = ("size", "min", "max", "stride", "period", "offset", "is_global")
"""What may be asked."""
CHOICES = ("h", "w", "full")
"""What may stand before it: one axis, all edges."""


class NoValueError(Exception):
    """The quantity is not one number; the message gives its range."""


def fact(table: Reach, value: Value, words: Sequence[str]) -> int | Fraction | bool:
    """The answer to `rf(value).<words>`.

    The field is the local one, over both axes, unless `words` say otherwise.

    Raises:
        NoValueError: there is no single number.
        KeyError: a word means nothing here; it is the argument.
    """
    *choices, asked = words
    for word in choices:
        if word not in CHOICES:
            raise KeyError(word)
    if asked not in NUMBERS:
        raise KeyError(asked)
    axes = [HEIGHT] if "h" in choices else [WIDTH] if "w" in choices else list(AXES)
    lines = [table.line(value, axis) for axis in axes]
    if asked == "is_global":
        return any(isinstance(line.full, Everything) for line in lines)
    states = [_known(line, full="full" in choices) for line in lines]
    if asked in ("min", "max"):
        lengths = [length for state in states for length in _lengths(state)]
        return min(lengths) if asked == "min" else max(lengths)
    answers = [_one(state, asked) for state in states]
    if len(set(answers)) > 1:
        raise NoValueError(f"is {answers[0]} along the height and {answers[1]} along the width")
    return answers[0]


def _known(line: Line, *, full: bool) -> Phases:
    """The periodic field that is asked for."""
    state: State = line.full if full else line.local
    if isinstance(state, Phases) and state.read():
        return state
    raise NoValueError(_why_not(state, line))


def _why_not(state: State, line: Line) -> str:
    match state:
        case Everything():
            return "has no value: the whole axis is read"
        case Unknown(reason):
            return f"has no value for all sizes: {reason}"
        case Phases():
            return "has no value: no phase reads any pixel"
    if line.via:
        return f"has no value: pixels are read by {' and '.join(sorted(line.via))} edges only"
    return "has no value: no pixel of the input is read"


def _lengths(state: Phases) -> list[int]:
    return [span.length for _, span in state.read()]


def _one(state: Phases, asked: str) -> int | Fraction:
    if asked == "stride":
        return state.jump
    if asked == "period":
        return state.period
    if asked == "offset":
        offset = centre_offset(state)
        assert offset is not None
        return offset
    low, high = min(_lengths(state)), max(_lengths(state))
    if low != high:
        raise NoValueError(f"is {low}..{high} (period {state.period}), not one number")
    return low
