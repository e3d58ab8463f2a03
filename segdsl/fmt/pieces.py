"""The tokens of a file, each with the comments and line ends that stand around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from segdsl.limits import Limits
from segdsl.parsing.layout import layout
from segdsl.parsing.scan import Scan, scan
from segdsl.parsing.tokens import END, NEWLINE
from segdsl.source import Source


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a line of its own; `blank` if an empty line stands before it."""

    text: str
    blank: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """A token where its writer put it.

    Attributes:
        kind: its terminal in the grammar.
        text: its characters.
        begins: whether a statement begins here.
        broke: whether it was the first of its line.
        blank: whether an empty line stood right before it.
        above: the comments on the lines between it and the token before.
        beside: the comment at the end of its line, or "".
    """

    kind: str
    text: str
    begins: bool = False
    broke: bool = False
    blank: bool = False
    above: tuple[Comment, ...] = ()
    beside: str = ""


def pieces(source: Source, limits: Limits) -> list[Piece]:
    """All tokens of a source that parses, and an end piece that holds the last comments."""
    found = scan(source, limits)
    begins = _beginnings(source, found)
    result: list[Piece] = []
    before = 1 if source.text.startswith("\ufeff") else 0
    ends = [(t.kind, t.start, t.end) for t in found.tokens if t.kind != NEWLINE]
    comments = iter(found.comments)
    comment = next(comments, None)
    for kind, start, end in [*ends, (END, len(source.text), len(source.text))]:
        gap: list[tuple[int, int]] = []
        while comment is not None and comment[0] < start:
            gap.append(comment)
            comment = next(comments, None)
        beside, above, blank = _gap(source.text, before, start, gap, first=not result)
        if beside:
            result[-1] = replace(result[-1], beside=beside)
        broke = "\n" in source.text[before:start] or not result
        text = source.text[start:end]
        result.append(Piece(kind, text, start in begins, broke, blank, above))
        before = end
    return result


def _beginnings(source: Source, found: Scan) -> set[int]:
    """Where the parser sees the first token of a line that begins a statement."""
    tokens = layout(source, found.tokens)
    after = {b.start for a, b in pairwise(tokens) if a.kind == NEWLINE}
    return after | {tokens[0].start}


def _gap(
    text: str, start: int, end: int, found: list[tuple[int, int]], first: bool
) -> tuple[str, tuple[Comment, ...], bool]:
    """What stands between two tokens: the comment beside the first, those above the second."""
    beside, above, at = "", [], start
    for place, (begin, close) in enumerate(found):
        words = text[begin:close].rstrip()
        if place == 0 and not first and "\n" not in text[start:begin]:
            beside = words
        else:
            above.append(Comment(words, _blank(text, at, begin)))
        at = close
    return beside, tuple(above), _blank(text, at, end)


def _blank(text: str, start: int, end: int) -> bool:
    return text.count("\n", start, end) > 1
