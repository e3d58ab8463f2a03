"""Fields with holes: which pixels of the input each phase of a stage does read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from segdsl.analysis.reach.periodic import Phases
from segdsl.analysis.reach.spans import UNTRACKED, Span
from segdsl.analysis.reach.tables import Reach
from segdsl.ir import Value
from segdsl.types import HEIGHT, WIDTH, Axis


@dataclass(frozen=True)
class Gap:
    """A stage along one axis some of whose phases leave pixels out.

    Attributes:
        stage: its name.
        axis: `h`, `w`, or `hw` where both are the same.
        period: outputs after which the pattern repeats.
        phases: the phases with this pattern.
        reads: for output q*period + f the input pixels, less q*shift, of the first such phase.
        length: the pixels of the field, read or not.
    """

    stage: str
    axis: str
    period: int
    phases: tuple[int, ...]
    reads: tuple[int, ...]
    length: int


def gaps(reach: Reach, name: str, value: Value) -> list[Gap]:
    """The patterns of a value that leave pixels out, each with the phases that have it."""
    rows, columns = (list(_along(reach, name, value, axis)) for axis in (HEIGHT, WIDTH))
    if [gap.reads for gap in rows] == [gap.reads for gap in columns]:
        return [Gap(g.stage, "hw", g.period, g.phases, g.reads, g.length) for g in rows]
    return rows + columns


def _along(reach: Reach, name: str, value: Value, axis: Axis) -> Iterator[Gap]:
    state = reach.line(value, axis).local
    if not isinstance(state, Phases):
        return
    patterns: dict[tuple[int, int], list[tuple[int, Span]]] = {}
    for phase, span in state.read():
        if span.bits not in (0, UNTRACKED):
            patterns.setdefault((span.bits, span.length), []).append((phase, span))
    for found in patterns.values():
        span = found[0][1]
        reads = tuple(span.lo + i for i in range(span.length) if span.mask >> i & 1)
        phases = tuple(phase for phase, _ in found)
        yield Gap(name, "hw"[axis], state.period, phases, reads, span.length)


def as_text(found: Sequence[Gap]) -> list[str]:
    """One line per pattern; one that says so where there is none."""
    return [_line(gap) for gap in found] or ["no gaps: every field is read without holes"]


def _line(gap: Gap) -> str:
    axis = "" if gap.axis == "hw" else f", {gap.axis}"
    phase = f", phase {', '.join(map(str, gap.phases))} of {gap.period}" if gap.period > 1 else ""
    return (
        f"gaps at `{gap.stage}`{axis}{phase}: reads {len(gap.reads)} of {gap.length} pixels: "
        f"{_runs(gap.reads)}"
    )


def _runs(pixels: Sequence[int]) -> str:
    """`-6, -4, -2..2, 4`."""
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(pixels), 1) if b > a + 1), len(pixels)]
    runs = [(pixels[a], pixels[b - 1]) for a, b in pairwise(starts)]
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)


def as_json(gap: Gap) -> dict[str, object]:
    """The same as plain data."""
    return {
        "stage": gap.stage,
        "axis": gap.axis,
        "period": gap.period,
        "phases": list(gap.phases),
        "reads": list(gap.reads),
        "length": gap.length,
    }
