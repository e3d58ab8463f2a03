"""What the networks are run on: sizes that they accept, seeded noise and a constant image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import lcm
from typing import Literal

import numpy as np

from compiler.weights.table import Array
from segdsl.analysis.shapes import shapes, size_symbols
from segdsl.analysis.sizes import SizeSet, Undecidable, sizes, solve
from segdsl.conflicts import refused_size
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.ir import Graph, Value
from segdsl.ops.pool import MaxPool
from segdsl.report import input_sizes
from segdsl.types import DType

Image = Literal["noise", "constant"]
IMAGES: tuple[Image, ...] = ("noise", "constant")

FLOATS: dict[DType, type[np.generic]] = {
    "f16": np.float16,
    "bf16": np.float32,
    "f32": np.float32,
    "f64": np.float64,
}

_FREE = 7
"""The size of an axis that is neither batch nor height nor width."""

_START: dict[int, tuple[int, int]] = {2: (65, 64), 3: (97, 96)}
"""Where the search for a height and a width begins: an odd one, and any other one."""


@dataclass(frozen=True)
class Case:
    """One run: values of the size symbols, and the kind of picture.

    `shape` is the shape of the first input.
    """

    symbols: Mapping[str, int]
    shape: tuple[int, ...]
    image: Image

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.shape))} {self.image}"


@dataclass(frozen=True)
class Bounds:
    """What others than the network itself say about its size symbols.

    Attributes:
        fixed: the only value, as in a file that was written for one size.
        sets: accepted sizes of another network, by our symbol.
    """

    fixed: Mapping[str, int] = field(default_factory=dict[str, int])
    sets: Mapping[str, SizeSet] = field(default_factory=dict[str, SizeSet])


def accepted_sizes(graph: Graph) -> dict[str, SizeSet]:
    """The accepted sizes by symbol; every size where they cannot be told (graphs built by hand)."""
    try:
        return sizes(graph)
    except Undecidable:
        return {name: solve(name, ()) for name in size_symbols(graph)}


def cases(
    graph: Graph,
    *,
    at: Sequence[tuple[int, int]] = (),
    batches: Sequence[int] = (),
    images: Sequence[Image] = IMAGES,
    bounds: Bounds | None = None,
) -> tuple[Case, ...]:
    """The runs: every size with every batch and every kind of picture.

    Without sizes two are chosen that the network accepts, an odd one where it accepts one; without
    batches 1 and 2. What an input states as a number stays. Networks that pass on the places of
    maxima get no constant image: equal values have no place.

    Raises:
        SegError: a size or batch that is not accepted (E3014).
    """
    choice = _Choice(graph, bounds or Bounds())
    chosen: list[dict[str, int]] = []
    for number in batches or choice.batches():
        if at:
            chosen += [choice.given(size, number) for size in at]
        else:
            chosen += [choice.default(number, odd=odd) for odd in (True, False)]
    chosen = [choice.bounded(c, sized=bool(at), batched=bool(batches)) for c in chosen]
    different = [c for i, c in enumerate(chosen) if c not in chosen[:i]]
    kinds = [image for image in images if image == "noise" or not _has_places(graph)]
    return tuple(Case(c, _shape(graph, c), image) for c, image in product(different, kinds))


def _has_places(graph: Graph) -> bool:
    return any(isinstance(node.op, MaxPool) and node.op.indices for node in graph.nodes())


def _shape(graph: Graph, values: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(int(str(n)) for n in shapes(graph, values)[Value(graph.inputs[0])].shape)


class _Choice:
    """Values for the size symbols of one network."""

    def __init__(self, graph: Graph, bounds: Bounds) -> None:
        self._graph = graph
        self._known = accepted_sizes(graph)
        self._bounds = bounds
        self._axes = size_symbols(graph)

    def batches(self) -> tuple[int, ...]:
        """1 and 2 where both are accepted, else the smallest."""
        names = [name for name, (_, axis) in self._axes.items() if axis == 0]
        if not names:
            return (_shape(self._graph, dict.fromkeys(self._axes, _FREE))[0],)
        both = tuple(n for n in (1, 2) if all(self._accepts(name, n) for name in names))
        return both or (self._least(names[0], 1),)

    def given(self, size: tuple[int, int], number: int) -> dict[str, int]:
        """The height and width that the user wants, and a value for any other symbol.

        Raises:
            SegError: no input has a height and a width, or they are not accepted (E3014).
        """
        table = shapes(self._graph)
        if not any(len(table[Value(name)].shape) == 4 for name in self._graph.inputs):
            message = "no input of the network has a height and a width"
            raise SegError(Diagnostic("E3014", message, None))
        found = input_sizes(self._graph, self._known, size, number)
        return {**{n: found.get(n, 0) or self._free(n, number) for n in self._axes}, **found}

    def default(self, number: int, *, odd: bool) -> dict[str, int]:
        """A small size: the first odd one that is accepted where there is one, or another."""
        table = shapes(self._graph)
        found: dict[str, int] = {}
        for name, (owner, axis) in self._axes.items():
            if len(table[Value(owner)].shape) == 4 and axis in _START:
                found[name] = self._picture(name, *_START[axis], odd=odd)
            else:
                found[name] = self._free(name, number)
        return found

    def bounded(self, values: dict[str, int], *, sized: bool, batched: bool) -> dict[str, int]:
        """The values as others fix them.

        Raises:
            SegError: somebody asked for another value, or a value is not accepted (E3014).
        """
        result = dict(values)
        for name, stated in self._bounds.fixed.items():
            asked = batched if self._axes[name][1] == 0 else sized
            if asked and values[name] != stated:
                message = f"the other file takes `{name}` = {stated} only, not {values[name]}"
                raise SegError(Diagnostic("E3014", message, None))
            result[name] = stated
        for name, n in result.items():
            for accepted in self._sets(name):
                if n not in accepted:
                    raise SegError(refused_size(self._graph, name, n, accepted))
        return result

    def _picture(self, name: str, start: int, other: int, *, odd: bool) -> int:
        first = self._odd(name, start) or self._least(name, start)
        if odd:
            return first
        second = self._least(name, other)
        return self._least(name, first + 1) if second == first else second

    def _free(self, name: str, number: int) -> int:
        """Of a symbol that is no height or width."""
        return number if self._axes[name][1] == 0 else self._least(name, _FREE)

    def _sets(self, name: str) -> list[SizeSet]:
        more = self._bounds.sets.get(name)
        return [self._known[name], *([more] if more is not None else [])]

    def _accepts(self, name: str, n: int) -> bool:
        return all(n in accepted for accepted in self._sets(name))

    def _end(self, name: str, start: int) -> int:
        """From here on nothing new comes."""
        sets = self._sets(name)
        cycle = lcm(2, *(accepted.modulus for accepted in sets))
        return max(start, *(accepted.settled for accepted in sets)) + cycle + 1

    def _odd(self, name: str, start: int) -> int | None:
        above, below = range(start | 1, self._end(name, start), 2), range(start | 1, 0, -2)
        return next((n for n in (*above, *below) if self._accepts(name, n)), None)

    def _least(self, name: str, start: int) -> int:
        above = (n for n in range(start, self._end(name, start)) if self._accepts(name, n))
        below = (n for n in range(start, 0, -1) if self._accepts(name, n))
        found = next(above, None) or next(below, None)
        if found is None:
            raise SegError(Diagnostic("E3014", f"no `{name}` is accepted by both", None))
        return found


def arrays(graph: Graph, case: Case, seed: int) -> dict[str, Array]:
    """The inputs by name: noise in [-1, 1), or 0.5 everywhere; whole numbers from 0 to 255."""
    table = shapes(graph, case.symbols)
    made: dict[str, Array] = {}
    for place, name in enumerate(graph.inputs):
        feature = table[Value(name)]
        shape = tuple(int(str(n)) for n in feature.shape)
        generator = np.random.Generator(np.random.Philox([seed, place]))
        made[name] = _array(feature.dtype, shape, case.image, generator)
    return made


def _array(
    dtype: DType, shape: tuple[int, ...], image: Image, generator: np.random.Generator
) -> Array:
    flat = image == "constant"
    if dtype in FLOATS:
        numbers = np.full(shape, 0.5) if flat else generator.random(shape) * 2 - 1
        return numbers.astype(np.float32).astype(FLOATS[dtype])
    kind = {"u8": np.uint8, "i64": np.int64, "bool": np.bool_}[dtype]
    whole = np.full(shape, 128) if flat else generator.integers(0, 256, shape)
    return (whole > 127 if dtype == "bool" else whole).astype(kind)
