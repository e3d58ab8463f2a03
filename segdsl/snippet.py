"""Drawing source lines with carets: one line of the file, marks under it, one row per text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from segdsl.display import is_plain, shown, width
from segdsl.source import Source, Span


@dataclass(frozen=True)
class Mark:
    """What to draw under a line: code-point columns from 0, `end` exclusive; "" is no text."""

    start: int
    end: int
    text: str
    primary: bool


@dataclass(frozen=True)
class Piece:
    """A run of characters in one style: "" (plain), "primary", "secondary"."""

    text: str
    style: str = ""


Row = tuple[Piece, ...]
"""One line of the drawing, without the gutter."""


def marks_of(span: Span, text: str, primary: bool) -> list[tuple[int, Mark]]:
    """The marks of a span by 1-based line: one, or the first and the last line of a longer span.

    Offsets outside the source are moved to its nearest end: drawing must not fail on a wrong span.
    """
    source = span.source
    start = min(max(span.start, 0), len(source.text))
    end = min(max(span.end, start), len(source.text))
    first, column = source.position(start)
    last = source.position(max(end - 1, start))[0]
    stop = end - source.line_starts[last - 1]
    if first == last:
        return [(first, _clamped(source, first, column - 1, stop, text, primary))]
    tail = source.line(last)
    indent = len(tail) - len(tail.lstrip())
    head = source.line(first)
    return [
        (first, _clamped(source, first, column - 1, len(head), "", primary)),
        (last, _clamped(source, last, min(indent, stop - 1), stop, text, primary)),
    ]


def _clamped(source: Source, line: int, start: int, stop: int, text: str, primary: bool) -> Mark:
    length = len(source.line(line))
    start = min(start, length)
    return Mark(start, max(min(stop, length), start), text, primary)


@dataclass(frozen=True)
class _Cell:
    """A mark in terminal columns of the drawn line."""

    start: int
    end: int
    text: str
    primary: bool


def draw_line(
    text: str, marks: Sequence[Mark], *, room: int, ascii: bool
) -> tuple[list[Row], list[Mark]]:
    """Draw one source line and what is marked in it, in at most `room` columns of source text.

    Answers the rows (the line, the row of carets, the rows of texts) and the marks that had to
    be left out because the line was cut before they began.
    """
    glyphs = list(text) if is_plain(text) else [shown(char, ascii=ascii) for char in text]
    columns = [0, *accumulate(map(width, glyphs))]
    low, high = _cut(columns, marks, room)
    dots = "..." if ascii else "…"
    before = dots if low else ""
    after = dots if high < len(glyphs) else ""
    line = before + "".join(glyphs[low:high]) + after
    kept = [m for m in marks if low <= m.start <= high]
    shift = len(before) - columns[low]
    cells = [_cell(m, columns, high, shift) for m in kept]
    rows: list[Row] = [(Piece(line),), *_caret_rows(cells, room)]
    return rows, [m for m in marks if m not in kept]


def _cell(mark: Mark, columns: Sequence[int], high: int, shift: int) -> _Cell:
    start = columns[mark.start] + shift
    end = columns[min(mark.end, high)] + shift
    return _Cell(start, max(end, start + 1), mark.text, mark.primary)


def _cut(columns: Sequence[int], marks: Sequence[Mark], room: int) -> tuple[int, int]:
    """The code points to show: the whole line, or what fits in `room` around the primary mark.

    Room for three dots on either side is kept back. Other marks are taken in while they fit.
    """
    length = len(columns) - 1
    if columns[-1] <= room:
        return 0, length
    room -= 6
    left, right = _together(columns, marks, room)
    spare = max(room - (columns[right] - columns[left]), 0)
    low, high = left, left
    while low > 0 and columns[left] - columns[low - 1] <= spare // 2:
        low -= 1
    while high < length and columns[high + 1] - columns[low] <= room:
        high += 1
    while low > 0 and columns[high] - columns[low - 1] <= room:
        low -= 1
    return low, high


def _together(columns: Sequence[int], marks: Sequence[Mark], room: int) -> tuple[int, int]:
    anchor = next((m for m in marks if m.primary), marks[0])
    left, right = anchor.start, anchor.end
    for mark in marks:
        wider = min(left, mark.start), max(right, mark.end)
        if columns[wider[1]] - columns[wider[0]] <= room:
            left, right = wider
    return left, right


def _caret_rows(cells: Sequence[_Cell], room: int) -> list[Row]:
    """The underlines, the rightmost text beside them if there is room, the others below."""
    ordered = sorted(cells, key=lambda c: (c.start, c.end))
    texts = [c for c in ordered if c.text]
    underline = _underline(ordered)
    beside = _beside(ordered, room)
    if beside is not None:
        texts.remove(beside)
        underline = (*underline, Piece(" " + beside.text, _style(beside)))
    return [underline, *_hanging(texts)] if ordered else []


def _beside(ordered: Sequence[_Cell], room: int) -> _Cell | None:
    if not ordered:
        return None
    last = ordered[-1]
    reach = max(c.end for c in ordered)
    alone = sum(c.start == last.start for c in ordered) == 1
    fits = last.end + 1 + width(last.text) <= max(room, 60) or len(ordered) == 1
    return last if last.text and last.end == reach and alone and fits else None


Canvas = dict[int, tuple[str, str]]
"""A row under construction: column -> character and style."""


def _underline(ordered: Sequence[_Cell]) -> Row:
    """Secondary marks first, primary ones over them."""
    canvas: Canvas = {}
    for cell in sorted(ordered, key=lambda c: c.primary):
        char = "^" if cell.primary else "-"
        canvas.update(dict.fromkeys(range(cell.start, cell.end), (char, _style(cell))))
    return _row(canvas)


def _hanging(texts: Sequence[_Cell]) -> list[Row]:
    """One row of bars, then each text on its own row, rightmost first."""
    if not texts:
        return []
    rows = [_row(_bars(texts))]
    for index in range(len(texts) - 1, -1, -1):
        cell = texts[index]
        bars = _bars([c for c in texts[:index] if c.start < cell.start])
        pad = cell.start - (max(bars) + 1 if bars else 0)
        rows.append((*_row(bars), Piece(" " * pad), Piece(cell.text, _style(cell))))
    return rows


def _bars(cells: Sequence[_Cell]) -> Canvas:
    return {cell.start: ("|", _style(cell)) for cell in cells}


def _style(cell: _Cell) -> str:
    return "primary" if cell.primary else "secondary"


def _row(canvas: Canvas) -> Row:
    """The characters of `canvas` with blanks between, neighbours of one style as one piece."""
    pieces: list[Piece] = []
    at = 0
    for column in sorted(canvas):
        char, style = canvas[column]
        if column > at:
            pieces.append(Piece(" " * (column - at)))
        if pieces and column == at and pieces[-1].style == style:
            pieces[-1] = Piece(pieces[-1].text + char, style)
        else:
            pieces.append(Piece(char, style))
        at = column + 1
    return tuple(pieces)
