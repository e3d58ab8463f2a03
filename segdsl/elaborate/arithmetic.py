"""Numbers, sizes and maps under the operators of the language."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from segdsl.elaborate.frame import Frame
from segdsl.elaborate.state import State, refuse
from segdsl.elaborate.values import Anything, Map, Quantity, Ratio, describe
from segdsl.limits import Limits
from segdsl.ops.base import OPS
from segdsl.source import Span
from segdsl.symbolic import Formula, Size, floor_div, symbols

WORD = 2 ** Limits().integer_bits
MAP_OPS = {"+": "add", "-": "sub", "*": "mul", "/": "div"}


def combine(
    state: State,
    frame: Frame,
    op: str,
    left: Anything,
    right: Anything,
    spans: tuple[Span, Span],
    label: str,
) -> Anything:
    """`left op right`, for numbers, sizes or maps.

    Raises:
        SegError: the operands do not go together (E2003), or the number leaves its range (E2020).
    """
    span = spans[0].to(spans[1])
    if isinstance(left, Map) or isinstance(right, Map):
        return _combine_maps(state, frame, op, left, right, spans, label)
    left, right = _plain(left), _plain(right)
    if isinstance(left, tuple) and isinstance(right, tuple) and op == "+":
        return joined(state, frame, left, right, span)
    if isinstance(left, Formula) or isinstance(right, Formula):
        return _combine_sizes(frame, op, left, right, span)
    if not _is_number(left) or not _is_number(right):
        message = f"`{op}` takes numbers or maps, not {describe(left)} and {describe(right)}"
        refuse(frame, "E2003", message, span)
    assert isinstance(left, int | float)
    assert isinstance(right, int | float)
    return _combine_numbers(frame, op, left, right, span)


def joined(
    state: State, frame: Frame, left: tuple[Anything, ...], right: tuple[Anything, ...], span: Span
) -> tuple[Anything, ...]:
    """One list behind the other.

    Raises:
        SegError: E4005, it would be too long.
    """
    check_length(state, frame, len(left) + len(right), span)
    return left + right


def check_length(state: State, frame: Frame, length: int, span: Span) -> None:
    """Refuse a list that is longer than the limit.

    Raises:
        SegError: E4005.
    """
    cap = state.limits.list_length
    if length > cap:
        message = f"this list has {length:,} elements; the limit is {cap:,}"
        refuse(frame, "E4005", message, span)


def _plain(value: Anything) -> Anything:
    return value.value if isinstance(value, Quantity) else value


def _is_number(value: Anything) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _combine_numbers(frame: Frame, op: str, a: float, b: float, span: Span) -> Anything:
    if op in ("/", "//", "%") and b == 0:
        refuse(frame, "E2020", "this divides by zero", span)
    result: int | float
    match op:
        case "+":
            result = a + b
        case "-":
            result = a - b
        case "*":
            result = a * b
        case "/":
            result = a / b
        case "//":
            result = a // b
        case "%":
            result = a % b
        case _:
            result = _power(frame, a, b, span)
    return in_range(frame, result, span)


def _power(frame: Frame, a: float, b: float, span: Span) -> int | float:
    """Powers, refused before they are computed where the result cannot fit in 63 bits."""
    if isinstance(a, int) and isinstance(b, int):
        if b < 0:
            refuse(
                frame,
                "E2020",
                "a whole number has no whole negative power",
                span,
                helps=("write `1.0 / …`",),
            )
        if abs(a) > 1 and (abs(a).bit_length() - 1) * b > 63:
            refuse(frame, "E2020", "this number is too large: numbers stay below 2**63", span)
        return int(a**b)
    try:
        result = float(a) ** float(b)
    except (OverflowError, ZeroDivisionError):
        refuse(frame, "E2020", "this power is not a finite number", span)
    if isinstance(result, complex):
        refuse(frame, "E2020", "this power is not a real number", span)
    return float(result)


def in_range(frame: Frame, value: float, span: Span) -> int | float:
    """The number itself, if it is finite and whole numbers fit in 63 bits."""
    if isinstance(value, int) and abs(value) >= WORD:
        refuse(frame, "E2020", "this number is too large: numbers stay below 2**63", span)
    if isinstance(value, float) and not isfinite(value):
        refuse(frame, "E2020", "this number is not finite", span)
    return value


def _combine_sizes(frame: Frame, op: str, a: Anything, b: Anything, span: Span) -> Anything:
    if not isinstance(a, int | Formula) or not isinstance(b, int | Formula):
        refuse(
            frame,
            "E2003",
            f"`{op}` of a size takes whole numbers, not {describe(a)} and {describe(b)}",
            span,
        )
    if op == "+":
        return a + b
    if op == "-":
        return a - b
    if op == "*":
        if isinstance(a, Formula) and isinstance(b, Formula) and symbols(a) & symbols(b):
            refuse(frame, "E2011", "a size cannot be multiplied by itself", span)
        return a * b
    if not isinstance(b, int) or b <= 0 or op == "**":
        refuse(
            frame,
            "E2011",
            f"`{op}` of a size needs a whole number of at least 1 on the right",
            span,
        )
    if op == "/":
        return Ratio(a, b) if b != 1 else a
    return floor_div(a, b) if op == "//" else a - floor_div(a, b) * b


def negate(frame: Frame, value: Anything, span: Span) -> Anything:
    """`-value` of a number or a size."""
    value = _plain(value)
    if isinstance(value, Formula):
        return -value
    if not isinstance(value, int | float) or isinstance(value, bool):
        refuse(frame, "E2003", f"`-` takes a number, not {describe(value)}", span)
    return in_range(frame, -value, span)


def _combine_maps(
    state: State,
    frame: Frame,
    op: str,
    a: Anything,
    b: Anything,
    spans: tuple[Span, Span],
    label: str,
) -> Map:
    span = spans[0].to(spans[1])
    if op not in MAP_OPS:
        refuse(frame, "E2003", f"maps take `+ - * /`, not `{op}`", span)
    cls = OPS[MAP_OPS[op]]
    name = label or cls.name
    if isinstance(a, Map) and isinstance(b, Map):
        return add_node(state, frame, cls.name, {}, (a, b), spans, span, name)
    number, x, first = (b, a, False) if isinstance(a, Map) else (a, b, True)
    number = _plain(number)
    if not isinstance(number, int | float) or isinstance(number, bool):
        refuse(frame, "E2003", f"`{op}` takes maps or numbers, not {describe(number)}", span)
    assert isinstance(x, Map)
    fields = {"number": float(number), "number_first": first}
    return add_node(
        state, frame, cls.name, fields, (x,), (spans[1] if first else spans[0],), span, name
    )


def add_node(
    state: State,
    frame: Frame,
    operator: str,
    fields: Mapping[str, object],
    operands: tuple[Map, ...],
    spans: tuple[Span, ...],
    span: Span,
    label: str,
) -> Map:
    """A node for an operator without arrays that syntax makes (`+`, `sum`, `max`)."""
    op = OPS[operator](**fields)
    (result,) = state.builder.apply(
        op,
        operands,
        frame,
        span=span,
        parts=dict(enumerate(spans)),
        path=None,
        label=node_label(frame, label),
    )
    return result


def node_label(frame: Frame, label: str) -> str:
    """The name of a node without weights.

    Its instance, the writer's word, the turns of loops around it.
    """
    parts = [frame.label, label, *map(str, frame.turns)]
    return ".".join(part for part in parts if part)


def compare_values(op: str, a: Anything, b: Anything) -> bool:
    """A comparison of two known values; numbers of either kind compare by value."""
    a, b = _plain(a), _plain(b)
    match op:
        case "==":
            return a == b and isinstance(a, bool) == isinstance(b, bool)
        case "!=":
            return not compare_values("==", a, b)
        case "in":
            return isinstance(b, tuple) and any(compare_values("==", a, item) for item in b)
    if not _is_number(a) or not _is_number(b):
        raise TypeError(op)
    assert isinstance(a, int | float)
    assert isinstance(b, int | float)
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def as_size(value: Anything) -> Size | Ratio | None:
    """A value as a size in a shape; None if it is none."""
    if isinstance(value, Formula | Ratio) or (
        isinstance(value, int) and not isinstance(value, bool)
    ):
        return value
    return None
