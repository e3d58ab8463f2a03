"""From values of the language to the types that operators and blocks declare."""

from __future__ import annotations

from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from segdsl import syntax
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, text_helps
from segdsl.elaborate.values import Anything, Quantity, describe
from segdsl.foreign import CALLS, framework
from segdsl.ops.terms import Term
from segdsl.source import Span
from segdsl.spelling import nearest
from segdsl.symbolic import Formula
from segdsl.types import Initialiser, Pair, Sides, Slot


class Mismatch(Exception):
    """A value does not have the declared type.

    Attributes:
        expected: that type in words.
        code: the code of the diagnostic.
        instead: what to write in place of the value, where that is plain.
        words: the choices, where the type is one of several words.
    """

    def __init__(
        self, expected: str, code: str = "E2003", instead: str = "", words: tuple[str, ...] = ()
    ) -> None:
        super().__init__(expected)
        self.expected = expected
        self.code = code
        self.instead = instead
        self.words = words


@cache
def choices(hint: Any) -> tuple[str, ...]:
    """The bare words that a declared type allows."""
    if get_origin(hint) is Literal:
        return tuple(c for c in get_args(hint) if isinstance(c, str))
    if get_origin(hint) in (Union, UnionType):
        return tuple(word for option in get_args(hint) for word in choices(option))
    return ()


