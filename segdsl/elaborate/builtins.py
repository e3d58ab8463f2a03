"""The functions of the language: compile-time arithmetic, and joins of lists of maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil, floor

from segdsl.elaborate.arithmetic import add_node, check_length, in_range
from segdsl.elaborate.frame import Frame
from segdsl.elaborate.state import Invocation, State, refuse
from segdsl.elaborate.values import (
    Anything,
    Callee,
    Map,
    OperatorRef,
    Quantity,
    Ratio,
    describe,
)
from segdsl.ops.activation import ACTIVATIONS
from segdsl.source import Span
from segdsl.spelling import nearest
from segdsl.symbolic import Formula, ceil_div, floor_div

Dispatch = Callable[[State, Callee, Invocation], Anything]
JOINS = {"sum": "add", "max": "maximum", "min": "minimum"}


def call_builtin(state: State, name: str, call: Invocation, dispatch: Dispatch) -> Anything:
    """Call a function of the language.

    Raises:
        SegError: its arguments are wrong.
    """
    if name == "activation":
        return _activation(state, call, dispatch)
    if call.path is not None:
        refuse(
            call.frame,
            "E2017",
            f"`{name}` has no weights, so it takes no path",
            call.path_span or call.span,
        )
    values, spans = _arguments(state, name, call)
    if name in JOINS and len(values) == 1 and _all_maps(values[0]):
        return _join(state, call, name, values[0], spans[0])
    if name in JOINS and values and all(isinstance(v, Map) for v in values):
        return _join(state, call, name, tuple(values), spans[0].to(spans[-1]))
    function = FUNCTIONS[name]
    try:
        result = function(*values)
    except _Wrong as wrong:
        refuse(call.frame, "E2003", f"`{name}` takes {wrong}", call.span)
    except TypeError:
        words = ", ".join(describe(v) for v in values) or "nothing"
        refuse(call.frame, "E2003", f"`{name}` cannot take {words}", call.span)
    return _in_range(state, call.frame, result, call.span)


def _in_range(state: State, frame: Frame, result: Anything, span: Span) -> Anything:
    if isinstance(result, tuple):
        check_length(state, frame, len(result), span)
    if isinstance(result, int | float) and not isinstance(result, bool):
        return in_range(frame, result, span)
    return result


def _arguments(state: State, name: str, call: Invocation) -> tuple[list[Anything], list[Span]]:
    values: list[Anything] = []
    spans: list[Span] = []
    if call.piped is not None:
        values.append(call.piped[0])
        spans.append(call.piped[1])
    for arg in call.args:
        if arg.name is not None:
            refuse(
                call.frame, "E2001", f"`{name}` has no argument `{arg.name.name}`", arg.name.span
            )
        values.append(state.evaluate(state, call.args_frame, arg.value))
        spans.append(arg.span)
    return values, spans


def _all_maps(value: Anything) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(v, Map) for v in value)


def _join(state: State, call: Invocation, name: str, maps: Anything, span: Span) -> Map:
    """`sum`, `max` or `min` of maps: a chain of two-operand nodes, left to right."""
    assert isinstance(maps, tuple)
    total = maps[0]
    assert isinstance(total, Map)
    for place, item in enumerate(maps[1:], 2):
        assert isinstance(item, Map)
        label = call.label if place == len(maps) else ""
        total = add_node(
            state,
            call.frame,
            JOINS[name],
            {},
            (total, item),
            (span, span),
            call.span,
            label or name,
        )
    return total


def _activation(state: State, call: Invocation, dispatch: Dispatch) -> Anything:
    """`activation(name)`: the operator of that name."""
    if len(call.args) != 1 or call.args[0].name is not None:
        refuse(
            call.frame, "E2004", "`activation` takes one name, as in `activation(act)`", call.span
        )
    argument = call.args[0]
    value = state.evaluate(state, call.args_frame, argument.value)
    if not isinstance(value, str) or value not in ACTIVATIONS:
        guess = nearest(value, list(ACTIVATIONS)) if isinstance(value, str) else None
        words = ", ".join(f'"{word}"' for word in ACTIVATIONS)
        helps = (f'did you mean "{guess}"?',) if guess else ()
        refuse(call.frame, "E2007", f"`activation` is one of {words}", argument.span, helps=helps)
    return dispatch(state, OperatorRef(ACTIVATIONS[value]), replace(call, args=()))


class _Wrong(Exception):
    """A function got something else than it takes."""


def _list(value: Anything) -> tuple[Anything, ...]:
    if not isinstance(value, tuple):
        raise _Wrong(f"a list, not {describe(value)}")
    return value


def _number(value: Anything) -> int | float:
    if isinstance(value, Quantity):
        return value.value
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _Wrong(f"numbers, not {describe(value)}")
    return value


def _numbers(values: tuple[Anything, ...]) -> list[int | float]:
    items = values[0] if len(values) == 1 and isinstance(values[0], tuple) else values
    if not items:
        raise _Wrong("at least one number")
    return [_number(v) for v in _list(items)]


def _range(*bounds: Anything) -> Anything:
    whole = [_number(b) for b in bounds]
    if not 1 <= len(whole) <= 3 or not all(isinstance(b, int) for b in whole):
        raise _Wrong("one to three whole numbers")
    if len(whole) == 3 and whole[2] == 0:
        raise _Wrong("a step other than 0")
    span = range(*whole)  # type: ignore[arg-type]
    if len(span) > 10**6:
        raise _Wrong(f"a range of at most a million numbers, not {len(span):,}")
    return tuple(span)


def _rounded(value: Anything, *, up: bool) -> Anything:
    if isinstance(value, Ratio):
        return (ceil_div if up else floor_div)(value.numerator, value.divisor)
    if isinstance(value, Formula):
        return value
    return ceil(_number(value)) if up else floor(_number(value))


def _to_int(value: Anything) -> Anything:
    if isinstance(value, str):
        if not value.isascii() or not value.isdigit() or len(value) > 18:
            raise _Wrong(f"digits, not {describe(value)}")
        return int(value)
    return int(_number(value))


def _sum(*values: Anything) -> Anything:
    total: int | float = 0
    for item in _list(values[0]) if len(values) == 1 else values:
        total += _number(item)
    return total


FUNCTIONS: dict[str, Callable[..., Anything]] = {
    "len": lambda xs: len(_list(xs)),
    "range": _range,
    "enumerate": lambda xs: tuple(enumerate(_list(xs))),
    "reversed": lambda xs: tuple(reversed(_list(xs))),
    "zip": lambda *xs: tuple(zip(*map(_list, xs), strict=False)),
    "sum": _sum,
    "min": lambda *xs: min(_numbers(xs)),
    "max": lambda *xs: max(_numbers(xs)),
    "abs": lambda x: abs(_number(x)),
    "int": _to_int,
    "float": lambda x: float(_number(x)),
    "str": lambda x: x if isinstance(x, str) else str(_number(x)),
    "ceil": lambda x: _rounded(x, up=True),
    "floor": lambda x: _rounded(x, up=False),
}
