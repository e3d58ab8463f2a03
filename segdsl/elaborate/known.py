"""Values that are known before anything is expanded: literals, constants, parameters, arithmetic.

What is found here is what elaboration finds; whatever is doubtful is `UNKNOWN`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from segdsl import syntax
from segdsl.elaborate.builtins import FUNCTIONS
from segdsl.elaborate.complaints import BUILTINS
from segdsl.elaborate.convert import Mismatch, convert
from segdsl.elaborate.declared import hint_of
from segdsl.imports import Module
from segdsl.limits import Limits


class Unknown:
    """Stands for a value that only elaboration finds."""


UNKNOWN: Final = Unknown()

LEVELS = 60
"""Expressions inside one another, constants included, that are followed."""

Known = Any
"""An int, float, bool, string, None or a tuple of them; or `UNKNOWN`."""

ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv,
    "%": operator.mod,
}  # fmt: skip
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge,
    "<": operator.lt, ">": operator.gt,
}  # fmt: skip


@dataclass
class Scope:
    """What the names of one block mean as far as it is known.

    Attributes:
        module: the file that the block stands in.
        limits: the caps of the program.
        names: every name that the block binds anywhere, most of them `UNKNOWN`.
        consts: constants of all files that were asked for, by file and name.
    """

    module: Module
    limits: Limits
    names: dict[str, Known] = field(default_factory=dict[str, Known])
    consts: dict[tuple[int, str], Known] = field(default_factory=dict[tuple[int, str], Known])

    def inner(self) -> Scope:
        """A copy, for a body whose names end with it."""
        return Scope(self.module, self.limits, dict(self.names), self.consts)


def known(scope: Scope, expr: syntax.Expr, level: int = 0) -> Known:
    """The value of an expression, or `UNKNOWN`; `level` is how deep it stands in others."""
    level += 1
    if level > LEVELS:
        return UNKNOWN
    match expr:
        case syntax.Number(value, "", _) | syntax.PlainValue(value, _):
            return value
        case syntax.Name(name, _):
            return _name(scope, name, level)
        case syntax.ListExpr(elements, _):
            return _list(scope, elements, level)
        case syntax.Unary("-", operand, _):
            value = known(scope, operand, level)
            return -value if _whole(value) else UNKNOWN
        case syntax.Unary("not", operand, _):
            value = known(scope, operand, level)
            return not value if isinstance(value, bool) else UNKNOWN
        case syntax.Binary(first, rest, _):
            return _binary(scope, first, rest, level)
        case syntax.Compare(first, ((op, second),), _):
            return _compare(op, known(scope, first, level), known(scope, second, level))
        case syntax.Call(syntax.Name(name, _), args, _):
            return _call(scope, name, args, level)
    return UNKNOWN


def _whole(value: Known) -> bool:
    return type(value) is int


def _name(scope: Scope, name: str, level: int) -> Known:
    if name in scope.names:
        return scope.names[name]
    entry = scope.module.items.get(name)
    if entry is None or not isinstance(entry[0], syntax.Const):
        return UNKNOWN
    const, home = entry[0], entry[1]
    key = (id(home), const.name.name)
    if key not in scope.consts:
        scope.consts[key] = UNKNOWN  # so constants in a circle end
        value = known(Scope(home, scope.limits, {}, scope.consts), const.value, level)
        scope.consts[key] = value if const.type is None else converted(value, hint_of(const.type))
    return scope.consts[key]


def converted(value: Known, hint: Any) -> Known:
    """A value as a declared type has it; `hint` is that type, None where nothing is known of it."""
    if value is UNKNOWN or hint is None:
        return UNKNOWN
    try:
        return convert(value, hint)
    except Mismatch:
        return UNKNOWN


def _list(scope: Scope, elements: tuple[syntax.Element, ...], level: int) -> Known:
    if any(isinstance(e, syntax.Spread | syntax.Each | syntax.When) for e in elements):
        return UNKNOWN
    items = tuple(known(scope, e, level) for e in elements)  # type: ignore[arg-type]
    return UNKNOWN if any(item is UNKNOWN for item in items) else items


def _binary(
    scope: Scope, first: syntax.Expr, rest: tuple[tuple[str, syntax.Expr], ...], level: int
) -> Known:
    value = known(scope, first, level)
    for op, operand in rest:
        value = _combined(scope.limits, op, value, known(scope, operand, level))
    return value


def _combined(limits: Limits, op: str, left: Known, right: Known) -> Known:
    if not (_whole(left) and _whole(right)):
        return UNKNOWN
    if op == "**" and right >= 0 and (abs(left) <= 1 or left.bit_length() * right <= 64):
        result = left**right
    elif op in ARITHMETIC and not (right == 0 and op in ("//", "%")):
        result = ARITHMETIC[op](left, right)
    else:
        return UNKNOWN
    return result if result.bit_length() <= limits.integer_bits else UNKNOWN


def _compare(op: str, left: Known, right: Known) -> Known:
    if op not in COMPARISONS or type(left) is not type(right):
        return UNKNOWN
    if not isinstance(left, int | str) or (isinstance(left, bool) and op not in ("==", "!=")):
        return UNKNOWN
    return COMPARISONS[op](left, right)


def _call(scope: Scope, name: str, args: tuple[syntax.Arg, ...], level: int) -> Known:
    if name in scope.names or name in scope.module.items or name not in BUILTINS:
        return UNKNOWN
    values = [known(scope, arg.value, level) for arg in args]
    if any(arg.name for arg in args) or name not in FUNCTIONS or UNKNOWN in values:
        return UNKNOWN
    try:
        result = FUNCTIONS[name](*values)
    except Exception:
        return UNKNOWN  # elaboration says what is wrong with it
    return UNKNOWN if not _fits(scope.limits, result) else result


def _fits(limits: Limits, value: Known) -> bool:
    if isinstance(value, tuple):
        return len(value) <= limits.list_length
    return not isinstance(value, int) or value.bit_length() <= limits.integer_bits
