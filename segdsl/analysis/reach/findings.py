"""What is suspicious about the fields of a network, as data: kind, place, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from segdsl.analysis.reach.alignment import Centre, Place, crop_between, parts
from segdsl.analysis.reach.coverage import losers, needed
from segdsl.analysis.reach.holes import idle_taps, missing, openers
from segdsl.analysis.reach.leftovers import leftovers
from segdsl.analysis.reach.periodic import Phases, State
from segdsl.analysis.reach.tables import Reach, density, reach
from segdsl.analysis.reach.wiring import AXES, accepted_sizes
from segdsl.analysis.sizes import SizeSet
from segdsl.analysis.strict import strict_sizes
from segdsl.ir import Graph, Node, Value
from segdsl.ops.combine import Crop
from segdsl.ops.resize import Resize
from segdsl.taps import Nothing, Sliding
from segdsl.types import Axis

if TYPE_CHECKING:
    from segdsl.analysis.reach.concrete import Concrete

CODES = {
    "gridding": "W7002",
    "wider_than_input": "W7003",
    "crop_offset": "W7004",
    "misaligned": "W7006",
    "empty_phase": "W7007",
    "unused_input": "W7008",
    "dropped_pixels": "W7009",
}
"""Kinds of findings and their codes."""


@dataclass(frozen=True)
class Finding:
    """One suspicious place.

    Attributes:
        kind: one of `CODES`.
        node: the node it is about.
        axes: the axes on which it is so.
        message: one sentence with the numbers.
        causes: the nodes that brought it about.
        numbers: the same numbers as data, by name.
    """

    kind: str
    node: str
    axes: tuple[Axis, ...]
    message: str
    causes: tuple[str, ...] = ()
    numbers: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def code(self) -> str:
        """The code of the warning."""
        return CODES[self.kind]


def findings(
    graph: Graph,
    at: Mapping[str, int] | None = None,
    *,
    input: str | None = None,
    table: Reach | None = None,
    accepted: Mapping[str, SizeSet] | None = None,
) -> list[Finding]:
    """Everything suspicious, in the order of the graph; equal ones on both axes are one.

    Args:
        graph: the network.
        at: sizes; with them also what is wrong at this size only.
        input: the input whose pixels are meant; the first map if left out.
        table: the fields of the graph, if they are known already.
        accepted: the accepted sizes, if they are known already.

    Raises:
        ReachError: there is no such input, or the sizes are refused.
    """
    known = accepted_sizes(graph) if accepted is None else accepted
    table = table or reach(graph, input, at=at, accepted=known)
    found: list[Finding] = []
    for axis in AXES:
        found += misalignments(table, axis)
        found += _empty_phases(table, axis)
        found += _gridding(table, axis)
        if at is None:
            found += _unread(table, axis)
    found += leftovers_of(graph, known, at)
    if at is not None:
        from segdsl.analysis.reach.concrete import fields  # numpy, which no lint of any size needs

        concrete = fields(graph, at, input)
        for axis in AXES:
            found += _at_size(table, concrete, axis)
    return _sorted(graph, found)


def _sorted(graph: Graph, found: Iterable[Finding]) -> list[Finding]:
    """Both axes together, in the order of the graph."""
    place = {node: i for i, node in enumerate(graph)}
    merged: dict[tuple[str, str, str], Finding] = {}
    for item in found:
        key = (item.kind, item.node, item.message)
        before = merged.get(key)
        merged[key] = item if before is None else replace(before, axes=before.axes + item.axes)
    return sorted(merged.values(), key=lambda f: place[f.node])


def misalignments(table: Reach, axis: Axis) -> Iterator[Finding]:
    """Merges whose operands lie elsewhere, crops at another place, and outputs off their input."""
    graph, places = table.graph, table.centres[axis]
    for node, wired in table.wiring.wires.items():
        own = parts(wired, axis, [places[v.node] for v in wired.operands])
        moved = [place for place in own if isinstance(place, Centre)]
        if len({(p.low, p.high) for p in moved}) > 1 and isinstance(places[node], Centre):
            yield _merge_finding(table, node, axis, own)
        op = graph[node].op
        if isinstance(op, Crop) and isinstance(op.offset, tuple) and len(wired.operands) == 2:
            yield from _crop_finding(table, node, op.offset[axis], axis)
    for node in graph.outputs:
        yield from _output_finding(table, node, axis)


def _merge_finding(table: Reach, node: str, axis: Axis, own: list[Place]) -> Finding:
    """The two operands that are furthest apart, and the crop that would bring them together."""
    spread = [(p, slot) for slot, p in enumerate(own) if isinstance(p, Centre)]
    near, near_slot = min(spread, key=lambda item: (item[0].low, item[0].high))
    far, far_slot = max(spread, key=lambda item: (item[0].high, item[0].low))
    apart = max(far.high - near.high, far.low - near.low)
    crop = _crop(near, far)
    words = (
        f"crop {crop} more before operand {near_slot + 1}"
        if crop is not None
        else ("no crop of whole pixels brings them together")
    )
    helps = _corner_help(table, node, axis)
    message = f"what meets here is {_pixels(apart)} apart; {'; '.join([words, *helps])}"
    causes = tuple(table.wiring.wires[node].operands[s].node for s in (near_slot, far_slot))
    numbers = {"offset": apart, "crop": crop, "slots": (near_slot, far_slot)}
    return Finding("misaligned", node, (axis,), message, causes, numbers)


def _crop(near: Centre, far: Centre) -> int | None:
    if not (near.aligned and far.aligned):
        return None
    pixels = (far.low - near.low) / near.step
    return int(pixels) if pixels.denominator == 1 else None


def _pixels(apart: Fraction) -> str:
    return f"{apart} input pixel{'s' if abs(apart) != 1 else ''}"


def _corner_help(table: Reach, node: str, axis: Axis) -> list[str]:
    """Whether aligned corners would put a resized operand where the size class allows them."""
    for operand in table.wiring.wires[node].operands:
        source = _resized(table, operand.node)
        if source is None:
            continue
        op, before = source
        place = table.centres[axis][before]
        smooth = op.mode in ("bilinear", "bicubic") and not op.align_corners
        if smooth and isinstance(place, Centre) and place.low == place.high == 0:
            step = place.step
            return [f"`align_corners=true` would align it where the size is 1 modulo {step}"]
    return []


def _resized(table: Reach, node: str) -> tuple[Resize, str] | None:
    """The resize that a node is, behind pointwise operators, and what it enlarges."""
    while True:
        op, wired = table.graph[node].op, table.wiring.wires[node]
        if isinstance(op, Resize):
            return op, wired.operands[0].node
        passing = len(wired.operands) == 1 and all(
            isinstance(taps[0], Sliding) and taps[0].window.kernel == 1 for taps in wired.taps
        )
        if not passing:
            return None
        node = wired.operands[0].node


def _crop_finding(table: Reach, node: str, written: int, axis: Axis) -> Iterator[Finding]:
    """A written crop offset that is not the one that aligns (W7004)."""
    wired, places = table.wiring.wires[node], table.centres[axis]
    ours, theirs = (places[operand.node] for operand in wired.operands)
    try:
        derived = crop_between(ours, theirs)
    except ValueError:
        return
    if derived != written:
        message = f"the offset is {written}, but the two maps align at {derived}"
        numbers = {"written": written, "derived": derived}
        causes = tuple(operand.node for operand in wired.operands)
        yield Finding("crop_offset", node, (axis,), message, causes, numbers)


def _output_finding(table: Reach, node: str, axis: Axis) -> Iterator[Finding]:
    """An output as large as the input whose pixels do not lie on those of the input."""
    place = table.centres[axis][node]
    sizes = table.wiring.extent(node, axis), table.wiring.extent(table.wiring.input, axis)
    if not isinstance(place, Centre) or place.step != 1 or sizes[0] != sizes[1]:
        return
    low, high = place.low, place.high
    if low <= 0 <= high:  # at most a merge on the way is off, which is told there
        return
    off = f"{_pixels(low)} off it" if low == high else f"{low} to {_pixels(high)} off it, by path"
    helps = _corner_help(table, node, axis)
    message = "; ".join([f"this output is as large as the input but lies {off}", *helps])
    numbers = {"offset": max(abs(low), abs(high)), "low": low, "high": high, "crop": None}
    yield Finding("misaligned", node, (axis,), message, (), numbers)


def _local(table: Reach, value: Value, axis: Axis) -> State:
    return table.line(value, axis).local


def _empty_phases(table: Reach, axis: Axis) -> Iterator[Finding]:
    """Nodes that leave phases without any input although their operands have none."""
    for node, wired in table.wiring.wires.items():
        state = _local(table, Value(node), axis)
        if not isinstance(state, Phases) or None not in state.spans or not wired.operands:
            continue
        before = [_local(table, operand, axis) for operand in wired.operands]
        if any(isinstance(s, Phases) and None in s.spans for s in before):
            continue
        empty = [f for f, span in enumerate(state.spans) if span is None]
        message = (
            f"{len(empty)} of {state.period} phases see nothing but the bias: phase "
            f"{_listed(empty)}"
        )
        numbers = {"period": state.period, "phases": tuple(empty)}
        yield Finding("empty_phase", node, (axis,), message, (), numbers)


def _gridding(table: Reach, axis: Axis) -> Iterator[Finding]:
    """Outputs whose field has holes, with the nodes at which holes first open."""
    for node in table.graph.outputs:
        state = _local(table, Value(node), axis)
        share = density(state) if isinstance(state, Phases) else None
        if share is None or share == 1:
            continue
        assert isinstance(state, Phases)
        offsets = missing(state)
        message = (
            f"only {share} of the pixels inside the field are read: never {_listed(offsets)} "
            f"from its first"
        )
        numbers = {"density": share, "missing": offsets}
        causes = tuple(openers(table, node, axis))
        yield Finding("gridding", node, (axis,), message, causes, numbers)


def _unread(table: Reach, axis: Axis) -> Iterator[Finding]:
    """Input pixels that no output reads, at any size."""
    need = needed(table.wiring, axis, table.graph.outputs)
    own = need.get(table.wiring.input)
    if own is None or own.everywhere:
        return
    share = Fraction(own.period - len(own.residues), own.period)
    lost = tuple(sorted(set(range(own.period)) - own.residues))
    message = (
        f"no output reads {share} of the pixels: those whose index is {_listed(lost)} modulo "
        f"{own.period}"
    )
    numbers = {"share": share, "period": own.period, "residues": lost}
    causes = tuple(losers(table.wiring, axis, need))
    yield Finding("unused_input", table.wiring.input, (axis,), message, causes, numbers)


def leftovers_of(
    graph: Graph, accepted: Mapping[str, SizeSet], at: Mapping[str, int] | None
) -> Iterator[Finding]:
    """Strided windows and crops that leave pixels over, at this size or at some accepted one."""
    best: Mapping[str, SizeSet] | None = None  # most networks leave nothing over
    for item in leftovers(graph, accepted, at):
        best = strict_sizes(graph, accepted) if best is None else best
        pixels = f"{item.pixels} pixel{'s' if item.pixels != 1 else ''}"
        message = f"for an input of size {item.size} {item.what.format(pixels)}"
        strict = best.get(item.symbol)
        numbers = {"size": item.size, "pixels": item.pixels, "strict": strict and str(strict)}
        yield Finding("dropped_pixels", item.node, (item.axis,), message, (), numbers)


def _at_size(table: Reach, concrete: Concrete, axis: Axis) -> Iterator[Finding]:
    """What is wrong at one size only."""
    from segdsl.analysis.reach.support import unused

    wiring = concrete.wiring
    size = wiring.extent(wiring.input, axis)
    assert isinstance(size, int)
    outputs = [Value(node) for node in table.graph.outputs]
    lost = unused(wiring, outputs, axis)
    if lost:
        listed = ", ".join(f"{a}..{b}" if a != b else str(a) for a, b in lost[:8])
        total = sum(b - a + 1 for a, b in lost)
        message = f"no output reads {total} of {size} pixels: {listed}"
        causes = tuple(losers(table.wiring, axis, needed(table.wiring, axis, table.graph.outputs)))
        numbers = {"ranges": tuple(lost), "count": total}
        yield Finding("unused_input", wiring.input, (axis,), message, causes, numbers)
    yield from _too_wide(table, axis, size)
    for node in table.graph.nodes():
        yield from _padding_only(concrete, node, axis)


def _too_wide(table: Reach, axis: Axis, size: int) -> Iterator[Finding]:
    """The first node whose field is wider than the input."""
    for node in table.wiring.wires:
        state = _local(table, Value(node), axis)
        if isinstance(state, Phases):
            wide = max((span.length for _, span in state.read()), default=0)
            if wide > size:
                message = f"from here on the field, {wide} pixels, is wider than the input, {size}"
                numbers = {"rf": wide, "size": size}
                yield Finding("wider_than_input", node, (axis,), message, (), numbers)
                return


def _padding_only(concrete: Concrete, node: Node, axis: Axis) -> Iterator[Finding]:
    """Dilated windows with taps that never meet the map, wherever the window stands."""
    wired = concrete.wiring.wires[node.name]
    for operand, taps in zip(wired.operands, wired.taps[axis], strict=True):
        if not isinstance(taps, Sliding) or isinstance(taps, Nothing):
            continue
        window, size = taps.window, concrete.wiring.extent(operand.node, axis)
        places = concrete.wiring.extent(node.name, axis)
        assert isinstance(size, int)
        assert isinstance(places, int)
        dead = idle_taps(taps, size, places) if window.dilation > 1 else ()
        if not dead:
            continue
        message = (
            f"on {size} pixels {len(dead)} of the {window.kernel} taps of a window of dilation "
            f"{window.dilation} read only padding: {_listed([tap + 1 for tap in dead])}"
        )
        numbers = {
            "dilation": window.dilation, "size": size, "kernel": window.kernel, "taps": dead,
        }  # fmt: skip
        yield Finding("wider_than_input", node.name, (axis,), message, (), numbers)


def _listed(numbers: Sequence[int], most: int = 8) -> str:
    """As `1, 3, 5`; only the first ones of many."""
    return ", ".join(map(str, numbers[:most])) + (", ..." if len(numbers) > most else "")
