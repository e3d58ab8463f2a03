"""What arithmetic refuses: channels, ranks, types, numbers."""

from __future__ import annotations

import pytest

from segdsl.ops.elementwise import Add, Mul, PerChannel, Scale
from segdsl.symbolic import symbol
from segdsl.types import Initialiser
from tests.support.refusals import (
    MAP,
    VECTOR,
    WHOLE,
    feature,
    make,
    refused,
    refused_arguments,
    refused_operands,
)

BINARY = ["add", "sub", "mul", "div", "maximum", "minimum"]
H = symbol("H")


@pytest.mark.parametrize("name", BINARY)
def test_operands(name: str) -> None:
    op = make(name)
    assert refused_operands(op, MAP, feature(1, 5, 8, 9)) == "E3002"
    assert refused_operands(op, MAP, feature(1, 4, 7, 9)) == "E3004"
    assert refused_operands(op, MAP, VECTOR) == "E3016"
    assert refused_operands(op, MAP, WHOLE) == "E3017"
    assert refused_operands(op, MAP) == "E2017"
    assert refused_operands(make(name, number=2.0), MAP, MAP) == "E2017"


@pytest.mark.parametrize("name", BINARY)
def test_numbers(name: str) -> None:
    assert refused_arguments(name, number=float("inf")) == "E2005"
    assert refused_arguments(name, number_first=True) == "E2017"
    assert make(name, number=2).infer(feature(1, 3, 8, 8, dtype="u8")).dtype == "f32"
    assert refused_operands(make(name, number=2.0), feature(1, dtype="f16")) == "E3017"


def test_division_by_zero() -> None:
    assert refused_arguments("div", number=0.0) == "E2005"
    assert make("div", number=0.0, number_first=True).infer(MAP) == MAP


def test_one_channel_is_stretched_by_gates_only() -> None:
    gate = feature(1, 1, 8, 9)
    assert Mul().infer(gate, MAP) == MAP
    assert refused_operands(Add(), gate, MAP) == "E3002"


def test_the_message_names_both_sizes_and_both_operands() -> None:
    need = next(r for r in Add().requirements(feature(1, 4, H, 9), feature(1, 4, 2 * (H // 2), 9)))
    assert need.kind == "equal"
    open_ones = [
        r
        for r in Add().requirements(feature(1, 4, H, 9), feature(1, 4, 2 * (H // 2), 9))
        if r.left != r.right
    ]
    assert [r.message for r in open_ones] == [
        "the two sides of `+` differ in height: H and 2*(H//2)"
    ]
    assert open_ones[0].blame == (0, 1)


def test_scale() -> None:
    assert refused_arguments("scale", init=float("nan")) == "E2005"
    assert refused_operands(Scale(), WHOLE) == "E3017"
    assert refused_operands(Scale(per="all"), WHOLE) == "E3017"
    assert refused_operands(Scale(), feature(1, H)) == "E2010"
    assert Scale(init=0.5).params(MAP)["scale"].init == Initialiser("constant", 0.5)
    normal = Initialiser("normal", 0.02)
    frozen = Scale(per="all", init=normal, train=False).params(MAP)["scale"]
    assert (frozen.shape, frozen.init, frozen.trained) == ((1,), normal, False)


def test_per_channel() -> None:
    assert PerChannel().infer(feature(4)) == feature(1, 4, 1, 1)
    assert refused_operands(PerChannel(), VECTOR) == "E3016"
    assert "weight" in refused(lambda: PerChannel().infer(VECTOR)).help
