"""What each token of a statement is there for: brackets, operators and words with two uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from segdsl.fmt.pieces import Piece
from segdsl.parsing.tokens import CLOSERS, HARD_WORDS, OPENERS, SOFT, STATEMENTS


class Role(Enum):
    """The uses that decide about the spaces around a token."""

    PLAIN = auto()
    OPERAND = auto()
    """A value may end here: what follows in brackets belongs to it."""
    KEYWORD = auto()
    TIGHT = auto()
    """No space on either side."""
    PREFIX = auto()
    """No space behind."""
    NAMES = auto()
    """A comma between the names of `for i, x in`: it separates no elements."""


class Bracket(Enum):
    """What a pair of brackets holds."""

    CALL = auto()
    PARAMS = auto()
    PORTS = auto()
    GROUP = auto()
    LIST = auto()
    SHAPE = auto()
    INDEX = auto()
    REPEAT = auto()
    BODY = auto()

    @property
    def takes_comma(self) -> bool:
        """Whether the grammar allows a comma behind the last element."""
        return self in (Bracket.CALL, Bracket.PARAMS, Bracket.PORTS, Bracket.LIST)


@dataclass(frozen=True)
class Roles:
    """The use of each piece of a statement, and the kind of each opening bracket."""

    of: tuple[Role, ...]
    brackets: dict[int, Bracket]
    closes: dict[int, int]
    """The opening bracket of each closing one."""


@dataclass
class _Walk:
    pieces: Sequence[Piece]
    roles: list[Role] = field(default_factory=list[Role])
    brackets: dict[int, Bracket] = field(default_factory=dict[int, Bracket])
    closes: dict[int, int] = field(default_factory=dict[int, int])
    open: list[int] = field(default_factory=list[int])
    repeats: list[int] = field(default_factory=list[int])
    """How many brackets were open at each `repeat` whose braces are still to come."""


_VALUES = frozenset({"NAME", "NUMBER", "STRING", "RPAR", "RSQB", "RBRACE", "PATH", "TRUE", "FALSE",
                     "NONE", "ELLIPSIS"})  # fmt: skip
_HARD = frozenset(word.upper() for word in HARD_WORDS) - {"TRUE", "FALSE", "NONE"}
_FIRST = frozenset(word.upper() for word in STATEMENTS) | {"SEG", "CONST", "BLOCK", "NET"}


def roles(pieces: Sequence[Piece]) -> Roles:
    """The roles in one statement, from its first token to its last or to the `{` of its body."""
    walk = _Walk(pieces)
    for index, piece in enumerate(pieces):
        walk.roles.append(_role(walk, index, piece))
    for index in _name_commas(pieces):
        walk.roles[index] = Role.NAMES
    for index in range(len(pieces)):
        if _is_dimension(walk, index):
            walk.roles[index] = Role.TIGHT
    return Roles(tuple(walk.roles), walk.brackets, walk.closes)


def _role(walk: _Walk, index: int, piece: Piece) -> Role:
    before = walk.roles[-1] if walk.roles else Role.KEYWORD
    kind = piece.kind
    if kind in OPENERS:
        walk.brackets[index] = _bracket(walk, index, kind)
        walk.open.append(index)
        return Role.PLAIN
    if kind in CLOSERS:
        if walk.open:
            walk.closes[index] = walk.open.pop()
        return Role.OPERAND
    if _is_keyword(walk, index, kind):
        if kind == "REPEAT":
            walk.repeats.append(len(walk.open))
        return Role.KEYWORD
    if kind in _VALUES or kind in SOFT:
        return Role.OPERAND
    inside = walk.brackets[walk.open[-1]] if walk.open else None
    if kind == "ASSIGN":
        return Role.PLAIN if inside in (None, Bracket.PARAMS) else Role.TIGHT
    if kind == "COLON":
        return Role.TIGHT if inside is Bracket.INDEX else Role.PLAIN
    if kind == "DOT":
        return Role.TIGHT
    if kind in ("MINUS", "STAR") and before is not Role.OPERAND:
        return Role.PREFIX
    return Role.PLAIN


def _is_keyword(walk: _Walk, index: int, kind: str) -> bool:
    """Whether a word is one of the language here, not a name."""
    if kind in _HARD:
        return True
    pieces = walk.pieces
    first = pieces[0].kind
    if index == 0:
        follows = pieces[1].kind if len(pieces) > 1 else ""
        return kind in _FIRST and follows not in ("ASSIGN", "APPEND", "COMMA", "DOT", "ARROW")
    if walk.open and kind != "REPEAT":
        return False
    if kind == "REPEAT":
        before = pieces[index - 1].kind
        return before == "ARROW" or walk.brackets.get(index - 1) is Bracket.REPEAT
    return (
        (kind == "WHERE" and first in ("BLOCK", "NET", "INPUT"))
        or (kind == "WITHIN" and first == "CHECK")
        or (kind == "OUTPUT" and first == "TRAIN" and index == 1)
    )


def _bracket(walk: _Walk, index: int, kind: str) -> Bracket:
    before = walk.pieces[index - 1].kind if index else ""
    follows_value = bool(walk.roles) and walk.roles[-1] is Role.OPERAND
    inside = walk.brackets[walk.open[-1]] if walk.open else None
    if kind == "LBRACE":
        if walk.repeats and walk.repeats[-1] == len(walk.open):
            walk.repeats.pop()
            return Bracket.REPEAT
        return Bracket.BODY
    if kind == "LPAR":
        if not walk.open and walk.pieces[0].kind in ("BLOCK", "NET"):
            return Bracket.PORTS if before == "ARROW" else Bracket.PARAMS
        return Bracket.CALL if follows_value else Bracket.GROUP
    if inside is Bracket.SHAPE or (_types_here(walk, inside) and _follows_colon(walk, index)):
        return Bracket.SHAPE
    return Bracket.INDEX if follows_value else Bracket.LIST


def _types_here(walk: _Walk, inside: Bracket | None) -> bool:
    return inside in (Bracket.PARAMS, Bracket.PORTS) or (inside is None)


def _follows_colon(walk: _Walk, index: int) -> bool:
    """Whether `[` stands right behind a colon, or with the name of a dtype between."""
    kinds = [piece.kind for piece in walk.pieces[max(index - 2, 0) : index]]
    return kinds[-1:] == ["COLON"] or (kinds[:1] == ["COLON"] and walk.roles[-1] is Role.OPERAND)


def _name_commas(pieces: Sequence[Piece]) -> Iterator[int]:
    counting = False
    for index, piece in enumerate(pieces):
        if piece.kind in ("FOR", "IN"):
            counting = piece.kind == "FOR"
        elif counting and piece.kind == "COMMA":
            yield index


def _is_dimension(walk: _Walk, index: int) -> bool:
    """Whether `/` or `//` stands in an element like `H/8` or `h//2`: written without spaces."""
    pieces = walk.pieces
    if pieces[index].kind != "SLASH" or not 1 < index < len(pieces) - 2:
        return False
    name, number = pieces[index - 1], pieces[index + 1]
    return (
        name.kind == "NAME"
        and len(name.text) == 1
        and number.kind == "NUMBER"
        and pieces[index - 2].kind in ("LSQB", "COMMA")
        and pieces[index + 2].kind in ("RSQB", "COMMA")
    )


def separates(pieces: Sequence[Piece], found: Roles, index: int) -> bool:
    """Whether a piece is a comma between elements."""
    return pieces[index].kind == "COMMA" and found.of[index] is not Role.NAMES


def gap(pieces: Sequence[Piece], found: Roles, index: int) -> str:
    """The space before a piece that stands on the line of the one before it."""
    before, here = pieces[index - 1], pieces[index]
    role, last = found.of[index], found.of[index - 1]
    if here.kind in ("COMMA", "RPAR", "RSQB", "COLON") or before.kind in ("LPAR", "LSQB"):
        return ""
    if Role.TIGHT in (role, last) or last is Role.PREFIX:
        return ""
    if here.kind in ("LPAR", "LSQB") and last is Role.OPERAND:
        return ""
    if here.kind == "PERCENT" and index > 1 and pieces[index - 2].kind == "WITHIN":
        return ""
    return " "
