"""Declared types: what they ask of a value, in Python's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from segdsl import syntax
from segdsl.diagnostics import SegError
from segdsl.elaborate.convert import Mismatch, convert, wrong_value
from segdsl.elaborate.frame import Frame
from segdsl.elaborate.signature import is_port
from segdsl.elaborate.state import refuse
from segdsl.elaborate.values import (
    Anything,
    BlockRef,
    BuiltinRef,
    LayerRef,
    Map,
    OperatorRef,
    Record,
    describe,
)
from segdsl.infer import at_user
from segdsl.source import Span

PLAIN: Mapping[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
"""The compile-time types of the language that a list may hold."""


def hint_of(declared: syntax.Type) -> Any:
    """The Python type of a compile-time value; None for blocks, ports and what is no type."""
    if isinstance(declared, syntax.NamedType):
        if declared.name.name == "oneof":
            return Literal[choice_words(declared)]
        return PLAIN.get(declared.name.name)
    if is_port(declared):
        return None
    (dim,) = declared.dims
    if isinstance(dim, syntax.ListExpr):
        inner = dim.elements[0] if len(dim.elements) == 1 else None
        if not isinstance(inner, syntax.Name) or inner.name not in PLAIN:
            return None
        return _list_of(_list_of(PLAIN[inner.name]))
    assert isinstance(dim, syntax.Name)
    return _list_of(PLAIN[dim.name]) if dim.name in PLAIN else None


def choice_words(declared: syntax.NamedType) -> tuple[str, ...]:
    """The words of `oneof("a", "b")`."""
    values = (a.value.value for a in declared.args if isinstance(a.value, syntax.PlainValue))
    return tuple(value for value in values if isinstance(value, str))


def _list_of(item: Any) -> Any:
    return tuple.__class_getitem__((item, ...))


def parameter_hint(param: syntax.Param) -> Any:
    """`hint_of` for a parameter: `none` is allowed where it is the default."""
    hint = hint_of(param.type)
    optional = isinstance(param.default, syntax.PlainValue) and param.default.value is None
    return hint | None if optional and hint is not None else hint


def conform(
    frame: Frame, name: str, declared: syntax.Type, hint: Any, value: Anything, span: Span
) -> Anything:
    """The value as its declared type has it; `hint` is that type in Python's terms.

    Raises:
        SegError: it is of another type (E2003, E2007, E2015).
    """
    if is_port(declared):
        return _port_value(frame, name, declared, value, span)
    if hint is None:
        return _block_value(frame, name, declared, value, span)
    try:
        converted: Anything = convert(value, hint)
    except Mismatch as mismatch:
        diagnostic = wrong_value(name, value, mismatch, span)
        raise SegError(at_user(diagnostic, frame.scope)) from mismatch
    return converted


def _port_value(
    frame: Frame, name: str, declared: syntax.Type, value: Anything, span: Span
) -> Anything:
    many = is_map_list(declared)
    if isinstance(value, Map) and not many:
        return value
    if many and isinstance(value, tuple) and value and all(isinstance(v, Map) for v in value):
        return value
    wanted = "a list of maps" if many else "a map"
    code = "E2015" if isinstance(value, Record) else "E2003"
    helps: tuple[str, ...] = ()
    if isinstance(value, Record):
        helps = ("choose one: " + ", ".join(f"`.{field}`" for field in value.fields),)
    refuse(frame, code, f"`{name}` must be {wanted}, not {describe(value)}", span, helps=helps)


def is_map_list(declared: syntax.Type) -> bool:
    """Whether a declared type is `[tensor]`."""
    return (
        isinstance(declared, syntax.ShapeType)
        and len(declared.dims) == 1
        and isinstance(declared.dims[0], syntax.Name)
        and declared.dims[0].name == "tensor"
    )


def _block_value(
    frame: Frame, name: str, declared: syntax.Type, value: Anything, span: Span
) -> Anything:
    listed = isinstance(declared, syntax.ShapeType)
    items = value if listed and isinstance(value, tuple) else (value,)
    if not all(isinstance(v, OperatorRef | BlockRef | LayerRef | BuiltinRef) for v in items):
        message = f"`{name}` must be a block or an operation, not {describe(value)}"
        refuse(frame, "E2003", message, span)
    return value
