"""A file as a list of statements, with the empty lines and comments between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from segdsl.fmt.lines import STEP
from segdsl.fmt.pieces import Piece
from segdsl.fmt.roles import Bracket, roles
from segdsl.parsing.tokens import END

DEFINITIONS = ("BLOCK", "NET")


@dataclass
class Statement:
    """What is laid out at once: a statement, the head of a body, or the end of one.

    Attributes:
        pieces: its tokens; none for the comments at the end of the file.
        indent: its column.
        blank: empty lines above its comments: 0 or 1.
        comments: the lines above it, with empty ones between them.
        gap: empty lines between the comments and it.
    """

    pieces: list[Piece]
    indent: int
    blank: int = 0
    comments: list[str] = field(default_factory=list[str])
    gap: int = 0


def statements(pieces: Sequence[Piece]) -> list[Statement]:
    """The statements of a file in order."""
    result: list[Statement] = []
    depth = 0
    for unit in _units(pieces):
        first = unit[0]
        closes = first.kind == "RBRACE"
        if closes:
            depth -= 1
        inner = depth + 1 if closes else depth
        statement = Statement([] if first.kind == END else unit, depth * STEP)
        _take_comments(statement, first, inner * STEP)
        _set_blank(statement, result, first)
        result.append(statement)
        if unit[-1].kind == "LBRACE" and _opens_body(unit):
            depth += 1
    return [s for s in result if s.pieces or s.comments]


def _units(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The tokens between line ends, `{` and `}` of bodies; `} else {` stays together."""
    result: list[list[Piece]] = []
    unit: list[Piece] = []
    bodies = 0
    for index, piece in enumerate(pieces):
        ends_body = piece.kind == "RBRACE" and bodies and not _inside(unit)
        if unit and (ends_body or piece.kind == END or _begins(unit, piece)):
            result.append(unit)
            unit = []
        if ends_body:
            bodies -= 1
        unit.append(piece)
        if piece.kind == "LBRACE" and _opens_body(unit):
            bodies += 1
            result.append(unit)
            unit = []
        elif ends_body and pieces[index + 1].kind != "ELSE":
            result.append(unit)
            unit = []
    return [*result, unit] if unit else result


def _begins(unit: Sequence[Piece], piece: Piece) -> bool:
    return piece.begins and not _inside(unit)


def _inside(unit: Sequence[Piece]) -> bool:
    """Whether a bracket of the statement is open, braces of `repeat` included."""
    found = roles(unit)
    return len(found.brackets) > len(found.closes)


def _opens_body(unit: Sequence[Piece]) -> bool:
    return roles(unit).brackets[len(unit) - 1] is Bracket.BODY


def _take_comments(statement: Statement, first: Piece, column: int) -> None:
    """The comments above a statement; empty lines between them stay, one at a time."""
    for place, comment in enumerate(first.above):
        if place and comment.blank:
            statement.comments.append("")
        statement.comments.append(" " * column + comment.text)
    statement.gap = int(first.blank and bool(first.above) and first.kind not in ("RBRACE", END))


def _set_blank(statement: Statement, before: Sequence[Statement], first: Piece) -> None:
    """One empty line around blocks and nets, none at the edges of a body, else as written."""
    if not before:
        return
    last = before[-1].pieces
    after_open = bool(last) and last[-1].kind == "LBRACE"
    asked = first.above[0].blank if first.above else first.blank
    if statement.indent == 0 and first.kind not in ("RBRACE", END) and _apart(before, first):
        statement.blank = 1
    elif after_open or (first.kind == "RBRACE" and not first.above):
        statement.blank = 0
    else:
        statement.blank = int(asked)


def _apart(before: Sequence[Statement], first: Piece) -> bool:
    """Whether an item of the file stands apart from the one before it."""
    return first.kind in DEFINITIONS or before[-1].pieces[0].kind in ("SEG", "RBRACE")
