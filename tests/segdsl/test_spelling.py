"""Did you mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl.spelling import distance, nearest

WORDS = st.text(alphabet="abc_", max_size=6)


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [("", "", 0), ("relu", "rellu", 1), ("fro", "for", 1), ("kernal", "kernel", 1), ("abc", "", 3)],
)
def test_distance(a: str, b: str, edits: int) -> None:
    assert distance(a, b) == edits


@given(WORDS, WORDS)
def test_distance_is_symmetric_and_bounded(a: str, b: str) -> None:
    assert distance(a, b) == distance(b, a)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))
    assert (distance(a, b) == 0) == (a == b)


@pytest.mark.parametrize(
    ("name", "known", "guess"),
    [
        ("rellu", ["relu", "relu6"], "relu"),
        ("Relu", ["relu"], "relu"),
        ("zebra", ["relu"], None),
        ("Q", ["A", "B"], None),
        ("n", ["N"], "N"),
        ("relu", ["relu"], None),
        ("ab", ["ba"], "ba"),
    ],
)
def test_nearest(name: str, known: list[str], guess: str | None) -> None:
    assert nearest(name, known) == guess


@given(WORDS, st.sets(WORDS, max_size=5))
def test_nearest_does_not_depend_on_the_order(name: str, known: set[str]) -> None:
    assert nearest(name, sorted(known)) == nearest(name, sorted(known, reverse=True))