@cache
def takes_initialiser(hint: Any) -> bool:
    """Whether a declared type is an initialiser."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return Initialiser in options


def convert(value: Anything, hint: Any, unit: str = "") -> Any:
    """`value` as the declared type `hint`.

    Whole numbers become floats, numbers become pairs and sides.

    Raises:
        Mismatch: it is none of the types.
    """
    if isinstance(value, Quantity):
        value = _without_unit(value, unit)
    if get_origin(hint) in (Union, UnionType):
        return _convert_union(value, get_args(hint), unit)
    if get_origin(hint) is Literal:
        return _convert_choice(value, get_args(hint))
    if get_origin(hint) is tuple:
        return _convert_tuple(value, get_args(hint), unit)
    return _convert_plain(value, hint)


def _without_unit(value: Quantity, unit: str) -> int | float:
    if value.unit != unit:
        wanted = f"a number in {unit}" if unit else "a plain number"
        raise Mismatch(wanted, "E2013", f"{value.value!r}{unit}")
    return value.value


def _convert_union(value: Anything, options: tuple[Any, ...], unit: str) -> Any:
    failures: list[Mismatch] = []
    for option in sorted(options, key=lambda o: o is not NoneType):
        try:
            return convert(value, option, unit)
        except Mismatch as mismatch:
            failures.append(mismatch)
    special = next((f for f in failures if f.code != "E2003"), None)
    if special:
        raise special
    instead = next((f.instead for f in failures if f.instead), "")
    raise Mismatch(" or ".join(dict.fromkeys(f.expected for f in failures)), instead=instead)


def _convert_choice(value: Anything, allowed: tuple[Any, ...]) -> Any:
    if isinstance(value, str) and value in allowed:
        return value
    words = ", ".join(f'"{word}"' for word in allowed)
    code = "E2007" if isinstance(value, str) else "E2003"
    raise Mismatch(f"one of {words}", code, words=tuple(str(word) for word in allowed))


def _convert_tuple(value: Anything, items: tuple[Any, ...], unit: str) -> Any:
    if not isinstance(value, tuple):
        raise Mismatch("a list")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(convert(item, items[0], unit) for item in value)
    if len(value) != len(items):
        raise Mismatch(f"a list of {len(items)}")
    return tuple(convert(item, hint, unit) for item, hint in zip(value, items, strict=True))


def _convert_plain(value: Anything, hint: Any) -> Any:
    if isinstance(value, Formula) and hint in (int, float, Pair, Sides):
        raise Mismatch("a known number", "E2010")
    if hint is NoneType and value is None:
        return None
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int:
        return _whole(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    if hint is Initialiser and isinstance(value, Initialiser):
        return value
    if hint in (Slot, Term) and isinstance(value, hint):
        return value
    if hint is Pair:
        return _pair(value)
    if hint is Sides:
        return _sides(value)
    raise Mismatch(expected(hint))


def _whole(value: Anything) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    whole = isinstance(value, float) and value.is_integer()
    raise Mismatch("a whole number", instead=f"{value:.0f}" if whole else "")


def _pair(value: Anything) -> Pair:
    if isinstance(value, tuple):
        if len(value) != 2:
            raise Mismatch("a whole number or [height, width]")
        return Pair(_whole(value[0]), _whole(value[1]))
    number = _whole(value)
    return Pair(number, number)


def _sides(value: Anything) -> Sides:
    if not isinstance(value, tuple):
        number = _whole(value)
        return Sides(number, number, number, number)
    numbers = [_whole(item) for item in value]
    if len(numbers) == 2:
        return Sides(numbers[0], numbers[1], numbers[0], numbers[1])
    if len(numbers) == 4:
        return Sides(*numbers)
    raise Mismatch("a whole number, [h, w] or [top, left, bottom, right]")


def expected(hint: Any) -> str:
    """A declared type in words."""
    words: dict[Any, str] = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a string",
        NoneType: "none",
        Initialiser: "an initialiser, such as `zeros` or `constant(0.1)`",
        Pair: "a whole number or [height, width]",
        Sides: "a whole number or four sides",
        Slot: "a map",
        Term: "a term, such as `gaussian(sxy=3)`",
    }
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(expected(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(f'"{c}"' for c in get_args(hint))
    if get_origin(hint) is tuple:
        return "a list"
    return words.get(hint, str(hint))


def wrong_value(name: str, value: Anything, mismatch: Mismatch, span: Span) -> Diagnostic:
    """What is wrong with the value of the argument `name`, which stands at `span`."""
    notes: tuple[str, ...] = ()
    helps: tuple[Help, ...] = ()
    if mismatch.instead:
        edit = Edit(span, mismatch.instead)
        helps = (Help(f"write `{mismatch.instead}`", (edit,), Applicability.CERTAIN),)
    if mismatch.code == "E2007" and isinstance(value, str):
        notes = _translation(value)
        guess = nearest(value, mismatch.words)
        helps = text_helps(f"did you mean `{guess}`?") if guess else ()
    return Diagnostic(
        mismatch.code, _sentence(name, value, mismatch), span, notes=notes, helps=helps
    )


def _translation(word: str) -> tuple[str, ...]:
    translated = CALLS[word].target if word in CALLS else ""
    if not translated.isidentifier():
        return ()
    return (f"`{word}` is {framework(word)} name; here it is `{translated}`",)


def _sentence(name: str, value: Anything, mismatch: Mismatch) -> str:
    if mismatch.code == "E2010":
        return f"`{name}` must be a known number, but {describe(value)} depends on the input"
    if mismatch.code == "E2007":
        return f"`{name}` is {mismatch.expected}, not {describe(value)}"
    return f"`{name}` must be {mismatch.expected}, not {describe(value)}"


class NotLiteral:
    """Stands for the value of an expression that must be computed."""


NOT_LITERAL = NotLiteral()


def literal(expr: syntax.Expr) -> Anything | NotLiteral:
    """The value that stands in the text itself: numbers, strings, words and lists of them."""
    match expr:
        case syntax.Number(value, "", _):
            return value
        case syntax.Number(value, unit, _):
            return Quantity(value, unit) if unit not in ("K", "M", "G") else NOT_LITERAL
        case syntax.PlainValue(value, _):
            return value
        case syntax.Unary("-", syntax.Number(value, "", _), _):
            return -value
        case syntax.ListExpr(elements, _):
            return _literal_list(elements)
    return NOT_LITERAL


def _literal_list(elements: tuple[syntax.Element, ...]) -> Anything | NotLiteral:
    items: list[Anything] = []
    for element in elements:
        if isinstance(element, syntax.Spread | syntax.Each | syntax.When):
            return NOT_LITERAL
        item = literal(element)
        if isinstance(item, NotLiteral):
            return NOT_LITERAL
        items.append(item)
    return tuple(items)
