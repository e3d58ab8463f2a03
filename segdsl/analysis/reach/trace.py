"""Which operators made a field grow: the path that sets its first or its last pixel."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from segdsl.analysis.reach.periodic import Phases, why_not_periodic
from segdsl.analysis.reach.tables import Reach
from segdsl.analysis.reach.wiring import ReachError
from segdsl.ir import Value
from segdsl.types import Axis

Side = Literal["lo", "hi"]


@dataclass(frozen=True)
class Step:
    """One node on the path, from the output to the input.

    Attributes:
        node: its name.
        slot: the operand through which the path goes on.
        y: the output position whose first or last pixel is followed.
        index: the position of the operand that is read.
        bound: the input pixel at which the field of `y` ends.
        gain: input pixels from the middle of the taps to the tap that is followed; below 0 towards
            `lo`. All gains together are the way from the path's centre to the end of the field.
    """

    node: str
    slot: int
    y: int
    index: int
    bound: int
    gain: Fraction


def path(table: Reach, value: Value, axis: Axis, side: Side, phase: int = 0) -> list[Step]:
    """The steps from an output to the input pixel at one end of its local field.

    Args:
        table: the fields of the graph.
        value: where the path starts.
        axis: height or width.
        side: `lo` follows the first pixel, `hi` the last.
        phase: the output position.

    Raises:
        ReachError: the value has no periodic local field, or this phase reads nothing.
    """
    state = table.line(value, axis).local
    span = state.at(phase) if isinstance(state, Phases) else None
    if span is None:
        raise ReachError(f"`{value.node}` has no periodic local field at phase {phase}")
    node, y, bound = value.node, phase, span.lo if side == "lo" else span.hi
    steps: list[Step] = []
    while node != table.wiring.input:
        step = _step(table, node, y, bound, axis, side)
        steps.append(step)
        node, y = table.wiring.wires[node].operands[step.slot].node, step.index
    return steps


def _step(table: Reach, node: str, y: int, bound: int, axis: Axis, side: Side) -> Step:
    """The operand and the tap by which the end is reached; there is one, as the end is exact."""
    wired = table.wiring.wires[node]
    for slot, (operand, taps) in enumerate(zip(wired.operands, wired.taps[axis], strict=True)):
        state = table.line(operand, axis).local
        if wired.tags[axis][slot] != "value" or not isinstance(state, Phases):
            continue
        if why_not_periodic(taps) is not None:
            continue
        assert taps.centre is not None
        ratio, shift = taps.centre
        for index in taps.indices(y):
            span = state.at(index)
            end = None if span is None else span.lo if side == "lo" else span.hi
            if end == bound:
                gain = (index - ratio * y - shift) * state.jump
                return Step(node, slot, y, index, bound, gain)
    raise AssertionError(f"no tap of {node!r} reaches input pixel {bound}")
