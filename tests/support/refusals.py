"""How tests ask whether an operator refuses something, and on whose account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segdsl.infer import requirements
from segdsl.ops.base import OPS, RuleError
from segdsl.symbolic import Size
from segdsl.types import DType, Feature, Pair

P2 = Pair(2, 2)
P3 = Pair(3, 3)


def make(name: str, /, *args: Any, **fields: Any) -> Any:
    """An operator by its name in the language."""
    return OPS[name](*args, **fields)


def feature(*shape: Size, dtype: DType = "f32") -> Feature:
    """A type."""
    return Feature(shape, dtype)


MAP = feature(1, 4, 8, 9)
VECTOR = feature(2, 4)
WHOLE = feature(1, 4, 8, 9, dtype="i64")


def refused(action: Callable[[], object]) -> RuleError:
    """The refusal that the action ends in."""
    with pytest.raises(RuleError) as caught:
        action()
    assert caught.value.blame, "every refusal blames something"
    assert caught.value.message
    return caught.value


def refused_arguments(name: str, *args: Any, **fields: Any) -> str:
    """The code with which an operator refuses its arguments."""
    return refused(lambda: make(name, *args, **fields)).code


def refused_operands(op: Any, *inputs: Feature) -> str:
    """The code with which an operator refuses its operands, by `infer` or by a requirement."""

    def ask() -> None:
        op.infer(*inputs)
        requirements(op, inputs)

    return refused(ask).code
