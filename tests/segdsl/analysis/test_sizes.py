"""Accepted sizes: the solver against plain enumeration."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from segdsl.analysis.sizes import (
    Condition,
    SizeSet,
    Stretch,
    Undecidable,
    describe,
    period,
    probes,
    simplify,
    solve,
    where_text,
)
from segdsl.claims import first_outside
from segdsl.symbolic import Size, evaluate, floor_div, symbol

H = symbol("H")


@st.composite
def formulas(draw: st.DrawFn) -> Size:
    size: Size = H
    for _ in range(draw(st.integers(0, 5))):
        step, c = draw(st.sampled_from("+*/")), draw(st.integers(1, 6))
        size = size + (c - 3) if step == "+" else size * c if step == "*" else floor_div(size, c)
    return size


conditions = st.builds(
    Condition,
    formulas(),
    st.sampled_from(["==", "!=", "<=", ">=", "<", ">"]),
    formulas() | st.integers(0, 40),
)


def solved(some: list[Condition]) -> SizeSet:
    try:
        return solve("H", some)
    except Undecidable:
        assume(False)
        raise


@settings(max_examples=200)
@given(st.lists(conditions, min_size=1, max_size=3))
def test_the_solver_agrees_with_enumeration(some: list[Condition]) -> None:
    accepted = solved(some)
    for n in range(1, 250):
        assert (n in accepted) == all(c.holds({"H": n}) for c in some), n


@settings(max_examples=100)
@given(st.lists(conditions, min_size=1, max_size=3), st.integers(1, 120))
def test_nearest_sizes(some: list[Condition], n: int) -> None:
    accepted = solved(some)
    below = [m for m in range(1, n + 1) if m in accepted]
    above = next((m for m in range(n, n + 2000) if m in accepted), None)
    assert accepted.at_most(n) == (below[-1] if below else None)
    assert accepted.at_least(n) == above
    assert accepted.minimum == next((m for m in range(1, 5000) if m in accepted), None)


@given(formulas())
def test_the_period_of_a_formula(size: Size) -> None:
    try:
        modulus, growth = period(size)
    except Undecidable:
        assume(False)
        return
    for n in range(40):
        assert evaluate(size, {"H": n + modulus}) == evaluate(size, {"H": n}) + growth


@given(formulas(), st.sampled_from([(2, 0), (16, 0), (8, 1), (32, 5)]))
def test_simplified_sizes_are_equal_on_accepted_ones(size: Size, kind: tuple[int, int]) -> None:
    modulus, residue = kind
    accepted = solve("H", [Condition((H - residue) % modulus, "==", 0)])
    shorter = simplify(size, {"H": accepted})
    for n in range(1, 200):
        if n in accepted:
            assert evaluate(shorter, {"H": n}) == evaluate(size, {"H": n})


@pytest.mark.parametrize(
    ("some", "text", "where"),
    [
        ([Condition(H % 16, "==", 0)], "H = 16k, k >= 1", "H % 16 == 0"),
        ([Condition(H // 32, ">=", 1)], "H >= 32", "H >= 32"),
        (
            [Condition((H - 1) % 8, "==", 0), Condition(H, ">=", 33)],
            "H = 8k + 1, k >= 4",
            "(H - 1) % 8 == 0, H >= 33",
        ),
        ([Condition(H, "!=", 7)], "H >= 1, but not 7", None),
        ([Condition(H, "==", 512)], "H = 512", None),
        ([Condition(H, "<", 1)], "no H", None),
        ([Condition(H % 4, "<=", 1)], "H = 4k or 4k + 1, from 1", None),
    ],
)
def test_in_words(some: list[Condition], text: str, where: str | None) -> None:
    accepted = solve("H", some)
    assert describe(accepted) == text
    assert where_text(accepted) == where


def test_stacked_hourglasses_have_a_short_period() -> None:
    size: Size = H
    for _ in range(8):
        size = floor_div(floor_div(floor_div(floor_div(size, 2), 2), 2), 2) * 16
    assert period(size) == (16, 16)


def test_periods_beyond_the_limit_are_refused() -> None:
    size: Size = H
    for prime in (251, 257, 263):
        size = floor_div(size * (prime + 1), prime)
    with pytest.raises(Undecidable):
        period(size)


@st.composite
def size_sets(draw: st.DrawFn) -> SizeSet:
    """Any set of the kind that `solve` makes: per residue an interval with holes, or nothing."""
    modulus = draw(st.integers(1, 5))
    stretches: list[Stretch | None] = []
    for residue in range(modulus):
        low = draw(st.integers(0, 4)) * modulus + (residue or modulus)
        turns = draw(st.none() | st.integers(0, 5))
        last = None if turns is None else low + turns * modulus
        holes = frozenset(low + q * modulus for q in draw(st.sets(st.integers(0, 6))))
        stretches.append(draw(st.sampled_from([None, Stretch(low, last, holes)])))
    return SizeSet("H", modulus, tuple(stretches))


@given(size_sets(), size_sets(), st.integers(1, 90), st.integers(1, 6))
def test_questions_to_size_sets_are_answered_as_by_looking_at_every_size(
    one: SizeSet, other: SizeSet, n: int, modulus: int
) -> None:
    every = range(1, 400)
    inside = [m for m in every if m in one]
    assert one.at_least(n) == next((m for m in inside if m >= n), None)
    assert one.at_most(n) == max((m for m in inside if m <= n), default=None)
    assert first_outside(one, other) == next((m for m in inside if m not in other), None)
    residues = {m % modulus for m in probes(one, modulus=modulus) if m in one}
    assert residues == {m % modulus for m in inside}
    assert one.finite == sum(m in one for m in range(1, one.settled))
    if not one.residues and 0 < len(inside) < 12:
        assert describe(one) == f"H = {', '.join(map(str, inside))}"


def test_sizes_that_no_picture_has_are_undecided() -> None:
    with pytest.raises(Undecidable, match="the limit is 4,194,304"):
        solve("H", [Condition(H, ">=", 10**18)])
    assert str(solve("H", [Condition(H, ">=", 4_194_304)])) == "H >= 4194304"
