"""Taps at known sizes as index tables, for numpy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segdsl.taps import Shifted, Sliding, Spread, Taps

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NOTHING = -1
"""Stands in a table where an output has fewer taps than others, or a tap falls outside."""


@lru_cache(maxsize=1024)
def table(taps: Taps, before: int, after: int) -> Ints:
    """Row y holds the pixels that output y of `after` reads on an axis of `before`.

    Exact at the borders: edge rules are applied. Not for taps that read the whole axis.
    """
    match taps:
        case Sliding():
            w = taps.window
            first = np.arange(after)[:, None] * w.stride - w.before
            found = _edged(taps, first + np.arange(w.kernel)[None, :] * w.dilation, before)
        case Spread():
            w = taps.window
            place = np.arange(after)[:, None] + w.before - np.arange(w.kernel) * w.dilation
            whole = np.where(place % w.stride == 0, place // w.stride, NOTHING)
            found = np.where((whole >= 0) & (whole < before), whole, NOTHING)
        case Shifted(offset=int() as offset):
            place = np.arange(after)[:, None] * taps.step + offset
            found = _edged(taps, place, before)
        case _:
            found = _listed(taps, before, after)
    found.setflags(write=False)
    return found


def _edged(taps: Taps, place: Ints, before: int) -> Ints:
    """Indices of the unbounded axis, where the edge rule puts them."""
    if taps.edge == "clamp":
        return np.clip(place, 0, before - 1)
    if taps.edge == "reflect":
        place = np.where(place < 0, -place, place)
        place = np.where(place >= before, 2 * (before - 1) - place, place)
    return np.where((place >= 0) & (place < before), place, NOTHING)


def _listed(taps: Taps, before: int, after: int) -> Ints:
    rows = [taps.at(y, before, after) for y in range(after)]
    found = np.full((after, max(map(len, rows), default=0)), NOTHING, dtype=np.int64)
    for y, row in enumerate(rows):
        found[y, : len(row)] = row
    return found


def passes(taps: Taps, before: int, after: int) -> bool:
    """Whether every output reads the pixel at its own place and nothing else."""
    if before != after or not isinstance(taps, Sliding):
        return False
    w = taps.window
    return w.kernel == w.stride == 1 and w.before == 0
