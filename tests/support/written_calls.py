"""Operators as a person might write them: the text of a call from an operator's fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from hypothesis import strategies as st

from segdsl.ops.base import Op, signature
from segdsl.ops.elementwise import Add, Arithmetic, Div, Maximum, Minimum, Mul, PerChannel, Sub
from segdsl.printer import literal
from segdsl.types import Initialiser, Pair, Sides

Draw = Callable[..., Any]

SIGNS: Mapping[type[Op], str] = {Add: "+", Sub: "-", Mul: "*", Div: "/"}
JOINS: Mapping[type[Op], str] = {Maximum: "max", Minimum: "min"}


def written(draw: Draw, value: object, reads: Sequence[str] = ()) -> str:
    """A value of an argument, in one of the forms that mean it; slots name one of `reads`."""
    plain = literal(value, reads)
    match value:
        case Pair() if draw(st.booleans()):
            return f"[{value.height}, {value.width}]"
        case Sides(top, left, bottom, right) if draw(st.booleans()):
            alike = (top, left) == (bottom, right)
            return f"[{top}, {left}]" if alike else f"[{top}, {left}, {bottom}, {right}]"
        case str() if draw(st.booleans()):
            return value
    return plain


def arguments(
    draw: Draw, op: Op, other: Mapping[str, str], reads: Sequence[str] = ()
) -> Iterator[str]:
    """The arguments: in place or by name, those that are the defaults left out or not.

    `other` replaces the text of some.
    """
    everything, by_name = draw(st.booleans()), draw(st.booleans())
    in_place = not by_name
    for name, (field, _) in signature(type(op)).items():
        value = getattr(op, name)
        in_place = in_place and not field.kw_only
        default = field.default is not MISSING and value == field.default
        if default and (not everything or isinstance(value, Initialiser)):
            in_place = False
            continue
        text = other.get(name) or written(draw, value, reads)
        yield text if in_place else f"{name}={text}"


def stage(draw: Draw, op: Op, reads: list[str], path: str, other: Mapping[str, str]) -> str:
    """The call behind an arrow; `reads` are the operands behind the first."""
    first = len(op.operands) - op.optional - 1
    unnamed = reads[:first]
    optional = op.operands[len(op.operands) - op.optional :]
    named = [f"{name}={x}" for name, x in zip(optional, reads[first:], strict=False)]
    inside = [*unnamed, *arguments(draw, op, other), *named]
    return f"{op.name}({', '.join(inside)}){path}" if inside else f"{op.name}{path}"


def expression(
    draw: Draw, op: Op, reads: list[str], path: str, other: Mapping[str, str] | None = None
) -> str:
    """An operator on its operands."""
    if isinstance(op, Arithmetic):
        return _arithmetic(op, reads)
    if isinstance(op, PerChannel):
        return f"per_channel({reads[0]})"
    if op.slotted:
        return f"{reads[0]} -> {op.name}({', '.join(arguments(draw, op, {}, reads))})"
    if op.variadic:
        call = ", ".join([f"[{', '.join(reads)}]", *arguments(draw, op, other or {})])
        return f"{op.name}({call})"
    return f"{reads[0]} -> {stage(draw, op, reads[1:], path, other or {})}"


def _arithmetic(op: Arithmetic, reads: list[str]) -> str:
    if type(op) in JOINS:
        return f"{JOINS[type(op)]}([{', '.join(reads)}])"
    sign = SIGNS[type(op)]
    if op.number is None:
        return f"{reads[0]} {sign} {reads[1]}"
    number = f"({op.number!r})"
    return f"{number} {sign} {reads[0]}" if op.number_first else f"{reads[0]} {sign} {number}"
