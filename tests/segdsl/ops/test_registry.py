"""Every operator says what it is: an example, each field, its taps, and hashable fields."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from segdsl.ops.base import OPS, Op, operator, signature
from segdsl.types import POINTWISE, Axis, Window


@pytest.mark.parametrize("name", sorted(OPS))
def test_the_docstring_shows_an_example(name: str) -> None:
    examples = re.findall(r"`([^`]+)`", inspect.getdoc(OPS[name]) or "")
    word = {"add": "+", "sub": "-", "mul": "*", "div": "/", "maximum": "max", "minimum": "min"}
    assert any(
        re.search(r"->|\(|=|input|weight", e) and word.get(name, name) in e for e in examples
    )


@pytest.mark.parametrize("name", sorted(OPS))
def test_the_docstring_describes_each_field_in_order(name: str) -> None:
    doc = inspect.getdoc(OPS[name]) or ""
    described = re.findall(r"^    (\w+): \S", doc.partition("Attributes:\n")[2], re.MULTILINE)
    assert described == list(signature(OPS[name]))


@pytest.mark.parametrize("name", sorted(OPS))
def test_the_class_is_frozen_data(name: str) -> None:
    cls = OPS[name]
    assert cls.name == name
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert cls.window is not Op.window or cls.taps is not Op.taps
    assert cls.optional <= len(cls.operands)
    assert not any(base in OPS.values() for base in cls.__mro__[1:]), "operators do not inherit"


def test_an_operator_must_state_its_taps() -> None:
    @dataclasses.dataclass(frozen=True)
    class Silent(Op):
        name = "silent"

    with pytest.raises(TypeError, match="neither window nor taps"):
        operator(Silent)
    assert "silent" not in OPS


def test_a_name_is_taken_once() -> None:
    @dataclasses.dataclass(frozen=True)
    class Relu(Op):
        name = "relu"

        def window(self, axis: Axis) -> Window:
            return POINTWISE

    with pytest.raises(TypeError, match="defined twice"):
        operator(Relu)
