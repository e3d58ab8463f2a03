"""What dropout refuses."""

from __future__ import annotations

import pytest

from segdsl.ops.base import OPS
from tests.support.refusals import MAP, VECTOR, WHOLE, make, refused_arguments, refused_operands


@pytest.mark.parametrize("name", ["dropout", "drop_path"])
def test_probability(name: str) -> None:
    for p in (1.0, -0.1, float("nan")):
        assert refused_arguments(name, p) == "E2005"
    assert make(name, 0.0).infer(MAP) == MAP
    assert OPS[name].random
    assert refused_operands(make(name, 0.5), WHOLE) == "E3017"


def test_whole_channels_are_of_maps() -> None:
    assert make("dropout", 0.5).infer(VECTOR) == VECTOR
    assert refused_operands(make("dropout", 0.5, channels=True), VECTOR) == "E3016"
