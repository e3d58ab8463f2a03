"""Receptive fields at one input size: exact at every pixel, borders included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segdsl.analysis.reach.gather import NOTHING, Bools, Ints, passes, table
from segdsl.analysis.reach.periodic import Phases
from segdsl.analysis.reach.wiring import Wire, Wiring, wire_at
from segdsl.ir import Graph, Value
from segdsl.taps import Nothing, Taps, Whole
from segdsl.types import Axis

FAR = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Field:
    """First and last input pixel of every output pixel along one axis.

    Where `empty`, an output reads nothing and `lo` and `hi` mean nothing.
    """

    lo: Ints
    hi: Ints

    @property
    def empty(self) -> Bools:
        """The outputs that read no pixel."""
        return self.hi < 0

    def __len__(self) -> int:
        return len(self.lo)

    def at(self, y: int) -> tuple[int, int] | None:
        """First and last pixel that output `y` reads; None: none."""
        return None if self.hi[y] < 0 else (int(self.lo[y]), int(self.hi[y]))

    @property
    def hull(self) -> tuple[int, int] | None:
        """First and last pixel that any output reads; None: none is read."""
        last = int(self.hi.max(initial=-1))
        return None if last < 0 else (int(self.lo.min()), last)


@dataclass(frozen=True, eq=False)
class Both:
    """The fields of a node along value edges only, and along all edges; None: it reads nothing."""

    local: Field | None
    full: Field | None


@dataclass(frozen=True)
class Concrete:
    """The fields of all values of a graph at known sizes."""

    wiring: Wiring
    nodes: Mapping[str, tuple[Both, Both]]

    def local(self, value: Value, axis: Axis) -> Field | None:
        """The field of a value along value edges; None: it reads no pixel so."""
        return self.nodes[value.node][axis].local

    def full(self, value: Value, axis: Axis) -> Field | None:
        """The field of a value along all edges; None: it reads no pixel."""
        return self.nodes[value.node][axis].full


def fields(graph: Graph, at: Mapping[str, int], input: str | None = None) -> Concrete:
    """The receptive field of every pixel of every value at known sizes.

    Args:
        graph: the network.
        at: a value for every size symbol of the input maps (`{"H": 512, "W": 512}`).
        input: the input whose pixels are meant; the first map if left out.

    Raises:
        ReachError: a size is missing or not accepted, or there is no such input.
    """
    wiring = wire_at(graph, at, input)
    nodes: dict[str, tuple[Both, Both]] = {}
    for node, wired in wiring.wires.items():
        read = [nodes[value.node] for value in wired.operands]
        rows = _both(wiring, node, wired, 0, [r[0] for r in read])
        if _square(wiring, node, wired) and all(r[0] is r[1] for r in read):
            nodes[node] = (rows, rows)
        else:
            nodes[node] = (rows, _both(wiring, node, wired, 1, [r[1] for r in read]))
    return Concrete(wiring, nodes)


def _square(wiring: Wiring, node: str, wired: Wire) -> bool:
    """Whether both axes are computed alike."""
    values = (Value(node), *wired.operands)
    same = all(wiring.extent(v.node, 0) == wiring.extent(v.node, 1) for v in values)
    return same and wired.taps[0] == wired.taps[1]


def _both(wiring: Wiring, node: str, wired: Wire, axis: Axis, read: Sequence[Both]) -> Both:
    size = _size(wiring, node, axis)
    if not wired.operands:
        if node != wiring.input:
            return Both(None, None)
        pixels = np.arange(size)
        start = Field(pixels, pixels)
        return Both(start, start)
    local = _join(_parts(wiring, wired, axis, size, [b.local for b in read], local=True))
    plain = all(kind in ("value", "size") for kind in wired.tags[axis])
    plain = plain and not any(taps.also for taps in wired.taps[axis])
    if plain and all(
        b.full is b.local for b, kind in zip(read, wired.tags[axis], strict=True) if kind != "size"
    ):
        return Both(local, local)
    full = _join(_parts(wiring, wired, axis, size, [b.full for b in read], local=False))
    return Both(local, full)


def _size(wiring: Wiring, node: str, axis: Axis) -> int:
    size = wiring.extent(node, axis)
    assert isinstance(size, int)
    return size


def _parts(
    wiring: Wiring,
    wired: Wire,
    axis: Axis,
    size: int,
    read: Sequence[Field | None],
    *,
    local: bool,
) -> list[Field]:
    """What each operand alone gives to the outputs."""
    found: list[Field] = []
    for slot, field in enumerate(read):
        taps, kind = wired.taps[axis][slot], wired.tags[axis][slot]
        if field is None or isinstance(taps, Nothing) or (local and kind != "value"):
            continue
        before = _size(wiring, wired.operands[slot].node, axis)
        for each in (taps,) if local else taps.dependences:
            found.append(_read(field, each, before, size))
    return found


def _read(field: Field, taps: Taps, before: int, size: int) -> Field:
    """What `size` outputs read by these taps alone of an operand with `before` pixels."""
    if isinstance(taps, Whole):
        return _spread(field, size)
    return field if passes(taps, before, size) else _gathered(field, table(taps, before, size))


def _spread(field: Field, size: int) -> Field:
    """Everything that is read anywhere, for every output."""
    hull = field.hull
    lo, hi = hull if hull is not None else (FAR, -1)
    return Field(np.full(size, lo, dtype=np.int64), np.full(size, hi, dtype=np.int64))


def _gathered(field: Field, indices: Ints) -> Field:
    # The table's NOTHING picks the last entry, which is the neutral one of min and of max.
    assert NOTHING == -1
    lo, hi = np.append(field.lo, FAR), np.append(field.hi, -1)
    return Field(lo[indices].min(axis=1, initial=FAR), hi[indices].max(axis=1, initial=-1))


def _join(parts: Sequence[Field]) -> Field | None:
    if not parts:
        return None
    whole = parts[0]
    for part in parts[1:]:
        if part is not whole:
            whole = Field(np.minimum(whole.lo, part.lo), np.maximum(whole.hi, part.hi))
    return whole


def interior(field: Field, state: Phases) -> tuple[int, int] | None:
    """The longest range of outputs whose field is the periodic one; None: there is none."""
    ys = np.arange(len(field))
    turns, phase = np.divmod(ys, state.period)
    empty = np.array([span is None for span in state.spans])[phase]
    lo = np.array([0 if s is None else s.lo for s in state.spans])[phase] + turns * state.shift
    hi = np.array([0 if s is None else s.hi for s in state.spans])[phase] + turns * state.shift
    same = np.where(empty, field.empty, (field.lo == lo) & (field.hi == hi))
    edges = np.flatnonzero(np.diff(np.concatenate(([0], same.astype(np.int8), [0]))))
    runs = [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
    return max(runs, key=lambda run: run[1] - run[0], default=None)
