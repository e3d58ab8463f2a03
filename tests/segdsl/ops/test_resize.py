"""What resizing refuses, and what a factor means."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdsl.ops.base import RuleError
from segdsl.ops.resize import PixelShuffle, PixelUnshuffle, Resize, exact_factor
from segdsl.types import Pair
from tests.support.refusals import (
    MAP,
    P2,
    VECTOR,
    WHOLE,
    feature,
    make,
    refused,
    refused_arguments,
    refused_operands,
)


@pytest.mark.parametrize("scale", [0.0, -2.0, float("nan"), float("inf"), (2.0, 0.0)])
def test_factors_are_positive(scale: float) -> None:
    assert refused_arguments("resize", scale, mode="nearest") == "E2005"


def test_factors_have_a_limit() -> None:
    assert refused_arguments("resize", 65537.0, mode="nearest") == "E2009"


def test_a_factor_without_an_exact_meaning_is_refused() -> None:
    assert refused_arguments("resize", 0.7, mode="nearest") == "E2005"
    assert refused_arguments("resize", 0.123456789, mode="nearest") == "E2005"
    with pytest.raises(RuleError, match="90 pixels would become 62 by rounding and 63 as 7/10"):
        exact_factor(0.7)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 4096))
def test_an_accepted_factor_is_what_double_arithmetic_gives(p: int, q: int, size: int) -> None:
    if any(floor(n * (p / q)) != n * p // q for n in range(1, 4097)):
        assert "to=" in refused(lambda: exact_factor(p / q)).help
    else:
        assert exact_factor(p / q) == Fraction(p, q)
        assert floor(size * (p / q)) == size * p // q


def test_arguments() -> None:
    assert refused_arguments("resize", 2.0, to=P2, mode="nearest") == "E2017"
    assert refused_arguments("resize", to=Pair(0, 3), mode="nearest") == "E2005"
    assert refused_arguments("resize", to=Pair(65537, 3), mode="nearest") == "E2009"
    for option in ("align_corners", "antialias"):
        for mode in ("nearest", "nearest_exact"):
            assert refused_arguments("resize", 2.0, mode=mode, **{option: True}) == "E2017"
    both = {"align_corners": True, "antialias": True}
    assert refused_arguments("resize", 2.0, mode="bilinear", **both) == "E2017"


def test_exactly_one_form() -> None:
    with pytest.raises(RuleError, match="exactly one of"):
        Resize(mode="nearest").infer(MAP)
    assert refused_operands(Resize(2.0, mode="nearest"), MAP, MAP) == "E2017"
    assert refused_operands(Resize(to=P2, mode="nearest"), MAP, MAP) == "E2017"


def test_operands() -> None:
    op = Resize(mode="nearest")
    assert refused_operands(op, MAP, VECTOR) == "E3016"
    assert refused_operands(op, VECTOR, MAP) == "E3016"
    assert refused_operands(op, WHOLE, MAP) == "E3017"
    assert op.infer(MAP, feature(1, 3, 5, 6, dtype="u8")) == feature(1, 4, 5, 6)
    assert refused_operands(Resize(0.1, mode="nearest"), MAP) == "E3006"


@pytest.mark.parametrize("name", ["pixel_shuffle", "pixel_unshuffle"])
def test_shuffles(name: str) -> None:
    assert refused_arguments(name, 0) == "E2005"
    assert refused_arguments(name, 1026) == "E2009"
    assert refused_operands(make(name, 2), VECTOR) == "E3016"


def test_shuffles_divide() -> None:
    assert refused_operands(PixelShuffle(3), MAP) == "E3001"
    assert refused_operands(PixelUnshuffle(2), MAP) == "E3004"
