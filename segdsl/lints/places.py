"""Where a lint points, and what it may change there."""

from __future__ import annotations

import re

from segdsl import syntax
from segdsl.diagnostics import Edit
from segdsl.lints.walk import used_names
from segdsl.source import Span

_LITERAL = re.compile(r"(?:\w+\s*=\s*)?(?:\d+|\[\s*\d+(?:\s*,\s*\d+)*\s*\])")


def literal(span: Span) -> bool:
    """Whether an argument is written as a number or a list of numbers."""
    return _LITERAL.fullmatch(span.text.strip()) is not None


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
