"""What the entries of operators draw from: the values of the program so far, and arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

from hypothesis import strategies as st

from segdsl.ops.base import Op, RuleError
from segdsl.types import Feature, Initialiser, Pair, Sides
from tests.support.refusals import make
from tests.support.written_calls import Draw

ints, booleans, choice = st.integers, st.booleans, st.sampled_from


@dataclass(frozen=True)
class Live:
    """A value that may be read: its name, its type at the size that is tried, and at any size."""

    name: str
    known: Feature
    free: Feature


@dataclass(frozen=True)
class Offer:
    """An operator on some values; `other` replaces the text of arguments."""

    op: Op
    reads: tuple[Live, ...]
    other: Mapping[str, str] = field(default_factory=dict[str, str])


class Pool(Protocol):
    """What an entry may ask of the program so far."""

    live: list[Live]

    def put(self, offer: Offer) -> tuple[Live, ...]:
        """A statement before this one."""

    def weight(self, *sizes: int) -> Live:
        """A bare array."""


class NoOperandError(RuleError):
    """There is nothing yet that the operator could be tried on."""

    def __init__(self) -> None:
        super().__init__("no operand", code="E0000")


Entry = Callable[[Draw, Pool], Offer]
ENTRIES: dict[str, Entry] = {}

AXES = ["batch", "channels", "height", "width"]
kernels = st.builds(Pair, ints(1, 4), ints(1, 4))
steps = st.builds(Pair, ints(1, 3), ints(1, 3))
rates = st.builds(Pair, ints(1, 3), ints(1, 2))
four = st.builds(Sides, ints(0, 3), ints(0, 3), ints(0, 3), ints(0, 3))
alike = st.builds(lambda h, w: Sides(h, w, h, w), ints(0, 2), ints(0, 2))
words = choice(["same", "valid"])
starts = st.builds(Initialiser, choice(["zeros", "ones"])) | st.builds(
    Initialiser, choice(["constant", "trunc_normal", "normal"]), choice([0.25, 0.5])
)
fans = st.builds(
    Initialiser, choice(["uniform", "kaiming_uniform", "kaiming_normal", "xavier_uniform"])
)


def entry(*names: str) -> Callable[[Callable[..., Offer]], Callable[..., Offer]]:
    """Register an entry; one for several operators gets the name as its last argument."""

    def register(offer: Callable[..., Offer]) -> Callable[..., Offer]:
        for name in names:
            if len(names) == 1:
                ENTRIES[name] = offer
            else:
                ENTRIES[name] = lambda draw, pool, name=name: offer(draw, pool, name)  # type: ignore[misc]
        return offer

    return register


def pick(draw: Draw, values: Iterable[Live]) -> Live:
    """One of the values; the latest are met more often, so that programs are deep."""
    found = list(values)
    if not found:
        raise NoOperandError
    last = found[-3:]
    return draw(choice(last) | choice(found))  # type: ignore[no-any-return]


def a_map(draw: Draw, pool: Pool, *, dtype: str | None = "f32") -> Live:
    """A map, of floats unless any type will do."""
    return pick(
        draw, (x for x in pool.live if x.known.rank == 4 and dtype in (None, x.known.dtype))
    )


def flat(draw: Draw, pool: Pool) -> Live:
    """A value of rank 2 or 3, made if need be."""
    found = [x for x in pool.live if x.known.rank in (2, 3) and x.known.dtype == "f32"]
    if found and draw(booleans()):
        return pick(draw, found)
    x = a_map(draw, pool)
    axes = draw(choice([(2, 3), (2, 3), None]))
    (made,) = pool.put(Offer(make("flatten", axes), (x,)))
    return made


def any_rank(draw: Draw, pool: Pool) -> Live:
    """Floats of rank 2 to 4."""
    return a_map(draw, pool) if draw(ints(0, 3)) else flat(draw, pool)


def some(draw: Draw, **fields: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Some of these arguments; the others keep their defaults."""
    return {name: draw(values) for name, values in fields.items() if draw(booleans())}


def learned(draw: Draw, *, matrix: bool = False) -> dict[str, Any]:
    """The arguments that say how arrays start; a matrix has a fan."""
    if draw(ints(0, 2)):
        return {}
    return some(draw, init=starts | fans if matrix else starts, bias_init=starts, train=booleans())


def window(draw: Draw, fields: dict[str, Any]) -> Pair:
    """A kernel; the padding `same` needs an odd one."""
    odd = st.builds(Pair, choice([1, 3]), choice([1, 3]))
    return draw(odd if fields.get("pad") == "same" else kernels)  # type: ignore[no-any-return]


def divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def values(feature: Feature) -> int:
    """How many values a type of known sizes holds."""
    return prod(int(str(size)) for size in feature.shape)
