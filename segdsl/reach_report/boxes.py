"""The pixel of a stage that stands for it in pictures and measurements, and what it reads."""

from __future__ import annotations

from dataclasses import dataclass

from segdsl.analysis.reach.concrete import Concrete, Field
from segdsl.analysis.reach.periodic import Phases, State
from segdsl.analysis.reach.spans import Span
from segdsl.analysis.reach.tables import Reach
from segdsl.ir import Value
from segdsl.types import Axis


@dataclass(frozen=True)
class Place:
    """Output `y` of a stage along one axis, with the first and last input pixel that it reads.

    Of a periodic stage these are not clipped at the border.
    """

    y: int
    lo: int
    hi: int


def widest(state: Phases) -> tuple[int, Span] | None:
    """The first phase with the largest field; None where no phase reads anything."""
    return max(state.read(), key=lambda item: item[1].length, default=None)


def middle(
    reach: Reach, exact: Concrete, value: Value, axis: Axis, *, widest: bool = True
) -> Place | None:
    """The output nearest to the middle with the widest (or the narrowest) field.

    Along value edges. None where nothing is read so.
    """
    field = exact.local(value, axis)
    return None if field is None else _middle(reach.line(value, axis).local, field, widest)


def _middle(state: State, field: Field, widest: bool) -> Place | None:
    centre = (len(field) - 1) // 2
    if not isinstance(state, Phases):
        return _exact(field, centre)
    spans = [item for item in state.read() if item[0] < len(field)]
    if not spans:
        return None
    pick = max if widest else min
    length = pick(span.length for _, span in spans)
    phases = {phase for phase, span in spans if span.length == length}
    near = (y for y in range(len(field)) if y % state.period in phases)
    y = min(near, key=lambda place: (abs(place - centre), place))
    span = state.at(y)
    assert span is not None
    return Place(y, span.lo, span.hi)


def _exact(field: Field, y: int) -> Place | None:
    here = field.at(y) if len(field) else None
    return None if here is None else Place(y, *here)


def at(exact: Concrete, value: Value, axis: Axis, y: int) -> Place | None:
    """What output `y` reads along value edges, clipped at the border; None: nothing."""
    field = exact.local(value, axis)
    return None if field is None or not 0 <= y < len(field) else _exact(field, y)
