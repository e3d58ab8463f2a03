"""Exact sets of input pixels at known sizes: of one pixel in 2-D, or of a whole map per axis.

Sets, unlike intervals, compose exactly backward: a mask is pushed from the output to the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from segdsl.analysis.reach.gather import NOTHING, Bools, Ints, passes, table
from segdsl.analysis.reach.wiring import ReachError, Wiring
from segdsl.ir import Value
from segdsl.taps import Nothing, Taps, Whole
from segdsl.types import HEIGHT, WIDTH, Axis

Range = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Support:
    """The input pixels that one output pixel depends on.

    Attributes:
        rows: first and last input row; None: it depends on none.
        cols: first and last input column.
        count: how many pixels it depends on.
        mask: which of the pixels of that box, true where it depends on them.
    """

    rows: Range | None
    cols: Range | None
    count: int
    mask: Bools


@dataclass
class _Patch:
    """A mask on a part of a map, from (top, left)."""

    top: int
    left: int
    mask: Bools


def pixel(wiring: Wiring, value: Value, y: int, x: int, *, local: bool = False) -> Support:
    """The exact set of input pixels that pixel (y, x) of a value depends on.

    Args:
        wiring: the graph at known sizes (`wire_at`).
        value: whose pixel.
        y: its row.
        x: its column.
        local: whether only value edges count.

    Raises:
        ReachError: the pixel lies outside the map, or the value is none.
    """
    sizes = [wiring.extent(value.node, axis) for axis in (HEIGHT, WIDTH)]
    if wiring.types[value].rank != 4:
        raise ReachError(f"`{value.node}` is no map: it has the shape {wiring.types[value]}")
    if not (0 <= y < int(str(sizes[0])) and 0 <= x < int(str(sizes[1]))):
        raise ReachError(f"pixel ({y}, {x}) lies outside of `{value.node}`: {sizes[0]}x{sizes[1]}")
    patches = {value.node: _Patch(y, x, np.ones((1, 1), dtype=bool))}
    for node in reversed(_order(wiring, value.node)):
        patch = patches.pop(node, None) if node != wiring.input else None
        if patch is not None:
            for operand, pushed in _pushed(wiring, node, patch, local=local):
                patches[operand] = _joined(patches.get(operand), pushed)
    return _support(patches.get(wiring.input))


def _order(wiring: Wiring, last: str) -> list[str]:
    """The nodes up to `last`, in order."""
    names = list(wiring.wires)
    return names[: names.index(last) + 1]


def _support(patch: _Patch | None) -> Support:
    if patch is None or not patch.mask.any():
        return Support(None, None, 0, np.zeros((0, 0), dtype=bool))
    top, left, mask = patch.top, patch.left, patch.mask
    height, width = mask.shape
    rows, cols = (top, top + height - 1), (left, left + width - 1)
    return Support(rows, cols, int(mask.sum()), mask)


def _pushed(
    wiring: Wiring, node: str, patch: _Patch, *, local: bool
) -> Iterable[tuple[str, _Patch]]:
    """What every operand of a node passes on, for the outputs of `patch`."""
    wired = wiring.wires[node]
    for slot, operand in enumerate(wired.operands):
        pair = wired.taps[HEIGHT][slot], wired.taps[WIDTH][slot]
        kinds = wired.tags[HEIGHT][slot], wired.tags[WIDTH][slot]
        if isinstance(pair[0], Nothing) or (local and set(kinds) != {"value"}):
            continue
        before = _extents(wiring, operand.node)
        after = _extents(wiring, node)
        both = [pair] if local else zip_longest(*(t.dependences for t in pair), fillvalue=None)
        for down, across in both:
            # An axis without a second dependence has its plain taps in that, too.
            rows = _moved(patch.mask, patch.top, down or pair[0], before[0], after[0])
            mask, left = _moved(rows[0].T, patch.left, across or pair[1], before[1], after[1])
            trimmed = _trimmed(rows[1], left, mask.T)
            if trimmed is not None:
                yield operand.node, trimmed


def _extents(wiring: Wiring, node: str) -> tuple[int, int]:
    height, width = wiring.extent(node, HEIGHT), wiring.extent(node, WIDTH)
    assert isinstance(height, int)
    assert isinstance(width, int)
    return height, width


def _moved(mask: Bools, first: int, taps: Taps, before: int, after: int) -> tuple[Bools, int]:
    """A mask of output rows from `first` on, as a mask of input rows and its first row."""
    if isinstance(taps, Whole):
        return np.repeat(mask.any(axis=0, keepdims=True), before, axis=0), 0
    if passes(taps, before, after):
        return mask, first
    indices = table(taps, before, after)[first : first + len(mask)]
    inside = indices[indices != NOTHING]
    if not inside.size:
        return np.zeros((0, mask.shape[1]), dtype=bool), 0
    low, high = int(inside.min()), int(inside.max())
    found = np.zeros((high - low + 1, mask.shape[1]), dtype=bool)
    for column in indices.T:
        _scatter(found, column - low, mask, column != NOTHING)
    return found, low


def _scatter(found: Bools, places: Ints, mask: Bools, valid: Bools) -> None:
    """`found[places[y]] |= mask[y]` for all valid y, although places may repeat."""
    places, mask = places[valid], mask[valid]
    if len(places) > 1 and not (np.diff(places) > 0).all():
        np.logical_or.at(found, places, mask)
    else:
        found[places] |= mask


def _trimmed(top: int, left: int, mask: Bools) -> _Patch | None:
    """The mask without empty rows and columns at its borders; None: it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _Patch(top + int(rows[0]), left + int(columns[0]), box)


