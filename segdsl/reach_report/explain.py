"""Which operators make a receptive field as large as it is: the paths that set its two ends.

A path leads from a pixel of the stage to one input pixel, through the tap of each operator that
reaches furthest. An operator's share is the distance from the middle of its taps to the tap that
is taken, in input pixels. The shares of both paths, the pixel itself, and the distance between the
middles of the paths where they are misaligned make up the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from segdsl.analysis.reach.periodic import Phases, State, through
from segdsl.analysis.reach.tables import Reach
from segdsl.analysis.reach.trace import Side, path
from segdsl.analysis.reach.wiring import AXES
from segdsl.ir import Value
from segdsl.reach_report.boxes import widest
from segdsl.reach_report.stages import Stage
from segdsl.reach_report.text import table
from segdsl.taps import Sliding, Spread, Taps
from segdsl.types import Axis


@dataclass(frozen=True)
class Share:
    """What one operator adds.

    Attributes:
        node: its node.
        op: its name, with the kernel along the axis where it has one.
        jump: input pixels per pixel of what it reads.
        left: input pixels that it adds before; None: not on the path to the first pixel.
        right: the same behind.
        branches: the fields that its operands give it, where they differ or the paths part here.
        field: the largest field of its result.
    """

    node: str
    op: str
    jump: Fraction
    left: Fraction | None
    right: Fraction | None
    branches: tuple[int, ...]
    field: int


@dataclass(frozen=True)
class Explanation:
    """The shares of all operators in one field along one axis, from the input on.

    `apart` is the distance between the middles of both paths; `reason` says why there is nothing
    to explain. `field == 1 + left + right + apart`.
    """

    stage: str
    axis: Axis
    field: int
    shares: tuple[Share, ...]
    apart: Fraction
    reason: str | None = None

    @property
    def left(self) -> Fraction:
        """All shares before, in input pixels."""
        return sum((s.left for s in self.shares if s.left is not None), Fraction(0))

    @property
    def right(self) -> Fraction:
        """All shares behind, in input pixels."""
        return sum((s.right for s in self.shares if s.right is not None), Fraction(0))


@dataclass(frozen=True)
class _Step:
    node: str
    slot: int
    jump: Fraction
    share: Fraction


def explanation(reach: Reach, name: str, value: Value, axis: Axis) -> Explanation:
    """Which operators make the widest field of a value along an axis."""
    state = reach.line(value, axis).local
    chosen = widest(state) if isinstance(state, Phases) else None
    if chosen is None:
        reason = reach.axis(value, axis).reason or "no pixel is read"
        return Explanation(name, axis, 0, (), Fraction(0), reason)
    phase, span = chosen
    first = list(_path(reach, value, axis, phase, "lo"))
    last = list(_path(reach, value, axis, phase, "hi"))
    left, right = {s.node: s for s in first}, {s.node: s for s in last}
    shares = []
    for node in reach.wiring.wires:
        steps = [path[node] for path in (left, right) if node in path]
        if steps:
            shares.append(_share(reach, axis, node, steps[0].jump, left.get(node), right.get(node)))
    middles = span.lo + sum((s.share for s in first), Fraction(0))
    apart = span.hi + sum((s.share for s in last), Fraction(0)) - middles
    return Explanation(name, axis, span.length, tuple(filter(_matters, shares)), apart)


def _matters(share: Share) -> bool:
    return bool(share.left or share.right or len(share.branches) > 1)


def _path(reach: Reach, value: Value, axis: Axis, phase: int, side: Side) -> Iterator[_Step]:
    """The steps of a path with their shares, which are signed: positive towards the first pixel."""
    for step in path(reach, value, axis, side, phase):
        wired = reach.wiring.wires[step.node]
        state = reach.line(wired.operands[step.slot], axis).local
        centre = wired.taps[axis][step.slot].centre
        assert isinstance(state, Phases)
        assert centre is not None, "taps that repeat have a middle"
        ratio, shift = centre
        yield _Step(
            step.node, step.slot, state.jump, state.jump * (ratio * step.y + shift - step.index)
        )


def _values(reach: Reach, node: str, axis: Axis) -> Iterator[tuple[Value, Taps]]:
    """The operands that carry the local field, with their taps."""
    wired = reach.wiring.wires[node]
    for operand, taps, kind in zip(wired.operands, wired.taps[axis], wired.tags[axis], strict=True):
        if kind == "value" and isinstance(reach.line(operand, axis).local, Phases):
            yield operand, taps


def _share(
    reach: Reach, axis: Axis, node: str, jump: Fraction, left: _Step | None, right: _Step | None
) -> Share:
    given = [
        (taps, _largest(through(reach.line(operand, axis).local, taps)))
        for operand, taps in _values(reach, node, axis)
    ]
    sizes = tuple(size for _, size in given)
    part = left is not None and right is not None and left.slot != right.slot
    return Share(
        node=node,
        op=f"{reach.graph[node].op.name}{_kernel(given[0][0])}",
        jump=jump,
        left=None if left is None else left.share,
        right=None if right is None else -right.share,
        branches=sizes if part or len(set(sizes)) > 1 else (),
        field=_largest(reach.line(Value(node), axis).local),
    )


def _largest(state: State) -> int:
    if not isinstance(state, Phases):
        return 0
    return max((span.length for _, span in state.read()), default=0)


def _kernel(taps: Taps) -> str:
    """Kernel, stride and dilation along the axis, as far as they are not 1."""
    if not isinstance(taps, Sliding | Spread):
        return ""
    w = taps.window
    words = [f" {w.kernel}"] if w.kernel > 1 else []
    words += [f" stride {w.stride}"] if w.stride > 1 else []
    words += [f" dilation {w.dilation}"] if w.dilation > 1 else []
    return "".join(words)


def explanations(reach: Reach, stages: Sequence[Stage]) -> list[Explanation]:
    """The explanations of these stages; of one axis where both are alike."""
    found = []
    for stage in stages:
        rows, columns = (explanation(reach, stage.name, stage.value, axis) for axis in AXES)
        same = (rows.shares, rows.reason) == (columns.shares, columns.reason)
        found += [rows] if same else [rows, columns]
    return found


def as_text(found: Explanation, *, both: bool = False) -> list[str]:
    """A table of the shares and their sum; `both` if rows and columns are explained apart."""
    where = f"`{found.stage}`" + (f", {'rows' if found.axis == 0 else 'columns'}" if both else "")
    if found.reason is not None:
        return [f"{where}: nothing to explain: {found.reason}"]
    head = ("operator", "at", "jump", "before", "behind", "field", "branches")
    rows = [_cells(share) for share in found.shares]
    parts = [f"1 + {found.left} before + {found.right} behind"]
    parts += [f" + {found.apart} between the paths"] if found.apart else []
    return [f"{where} reads {found.field} = {''.join(parts)}", *table([head, *rows])]


def _cells(share: Share) -> tuple[str, ...]:
    sides = ("-" if side is None else str(side) for side in (share.left, share.right))
    branches = " | ".join(map(str, share.branches))
    return (share.op, share.node, str(share.jump), *sides, str(share.field), branches)


def as_json(found: Explanation) -> dict[str, object]:
    """The same as plain data."""
    return {
        "stage": found.stage,
        "axis": "hw"[found.axis],
        "field": found.field,
        "left": str(found.left),
        "right": str(found.right),
        "apart": str(found.apart),
        "reason": found.reason,
        "shares": list(_shares(found.shares)),
    }


def _shares(shares: Iterable[Share]) -> Iterator[dict[str, object]]:
    for share in shares:
        yield {
            "node": share.node,
            "op": share.op,
            "jump": str(share.jump),
            "left": None if share.left is None else str(share.left),
            "right": None if share.right is None else str(share.right),
            "branches": list(share.branches),
            "field": share.field,
        }
