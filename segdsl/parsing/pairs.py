"""Pairs in round brackets, as Python writes them: reported, and read as the lists that they are."""

from __future__ import annotations

from collections.abc import Sequence

from segdsl.diagnostics import Diagnostic, Edit
from segdsl.parsing.complaints import certain
from segdsl.parsing.tokens import CLOSERS, OPENERS, Token
from segdsl.source import Source, Span

_VALUE_FOLLOWS = frozenset({"LPAR", "LSQB", "COMMA", "ASSIGN"})
_SHORT = 24  # characters of the user's text that a message shows


def as_lists(source: Source, tokens: Sequence[Token]) -> tuple[list[Token], list[Diagnostic]]:
    """The tokens with `(3, 3)` as `[3, 3]` where a value stands, and what was said about it.

    A `(` behind `(`, `[`, `,` or `=` groups one value; with a comma of its own it is no group.
    """
    mended = list(tokens)
    found: list[Diagnostic] = []
    stack: list[tuple[int, bool]] = []  # openers, and whether a comma stood in them
    for index, token in enumerate(tokens):
        if token.kind in OPENERS:
            stack.append((index, False))
        elif token.kind == "COMMA" and stack:
            stack[-1] = (stack[-1][0], True)
        elif token.kind in CLOSERS and stack:
            opener, comma = stack.pop()
            groups = opener and tokens[opener - 1].kind in _VALUE_FOLLOWS
            written = token.start < token.end  # not one that was put in for a missing one
            round_ = tokens[opener].kind == "LPAR" and token.kind == "RPAR"
            if comma and groups and written and round_:
                first, last = tokens[opener], token
                mended[opener] = Token("LSQB", first.start, first.end)
                mended[index] = Token("RSQB", last.start, last.end)
                found.append(_complaint(source, first, last))
    return mended, found


def _complaint(source: Source, first: Token, last: Token) -> Diagnostic:
    span = Span(source, first.start, last.end)
    inside = source.text[first.end : last.start]
    edits = (
        Edit(Span(source, first.start, first.end), "["),
        Edit(Span(source, last.start, last.end), "]"),
    )
    shown = f"[{inside}]" if len(inside) <= _SHORT and "\n" not in inside else "[…]"
    message = "pairs and lists stand in square brackets"
    return Diagnostic("E0014", message, span, helps=(certain(f"write `{shown}`", *edits),))
