"""Arrays of mapped files, read once and given back: a file is never in memory as a whole."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping

import numpy as np

from compiler.weights.table import Array


class Passing(Mapping[str, Array]):
    """A table whose arrays are copied when they are read, if they lie in a mapped file.

    The pages of the file are given back at once, so the peak is one array and not all of them.
    Arrays in memory are answered as they are.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays

    def __getitem__(self, path: str) -> Array:
        array = self._arrays[path]
        if _mapping(array) is None:
            return array
        copy = array.copy()
        give_back(array)
        return copy

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def _mapping(array: Array) -> mmap.mmap | None:
    """The mapped file that the array is a view of."""
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.obj if isinstance(base, memoryview) else base.base
    return base if isinstance(base, mmap.mmap) else None


def give_back(array: Array) -> None:
    """Let the system drop the whole pages of a mapped file that the array lies in.

    They are read again when they are needed. Arrays in memory stay.
    """
    file = _mapping(array)
    if file is None or not hasattr(file, "madvise") or not array.flags.c_contiguous:
        return
    origin = np.frombuffer(file, np.uint8).__array_interface__["data"][0]
    start = array.__array_interface__["data"][0] - origin
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (start + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        file.madvise(mmap.MADV_DONTNEED, first, last - first)
