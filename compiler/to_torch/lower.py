"""How torch writes an operator: this target's dispatch function and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from math import isfinite
from typing import Final

from segdsl.ops.base import Op
from segdsl.types import Feature, Pair

Literal = int | float | bool | str | None | tuple["Literal", ...]
"""What may stand as an argument in emitted source."""

REQUIRED: Final = "<required>"
"""The `default` of an argument that is always written."""


class EmissionError(Exception):
    """The torch target would write something wrong: a bug in segdsl, never the user's fault."""


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument in emitted source.

    Attributes:
        value: what is written.
        name: its keyword; "" for a positional argument.
        default: left out when `value` equals it.
        origin: where the number comes from: an attribute of the operator, or the slot of an operand
            whose channels it counts. Only a hint for readable source, never trusted.
    """

    value: Literal
    name: str = ""
    default: Literal = REQUIRED
    origin: str | int | None = None


@dataclass(frozen=True, slots=True)
class Make:
    """The construction of a module or parameter: `nn.Conv2d(64, 64, 3, padding=1)`.

    `frozen` adds `.requires_grad_(False)`.
    """

    callee: str
    args: tuple[Arg, ...] = ()
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """An operator as torch source.

    `call` is an expression with placeholders: `{0}` an operand, `{*}` all operands, `{self}` the
    attribute that holds the arrays, `{name}` the value of an entry of `args`, `{args}` all of
    `args` as further arguments, each with a comma before it and left out where it equals its
    default.

    Attributes:
        call: the expression of the result; of a tuple where the operator has several results.
        args: its arguments.
        make: constructs what owns the arrays; None where there are none.
        module: the same function as a module of one map, for `nn.Sequential`; None where there is
            none. With arrays `make` is that module, if `call` is `{self}({0})`.
        helper: the name of a definition of `compiler.to_torch.helpers` that `call` or `make` needs.
        infix: whether `call` is an operator expression, which needs parentheses inside another.
        passes_channels: whether the result has the channels of operand 0.
    """

    call: str
    args: tuple[Arg, ...] = ()
    make: Make | None = None
    module: Make | None = None
    helper: str = ""
    infix: bool = False
    passes_channels: bool = True

    @property
    def plain(self) -> bool:
        """Whether a module of one map does all of it, so that it may stand in `nn.Sequential`."""
        return self.module is not None or (self.make is not None and self.call == "{self}({0})")


@singledispatch
def layer(op: Op, *inputs: Feature) -> Layer:
    """How torch writes `op` on operands of these types."""
    raise EmissionError(
        f"operator {op.name!r} has no torch lowering; add one in compiler/to_torch/<family>.py"
    )


def literal(value: Literal) -> str:
    """The source text of a value.

    Raises:
        EmissionError: a float is not finite, or the value is of another type.
    """
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        if not isfinite(value):
            raise EmissionError(f"{value} has no literal")
        return repr(float(value))
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, tuple):
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    raise EmissionError(f"{type(value).__name__} has no literal")


def quoted(text: str) -> str:
    """A string literal, in double quotes where `repr` needs no escape."""
    single = repr(text)
    plain = single == f"'{text}'" and '"' not in text
    return f'"{text}"' if plain else single


def size(pair: Pair) -> Literal:
    """A pair as torch users write it: one number if both are equal."""
    return int(pair.height) if pair.height == pair.width else (int(pair.height), int(pair.width))
