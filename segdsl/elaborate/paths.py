"""Weight paths: as written, or by default from the binding and the callee."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from segdsl import syntax
from segdsl.elaborate.frame import Frame, join
from segdsl.elaborate.state import State, refuse
from segdsl.elaborate.values import describe

PART = re.compile(r"[A-Za-z0-9_]+")


def written_path(state: State, frame: Frame, path: syntax.Path) -> str:
    """The full path of an `@path` in this frame; `@.` is the path of the instance itself.

    Raises:
        SegError: a `{…}` is neither a whole number of at least 0 nor a string of letters, digits
            and `_`.
    """
    parts = ["".join(_piece(state, frame, piece, path) for piece in part) for part in path.parts]
    return join(frame.prefix, *parts)


def _piece(state: State, frame: Frame, piece: str | syntax.Expr, path: syntax.Path) -> str:
    if isinstance(piece, str):
        return piece
    value = state.evaluate(state, frame, piece)
    text = str(value) if not isinstance(value, bool) and isinstance(value, int | str) else ""
    if not PART.fullmatch(text):
        message = (
            f"a weight path takes a whole number of at least 0 or a word, not {describe(value)}"
        )
        refuse(frame, "E5010", message, piece.span)
    return text


def default_path(frame: Frame, callee: str) -> str:
    """`<binding>.<callee>`, numbered if the callee occurs more than once in the statement."""
    statement = frame.statement
    name = callee
    if statement.totals.get(callee, 0) > 1:
        key = f"{callee}@{frame.turns}"
        statement.seen[key] = statement.seen.get(key, 0) + 1
        name = f"{callee}{statement.seen[key]}"
    binding = statement.binding or "body"
    return join(frame.prefix, binding, *map(str, frame.turns), name)


def next_taps(stages: tuple[syntax.Stage | syntax.Repeat, ...]) -> list[str]:
    """For each stage the first tap from there on; "" where none follows."""
    names: list[str] = []
    name = ""
    for stage in reversed(stages):
        name = stage.tap.name if stage.tap is not None else name
        names.append(name)
    return names[::-1]


@contextmanager
def statement_binding(frame: Frame, own: str, upcoming: str) -> Iterator[None]:
    """While a stage runs, its own tap is the binding; without any binding, the upcoming tap is."""
    before = frame.statement.binding
    frame.statement.binding = own or before or upcoming
    try:
        yield
    finally:
        frame.statement.binding = before


def callee_counts(statement: object) -> dict[str, int]:
    """How often each callee is called without a path in a statement."""
    counts: dict[str, int] = {}
    pending: list[object] = [statement]
    while pending:
        item = pending.pop()
        if isinstance(item, tuple):
            pending.extend(item)
            continue
        name = _unnamed_callee(item)
        if name:
            counts[name] = counts.get(name, 0) + 1
        if is_dataclass(item):
            pending.extend(_children(item))
    return counts


def _unnamed_callee(item: object) -> str:
    if isinstance(item, syntax.Stage) and isinstance(item.call, syntax.Name) and item.path is None:
        return item.call.name
    if isinstance(item, syntax.Call) and isinstance(item.callee, syntax.Name):
        return item.callee.name
    return ""


def _children(item: object) -> list[object]:
    """Parts of a syntax node; a call with a path is passed over, its arguments are not."""
    if (
        isinstance(item, syntax.Stage)
        and item.path is not None
        and isinstance(item.call, syntax.Call)
    ):
        return list(item.call.args)
    if isinstance(item, syntax.At) and isinstance(item.value, syntax.Call):
        return list(item.value.args)
    kind: Any = type(item)
    parts = [getattr(item, name) for name in _part_names(kind)]
    return [part for part in parts if isinstance(part, tuple) or is_dataclass(part)]


@cache
def _part_names(cls: Any) -> tuple[str, ...]:
    """The fields of a class of syntax nodes that can hold other nodes."""
    return tuple(field.name for field in fields(cls) if field.name != "span")
