"""Which line ends end a statement."""

from __future__ import annotations

from collections.abc import Sequence

from segdsl.parsing.tokens import CONTINUED_BY, CONTINUES, END, NEWLINE, Token
from segdsl.source import Source


def layout(source: Source, tokens: Sequence[Token]) -> list[Token]:
    """The tokens for the parser: only line ends that end a statement, and an end token.

    A line end counts unless it stands inside () or [], behind a token that cannot end a statement,
    or before one that carries on the line before.
    """
    result: list[Token] = []
    stack: list[str] = []
    for index, token in enumerate(tokens):
        kind = token.kind
        if kind == NEWLINE:
            following = tokens[index + 1].kind if index + 1 < len(tokens) else END
            if not ends_statement(source, result, stack, following):
                continue
        elif kind in ("LPAR", "LSQB", "LBRACE"):
            stack.append(kind)
        elif kind in ("RPAR", "RSQB", "RBRACE") and stack:
            stack.pop()
        result.append(token)
    end = len(source.text)
    if result and result[-1].kind != NEWLINE:
        result.append(Token(NEWLINE, result[-1].end, result[-1].end))
    result.append(Token(END, end, end))
    return result


def ends_statement(
    source: Source, before: Sequence[Token], stack: Sequence[str], following: str
) -> bool:
    """Whether a line end behind `before`, inside the open brackets `stack`, ends a statement."""
    if not before or before[-1].kind == NEWLINE or following in CONTINUED_BY:
        return False
    if stack and stack[-1] != "LBRACE":
        return False
    return before[-1].kind not in CONTINUES or is_percentage(source, before)


def is_percentage(source: Source, before: Sequence[Token]) -> bool:
    """Whether the tokens end in `within 2%`: there `%` is a unit, and may end a line."""
    kinds = [token.kind for token in before[-3:]]
    return kinds == ["WITHIN", "NUMBER", "PERCENT"]
