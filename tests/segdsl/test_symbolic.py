"""Formulas of sizes: arithmetic is exact, and equal normal forms mean equal sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl.symbolic import (
    Size,
    ceil_div,
    evaluate,
    floor_div,
    least,
    substitute,
    symbol,
    symbols,
)

H, W = symbol("H"), symbol("W")
STEPS: dict[str, tuple[Callable[[Size, int], Size], Callable[[int, int], int]]] = {
    "add": (lambda e, c: e + (c - 4), lambda n, c: n + c - 4),
    "mul": (lambda e, c: e * c, lambda n, c: n * c),
    "floor": (floor_div, lambda n, c: n // c),
    "ceil": (ceil_div, lambda n, c: -(-n // c)),
    "least": (lambda e, c: least(e, H // c), lambda n, c: n),
}
chains = st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(1, 9)), max_size=7)


def run(chain: list[tuple[str, int]], n: int) -> int:
    value = n
    for step, c in chain:
        value = min(value, n // c) if step == "least" else STEPS[step][1](value, c)
    return value


def build(chain: list[tuple[str, int]]) -> Size:
    value: Size = H
    for step, c in chain:
        value = STEPS[step][0](value, c)
    return value


@given(chains, st.integers(-20, 500))
def test_a_chain_evaluates_to_what_integers_give(chain: list[tuple[str, int]], n: int) -> None:
    assert evaluate(build(chain), {"H": n}) == run(chain, n)


@given(chains, chains)
def test_equal_formulas_are_equal_everywhere(
    a: list[tuple[str, int]], b: list[tuple[str, int]]
) -> None:
    left, right = build(a), build(b)
    if left == right:
        assert all(run(a, n) == run(b, n) for n in range(60))
        assert hash(left) == hash(right)


@given(chains, st.integers(0, 60), st.integers(0, 5))
def test_substitution_is_evaluation_in_steps(chain: list[tuple[str, int]], k: int, r: int) -> None:
    inner = substitute(build(chain), {"H": symbol("k") * 16 + r})
    assert evaluate(inner, {"k": k}) == run(chain, 16 * k + r)


@given(chains)
def test_the_text_of_a_formula_is_an_expression_with_its_value(
    chain: list[tuple[str, int]],
) -> None:
    text = str(build(chain))
    for n in (1, 7, 64):
        assert eval(text, {"H": n, "min": min}) == run(chain, n)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (H // 2 // 2, "H//4"),
        ((H + 1) // 2, "(H + 1)//2"),
        ((((H + 6 - 7) // 2 + 1) + 2 - 3) // 2 + 1, "(H + 3)//4"),
        (2 * (H // 16), "2*(H//16)"),
        (H * W + H - H * W, "H"),
        ((H + 1) * W - W, "H*W"),
        (H - H, "0"),
        (least(H, H + 1), "H"),
        ((4 * H + 6) // 2, "2*H + 3"),
        ((6 * H + 3) // 9, "(2*H + 1)//3"),
        (H + W, "H + W"),
        (3 - H, "-H + 3"),
    ],
)
def test_normal_forms(size: Size, text: str) -> None:
    assert str(size) == text


def test_symbols_of_a_size() -> None:
    assert symbols((H + W) // 2 * symbol("N")) == {"H", "W", "N"}
    assert symbols(3) == frozenset()


def test_division_by_zero_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        floor_div(H, 0)
