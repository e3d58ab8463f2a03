"""The table of a network's arrays: path -> numpy array, in state_dict order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from os import PathLike
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.weights.files import write_safetensors

Array = NDArray[Any]
"""An array of any element type; bf16 has no numpy type and is held as fp32, which is exact."""


class Weights(Mapping[str, Array]):
    """An immutable, ordered table of arrays by path.

    The order is the order it was given; `initialise` and `load` give state_dict order. The arrays
    are read-only views: nothing is copied, so they may lie in a mapped file.
    """

    __slots__ = ("_arrays",)

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = MappingProxyType({name: _frozen(array) for name, array in arrays.items()})

    def __getitem__(self, path: str) -> Array:
        return self._arrays[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"<Weights: {len(self)} arrays, {self.nbytes:,} bytes>"

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays together."""
        return sum(array.nbytes for array in self._arrays.values())

    def select(self, *globs: str) -> Weights:
        """The arrays whose path matches any of the globs (`*` crosses dots), in the same order.

        Raises:
            KeyError: a glob matches no path.
        """
        for glob in globs:
            if not any(fnmatchcase(path, glob) for path in self):
                raise KeyError(f"no weight matches `{glob}`")
        chosen = [path for path in self if any(fnmatchcase(path, glob) for glob in globs)]
        return Weights({path: self[path] for path in chosen})

    def renamed(self, rename: Mapping[str, str] | Callable[[str], str]) -> Weights:
        """The same arrays under new paths, in the same order; a mapping leaves other paths alone.

        Raises:
            KeyError: the mapping names a path that is not here.
            ValueError: two arrays would get one path.
        """
        if not callable(rename):
            for path in rename:
                self[path]
            table = rename
            return self.renamed(lambda path: table.get(path, path))
        result: dict[str, Array] = {}
        for path, array in self.items():
            new = rename(path)
            if new in result:
                raise ValueError(f"two weights would be named `{new}`")
            result[new] = array
        return Weights(result)

    def replaced(self, arrays: Mapping[str, Array]) -> Weights:
        """The table with some arrays exchanged.

        Raises:
            KeyError: a path is not here.
        """
        for path in arrays:
            self[path]
        return Weights({path: arrays.get(path, array) for path, array in self.items()})

    def equals(self, other: Mapping[str, Array]) -> bool:
        """Whether names, order, element types, shapes and bits are equal (NaN equals itself)."""
        return list(self) == list(other) and all(
            _same_bits(array, other[path]) for path, array in self.items()
        )

    def to_safetensors(
        self, path: str | PathLike[str], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write a safetensors file, at once or not at all; equal tables give equal bytes.

        Raises:
            SegError: the file cannot be written (E0101).
        """
        write_safetensors(path, self, metadata)


def _frozen(array: Array) -> Array:
    view = array.view(np.ndarray)
    view = view.view()
    view.flags.writeable = False
    return view


def _same_bits(left: Array, right: Array) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return bool(np.array_equal(_bytes(left), _bytes(right)))


def _bytes(array: Array) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
