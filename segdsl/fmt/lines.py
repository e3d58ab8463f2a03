"""The lines of one statement: where it may break, and the column at which it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from segdsl.fmt.pieces import Piece
from segdsl.fmt.roles import Bracket, Role, Roles, gap, separates
from segdsl.parsing.tokens import CONTINUES

STEP = 2
"""Columns of one level."""

HEAD = 4
"""Columns by which the head of a block or net goes on, so that it stands apart from the body."""

_BREAKS_AFTER = CONTINUES - {"NOT", "MINUS", "IN", "IF"}


@dataclass(frozen=True)
class Line:
    """A line of output.

    Attributes:
        text: without the line end.
        first: the piece it begins with; -1 for a comment of its own.
        columns: where each piece of the line begins.
        depth: how many brackets were open where it begins.
    """

    text: str
    first: int
    columns: Mapping[int, int] = field(default_factory=dict[int, int])
    depth: int = 0

    @property
    def width(self) -> int:
        """Its length without the comment beside it."""
        return len(self.text)


@dataclass
class _Level:
    """An open bracket, or the statement itself.

    Attributes:
        inner: the column of elements on lines of their own.
        outer: the column of the closing bracket, if the elements stand on lines of their own.
        start: the column of the expression that is being written.
        arrow: the column of the first `->` of its pipeline.
    """

    bracket: Bracket | None
    inner: int
    outer: int
    start: int
    arrow: int | None = None
    hangs: bool = False
    where: int | None = None


@dataclass
class _Writer:
    pieces: Sequence[Piece]
    roles: Roles
    indent: int
    forced: frozenset[int]
    pads: Mapping[int, int]
    levels: list[_Level] = field(default_factory=list[_Level])
    lines: list[Line] = field(default_factory=list[Line])
    text: str = ""
    first: int = 0
    columns: dict[int, int] = field(default_factory=dict[int, int])
    depth: int = 0
    repeat: int = 0

    def run(self) -> list[Line]:
        """The lines, with the comments that stand between and beside them."""
        self.levels.append(_Level(None, self.indent + HEAD, self.indent, self.indent))
        self.text = " " * self.indent
        for index, piece in enumerate(self.pieces):
            if index:
                self._advance(index, piece)
            self._enter(index, piece)
            self.text += piece.text
            self._leave(index, piece)
            if piece.beside:
                self.text += f"  {piece.beside}"
        self._finish()
        return self.lines

    def _advance(self, index: int, piece: Piece) -> None:
        """Writes the line end or the space before a piece."""
        level = self.levels[-1]
        if not self._breaks(index, piece):
            pad = self.pads.get(index)
            self.text += gap(self.pieces, self.roles, index) if pad is None else " " * pad
            return
        before = self.pieces[index - 1]
        if index - 1 in self.roles.brackets:
            level.hangs = True
        column = self._column(index, piece, before, level)
        self._finish()
        for comment in piece.above:
            self.lines.append(Line(" " * column + comment.text, -1))
        self.first, self.columns, self.depth = index, {}, len(self.levels) - 1
        self.text = " " * column
        opens = index - 1 in self.roles.brackets
        if opens or before.kind in ("ASSIGN", "APPEND") or self._follows_comma(index):
            level.start = column

    def _breaks(self, index: int, piece: Piece) -> bool:
        before = self.pieces[index - 1]
        if piece.above or before.beside or index in self.forced:
            return True
        level = self.levels[-1]
        if index in self.roles.closes:
            return level.hangs
        if not piece.broke or self.pieces[0].kind == "RBRACE":  # `} else {`
            return False
        if level.bracket is not None:
            return (
                piece.kind == "ARROW"
                or (piece.kind == "ELSE" and self.roles.of[index] is Role.KEYWORD)
                or before.kind in ("AND", "OR")
                or self._follows_comma(index)
                or (index - 1 in self.roles.brackets and level.bracket is not Bracket.GROUP)
            )
        words = piece.kind in ("ELSE", "WHERE") and self.roles.of[index] is Role.KEYWORD
        return piece.kind == "ARROW" or words or before.kind in _BREAKS_AFTER

    def _follows_comma(self, index: int) -> bool:
        return separates(self.pieces, self.roles, index - 1)

    def _column(self, index: int, piece: Piece, before: Piece, level: _Level) -> int:
        """The column of a piece that begins a line."""
        head = self.pieces[0].kind in ("BLOCK", "NET")
        if index in self.roles.closes:
            return level.outer
        if level.bracket is not None:
            if self._follows_comma(index) or index - 1 in self.roles.brackets:
                return (
                    level.outer + (HEAD if self._is_head(level) else STEP)
                    if level.hangs
                    else (level.inner)
                )
            return level.arrow if piece.kind == "ARROW" and level.arrow is not None else level.start
        if piece.kind == "WHERE" or (piece.kind == "ARROW" and head):
            return self.indent + (HEAD if head else STEP)
        if level.where is not None:
            return level.where
        if before.kind in ("ASSIGN", "APPEND"):
            return self.indent + STEP
        if before.kind == "COMMA":
            return self.indent + HEAD
        return level.arrow if piece.kind == "ARROW" and level.arrow is not None else level.start

    def _is_head(self, level: _Level) -> bool:
        return level.bracket in (Bracket.PARAMS, Bracket.PORTS)

    def _enter(self, index: int, piece: Piece) -> None:
        """Notes the column of a piece that is about to be written."""
        column = len(self.text)
        self.columns[index] = column
        level = self.levels[-1]
        if index:
            self._note_start(index, column, level)
        if piece.kind == "ARROW" and level.arrow is None:
            level.arrow = column
        if self.roles.of[index] is Role.KEYWORD and piece.kind == "REPEAT":
            self.repeat = column

    def _note_start(self, index: int, column: int, level: _Level) -> None:
        """An expression begins behind a bracket, a comma, a `=` and the colon of an element."""
        before = self.pieces[index - 1]
        opens = index - 1 in self.roles.brackets
        colon = before.kind == "COLON" and level.bracket is Bracket.LIST
        if opens or colon or before.kind in ("ASSIGN", "APPEND") or self._follows_comma(index):
            level.start, level.arrow = column, None
        elif before.kind == "WHERE" and level.bracket is None:
            level.start = level.where = column

    def _leave(self, index: int, piece: Piece) -> None:
        """Opens or closes the level of a bracket that has been written."""
        if index in self.roles.closes and len(self.levels) > 1:
            self.levels.pop()
        bracket = self.roles.brackets.get(index)
        if bracket is None or bracket is Bracket.BODY:
            return
        above = self.levels[-1]
        column = len(self.text)
        outer = self.repeat if bracket is Bracket.REPEAT else above.start
        if index - 1 in self.roles.brackets and above.bracket is not None:
            outer = above.outer
        elif bracket in (Bracket.PARAMS, Bracket.PORTS):
            outer = self.indent
        self.levels.append(_Level(bracket, column, outer, column))

    def _finish(self) -> None:
        self.lines.append(Line(self.text.rstrip(), self.first, dict(self.columns), self.depth))


def write(
    pieces: Sequence[Piece],
    roles: Roles,
    indent: int,
    forced: frozenset[int] = frozenset(),
    pads: Mapping[int, int] | None = None,
) -> list[Line]:
    """The lines of a statement.

    It breaks where its writer broke it, as far as the place is a good one, and before the pieces
    in `forced`. `pads` gives the number of spaces before some pieces.
    """
    return _Writer(pieces, roles, indent, forced, pads or {}).run()
