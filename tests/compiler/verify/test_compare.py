"""Figures and verdicts of two arrays, and the table of tolerances."""

from __future__ import annotations

from math import isclose, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from compiler.verify.compare import Figures, Gate, classes, compare, mean_iou
from compiler.verify.tolerances import AGREEMENT, PLACES, WHOLE_NET, one_operator

Array = NDArray[Any]

FINITE = st.floats(-1e3, 1e3)
MAPS = arrays.arrays(np.float64, arrays.array_shapes(min_dims=1, max_dims=4), elements=FINITE)


def err(array: Array, other: Array, limit: float = WHOLE_NET) -> Figures:
    return compare(array, other, Gate("err", limit))


@given(MAPS, st.floats(-2, 2))
def test_figures_are_their_definitions(reference: Array, by: float) -> None:
    found = reference + by
    figures = err(reference, found)
    lost = np.abs(found - reference).max()
    assert figures.max_abs == lost
    assert figures.err == lost / max(1.0, np.abs(reference).max())
    assert figures.wrong == (figures.err > WHOLE_NET)
    length = sqrt(float((reference**2).sum()))
    if length:
        wanted = sqrt(float(((found - reference) ** 2).sum())) / length
        assert isclose(figures.rel_l2, wanted, rel_tol=1e-9, abs_tol=1e-300)


def test_the_scale_is_that_of_the_reference_but_at_least_one() -> None:
    big = np.array([1000.0, 0.0])
    assert err(big, big + 0.09).verdict == "pass"
    assert err(big, big + 0.11).verdict == "depart"
    small = np.array([0.01, 0.0])
    assert err(small, small + 0.9e-4).verdict == "pass"
    assert err(small, small + 1.1e-4).verdict == "depart"


def test_a_reference_below_the_limit_is_no_proof() -> None:
    faint = np.full(4, 0.5e-4)
    assert err(faint, np.zeros(4)).verdict == "faint"
    assert not err(faint, np.zeros(4)).wrong
    assert err(faint, np.ones(4)).verdict == "depart"
    assert err(np.empty((0, 3)), np.empty((0, 3))).verdict == "faint"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_its_own_verdict(value: float) -> None:
    good, bad = np.ones(3), np.array([1.0, value, 1.0])
    assert {err(good, bad).verdict, err(bad, good).verdict, err(bad, bad).verdict} == {"nan"}
    maps = np.ones((1, 3, 1, 1)), np.full((1, 3, 1, 1), value)
    assert compare(*maps, Gate.argmax()).verdict == "nan"


def test_other_shapes_are_a_departure() -> None:
    assert err(np.ones((2, 3)), np.ones((3, 2))).verdict == "shape"
    assert err(np.ones((2, 3)), np.ones((3, 2))).wrong
    maps = np.ones((1, 3, 4, 4)), np.ones((1, 3, 2, 2))
    assert compare(*maps, Gate.argmax()).verdict == "shape"


def test_whole_numbers_are_equal_or_not() -> None:
    places = np.arange(10_000)
    other = places.copy()
    other[:10] += 1
    assert err(places, other).verdict == "pass"
    assert err(places, other).agreement == PLACES
    other[10] += 1
    assert err(places, other).verdict == "depart"


def test_classes_are_compared_by_their_share() -> None:
    scores = np.zeros((1, 3, 10, 10))
    scores[:, 1] = 1.0
    other = scores * 7.0
    assert compare(scores, other, Gate.argmax()).agreement == 1.0
    other[0, 2, 0] = 9.0
    figures = compare(scores, other, Gate.argmax(0.95))
    assert (figures.agreement, figures.verdict) == (0.9, "depart")
    assert figures.miou == pytest.approx((0.9 + 0.0) / 2)
    assert compare(scores, other, Gate.argmax(0.9)).verdict == "pass"


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 1, 4, 4)])
def test_a_map_of_classes_is_compared_as_it_is(shape: tuple[int, ...]) -> None:
    scores = np.random.default_rng(0).normal(size=(1, 5, 4, 4))
    ready = scores.argmax(axis=1).reshape(shape)
    assert compare(scores, ready, Gate.argmax(1.0)).verdict == "pass"
    assert compare(scores, (ready + 1) % 5, Gate.argmax(0.01)).verdict == "depart"


def test_one_channel_is_cut_at_zero() -> None:
    assert classes(np.array([[[[-1.0, 2.0]]]])).tolist() == [[[False, True]]]


def test_mean_iou_counts_classes_that_occur() -> None:
    wanted, given_ = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    assert mean_iou(wanted, given_) == pytest.approx((1 + 0.5 + 0) / 3)


def test_the_table_of_tolerances() -> None:
    """The forms of the design: growth with sqrt(K) in float32 only, and an order of precision."""
    assert one_operator("f32", 2304) == 4 * 48 * 2.0**-24
    assert one_operator("f16", 2304) == one_operator("f16") == 4 * 2.0**-11
    assert one_operator("bf16") == 4 * 2.0**-8
    assert AGREEMENT["f16"] > AGREEMENT["bf16"] > AGREEMENT["int8"]
    assert Gate.argmax().limit == AGREEMENT["int8"]
