"""The `where` of an input as text: whether it may be written anew, and the edit that does it."""

from __future__ import annotations

from segdsl import syntax
from segdsl.diagnostics import Edit
from segdsl.source import Span
from segdsl.walk import used_names


def where_edit(net: syntax.Net, symbols: set[str], text: str) -> Edit | None:
    """Put `text` (conditions, or nothing) in the place of the `where` of the net's only input.

    None where that would lose something: a message of the author's, a condition that speaks of
    more than these symbols and numbers, or inputs beside it.
    """
    inputs = [s for s in net.body if isinstance(s, syntax.Input)]
    if len(inputs) != 1:
        return None
    (statement,) = inputs
    if not plain(statement.where, symbols):
        return None
    start = statement.type.span.end
    end = statement.where[-1].span.end if statement.where else start
    return Edit(Span(statement.span.source, start, end), f" where {text}" if text else "")


def plain(where: tuple[syntax.Constraint, ...], symbols: set[str]) -> bool:
    """Whether conditions speak of these symbols and of numbers only, without a message."""
    return all(c.message is None and used_names(c.condition) <= symbols for c in where)
