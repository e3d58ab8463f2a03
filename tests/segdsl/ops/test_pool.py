"""What pools refuse, and their second result."""

from __future__ import annotations

import pytest

from segdsl.infer import infer
from segdsl.ops.pool import AdaptiveAvgPool, MaxPool, MaxUnpool
from segdsl.symbolic import symbol
from segdsl.types import Feature, Pair, Sides
from tests.support.refusals import (
    MAP,
    P2,
    P3,
    VECTOR,
    WHOLE,
    feature,
    make,
    refused_arguments,
    refused_operands,
)


@pytest.mark.parametrize("name", ["max_pool", "avg_pool", "max_unpool"])
def test_arguments(name: str) -> None:
    assert refused_arguments(name, kernel=Pair(0, 1)) == "E2005"
    assert refused_arguments(name, kernel=P3, stride=Pair(1, 0)) == "E2005"
    assert refused_arguments(name, kernel=P3, pad=Sides(1, 0, 0, 0)) == "E2005"
    assert refused_arguments(name, kernel=P3, pad=Sides(0, 2, 0, 2)) == "E2005"
    assert refused_arguments(name, kernel=P2, pad="same") == "E3009"
    assert refused_arguments(name, kernel=Pair(1026, 1)) == "E2009"


@pytest.mark.parametrize("name", ["max_pool", "avg_pool", "max_unpool", "global_avg_pool"])
def test_operands(name: str) -> None:
    op = make(name) if name == "global_avg_pool" else make(name, kernel=P2)
    more = (WHOLE,) if name == "max_unpool" else ()
    assert refused_operands(op, VECTOR, *more) == "E3016"
    assert refused_operands(op, WHOLE, *more) == "E3017"


def test_a_window_must_fit() -> None:
    assert refused_operands(make("avg_pool", Pair(1, 10)), MAP) == "E3006"
    assert refused_operands(MaxPool(Pair(5, 1), dilation=Pair(2, 1)), MAP) == "E3006"


def test_stride_is_the_kernel_unless_given() -> None:
    assert MaxPool(Pair(2, 3)).infer(MAP) == feature(1, 4, 4, 3)
    assert MaxPool(Pair(2, 3), stride=Pair(1, 1)).infer(MAP) == feature(1, 4, 7, 7)


def test_indices_are_a_second_result() -> None:
    op = MaxPool(P2, indices=True)
    values, indices = infer(op, (MAP,))
    assert op.results == ("values", "indices")
    assert (values, indices) == (feature(1, 4, 4, 4), Feature((1, 4, 4, 4), "i64"))
    assert MaxPool(P2).results == ("y",)


def test_unpool_wants_the_indices_of_its_pool() -> None:
    x, places = feature(1, 4, 4, 4), Feature((1, 4, 4, 4), "i64")
    assert MaxUnpool().infer(x, places, MAP) == MAP
    assert MaxUnpool().infer(x, places) == feature(1, 4, 8, 8)
    assert refused_operands(MaxUnpool(), x, x) == "E3017"
    assert refused_operands(MaxUnpool(), x, feature(1, 4, 4, dtype="i64")) == "E3016"
    assert refused_operands(MaxUnpool(), x, places, VECTOR) == "E3016"
    assert refused_operands(MaxUnpool(), x, feature(1, 3, 4, 4, dtype="i64")) == "E3002"
    assert refused_operands(MaxUnpool(), x, feature(1, 4, 5, 4, dtype="i64")) == "E3004"
    assert refused_operands(MaxUnpool(), x, places, feature(1, 4, 10, 9)) == "E3004"
    assert refused_operands(MaxUnpool(), x, places, feature(1, 4, 7, 9)) == "E3004"
    empty = MaxUnpool(kernel=P2, pad=Sides(1, 1, 1, 1))
    one = feature(1, 4, 1, 1)
    assert refused_operands(empty, one, Feature(one.shape, "i64")) == "E3006"


def test_unpool_undoes_its_pool_at_every_size() -> None:
    height = symbol("H")
    x = feature(1, 4, height, 8)
    values, indices = infer(MaxPool(P2, indices=True), (x,))
    for need in MaxUnpool().requirements(values, indices, x):
        if need.kind == "equal":
            assert need.left == need.right


def test_bins() -> None:
    assert refused_arguments("adaptive_avg_pool", Pair(0, 1)) == "E2005"
    assert refused_arguments("adaptive_avg_pool", Pair(1, 65537)) == "E2009"
    assert refused_operands(AdaptiveAvgPool(P2), VECTOR) == "E3016"
