"""What activations refuse, and which ones `activation` may name."""

from __future__ import annotations

import pytest

from segdsl.ops.activation import ACTIVATIONS, Argmax, Softmax
from segdsl.ops.base import OPS
from segdsl.types import Feature
from tests.support.refusals import (
    MAP,
    VECTOR,
    WHOLE,
    feature,
    make,
    refused_arguments,
    refused_operands,
)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"identity"}))
def test_activations_need_floats(name: str) -> None:
    assert ACTIVATIONS[name] is OPS[name]
    assert make(name).infer(VECTOR) == VECTOR
    assert refused_operands(make(name), WHOLE) == "E3017"
    assert refused_operands(make(name), feature(1, 3, 8, 8, dtype="f64")) == "E3017"


def test_identity_takes_anything() -> None:
    assert make("identity").infer(WHOLE) == WHOLE


def test_slope_is_finite() -> None:
    assert refused_arguments("leaky_relu", float("nan")) == "E2005"


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "argmax"])
def test_axes(name: str) -> None:
    assert refused_operands(make(name, "channels"), VECTOR) == "E3016"
    assert refused_operands(make(name, 2), VECTOR) == "E2005"
    assert refused_operands(make(name, -3), VECTOR) == "E2005"
    assert refused_operands(make(name, "channels"), WHOLE) == "E3017"


def test_space_is_of_maps() -> None:
    assert refused_operands(Softmax("space"), VECTOR) == "E3016"
    assert Softmax("space").infer(MAP) == MAP


def test_argmax_keeps_a_map_a_map() -> None:
    assert Argmax("channels").infer(MAP) == Feature((1, 1, 8, 9), "i64")
