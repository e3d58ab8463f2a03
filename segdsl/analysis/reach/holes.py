"""Where fields have holes, which nodes open them, and which taps never meet the map."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from segdsl.analysis.reach.periodic import Phases, State
from segdsl.analysis.reach.spans import DENSE
from segdsl.analysis.reach.tables import Reach
from segdsl.ir import Value
from segdsl.taps import Sliding
from segdsl.types import Axis


def missing(state: Phases) -> tuple[int, ...]:
    """The pixels inside the field of the sparsest phase that are never read, from its first."""
    spans = [span for _, span in state.read() if span.pixels is not None]
    worst = min(spans, key=lambda span: Fraction(span.pixels or 0, span.length))
    return tuple(i for i in range(worst.length) if not worst.mask >> i & 1)


def openers(table: Reach, last: str, axis: Axis) -> Iterator[str]:
    """The nodes before `last` whose field has holes while those of their operands have none."""
    wanted = {last}
    for node in reversed(list(table.wiring.wires)):
        if node not in wanted:
            continue
        wired = table.wiring.wires[node]
        local = [v for v, k in zip(wired.operands, wired.tags[axis], strict=True) if k == "value"]
        wanted.update(v.node for v in local)
        if _has_holes(table.line(Value(node), axis).local) and not any(
            _has_holes(table.line(v, axis).local) for v in local
        ):
            yield node


def _has_holes(state: State) -> bool:
    return isinstance(state, Phases) and any(span.bits != DENSE for _, span in state.read())


def idle_taps(taps: Sliding, size: int, places: int) -> tuple[int, ...]:
    """The taps of a window, counted from 0, that meet no pixel of the map at any place.

    Args:
        taps: the window.
        size: pixels of the map.
        places: how many outputs there are.
    """
    window = taps.window
    if taps.edge != "drop":
        return ()
    found = []
    for tap in range(window.kernel):
        first = tap * window.dilation - window.before
        y = max(0, -(first // window.stride))
        if y >= places or first + y * window.stride >= size:
            found.append(tap)
    return tuple(found)