def _joined(one: _Patch | None, other: _Patch) -> _Patch:
    if one is None:
        return other
    top, left = min(one.top, other.top), min(one.left, other.left)
    bottom = max(p.top + p.mask.shape[0] for p in (one, other))
    right = max(p.left + p.mask.shape[1] for p in (one, other))
    mask = np.zeros((bottom - top, right - left), dtype=bool)
    for patch in (one, other):
        height, width = patch.mask.shape
        y, x = patch.top - top, patch.left - left
        mask[y : y + height, x : x + width] |= patch.mask
    return _Patch(top, left, mask)


def used(wiring: Wiring, values: Iterable[Value], axis: Axis, *, local: bool = False) -> Bools:
    """Which input pixels of an axis any pixel of any of `values` depends on."""
    targets = {value.node for value in values}
    marks = {n: np.ones(_extents(wiring, n)[axis], dtype=bool) for n in targets}
    for node in reversed(list(wiring.wires)):
        mask = marks.get(node)
        if mask is None or node == wiring.input:
            continue
        if node not in targets:
            del marks[node]
        for operand, found in _marked(wiring, node, mask, axis, local=local):
            marks[operand] = marks[operand] | found if operand in marks else found
    empty = np.zeros(_extents(wiring, wiring.input)[axis], dtype=bool)
    return marks.get(wiring.input, empty)


def _marked(
    wiring: Wiring, node: str, mask: Bools, axis: Axis, *, local: bool
) -> Iterable[tuple[str, Bools]]:
    wired = wiring.wires[node]
    for slot, operand in enumerate(wired.operands):
        taps, kind = wired.taps[axis][slot], wired.tags[axis][slot]
        if isinstance(taps, Nothing) or (local and kind != "value"):
            continue
        before = _extents(wiring, operand.node)[axis]
        for each in (taps,) if local else taps.dependences:
            yield operand.node, _read(mask, each, before)


def _read(mask: Bools, taps: Taps, before: int) -> Bools:
    """Which of the `before` pixels of an operand the marked outputs read by these taps alone."""
    if isinstance(taps, Whole):
        return np.full(before, bool(mask.any()))
    if passes(taps, before, len(mask)):
        return mask
    indices = table(taps, before, len(mask))[mask]
    found = np.zeros(before, dtype=bool)
    found[indices[indices != NOTHING]] = True
    return found


def supports(wiring: Wiring, value: Value, axis: Axis, *, local: bool = False) -> list[set[int]]:
    """The input pixels along an axis that each output pixel depends on (holes left out).

    Cost grows with the area of the map: for small sizes and tests of single maps.
    """
    sets: list[set[int]] = []
    size = _extents(wiring, value.node)[axis]
    for y in range(size):
        sets.append(set(np.flatnonzero(_line(wiring, value, axis, y, local=local)).tolist()))
    return sets


def _line(wiring: Wiring, value: Value, axis: Axis, y: int, *, local: bool) -> Bools:
    start = np.zeros(_extents(wiring, value.node)[axis], dtype=bool)
    start[y] = True
    marks = {value.node: start}
    for node in reversed(_order(wiring, value.node)):
        mask = marks.pop(node, None) if node != wiring.input else None
        if mask is not None:
            for operand, found in _marked(wiring, node, mask, axis, local=local):
                marks[operand] = marks[operand] | found if operand in marks else found
    empty = np.zeros(_extents(wiring, wiring.input)[axis], dtype=bool)
    return marks.get(wiring.input, empty)


def ranges(mask: Sequence[bool] | Bools) -> list[Range]:
    """The runs of true entries, as first and last index."""
    flags = np.concatenate(([0], np.asarray(mask, dtype=np.int8), [0]))
    edges = np.flatnonzero(np.diff(flags)).reshape(-1, 2)
    return [(int(a), int(b) - 1) for a, b in edges]


def unused(wiring: Wiring, values: Iterable[Value], axis: Axis) -> list[Range]:
    """The input pixels of an axis that no pixel of any of `values` depends on, as ranges."""
    return ranges(~used(wiring, values, axis))
