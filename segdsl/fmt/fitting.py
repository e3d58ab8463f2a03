"""Statements that fit: long lines are broken, paths of a run of stages aligned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from segdsl.fmt.lines import Line, write
from segdsl.fmt.pieces import Piece
from segdsl.fmt.roles import Bracket, Roles, gap, roles, separates
from segdsl.parsing.tokens import CLOSERS

WIDTH = 100
"""Columns of a line."""

REACH = 20
"""Spaces that alignment may put before a path."""

LATE = 60
"""A pipeline whose first `->` is farther right is not broken there, but inside its first value."""


def fit(pieces: Sequence[Piece], indent: int) -> list[str]:
    """The lines of one statement, at most WIDTH wide wherever a break can make them so."""
    pieces = _commas(pieces)
    found = roles(pieces)
    forced: frozenset[int] = frozenset()
    lines = write(pieces, found, indent)
    while True:
        more = _breaks(pieces, found, lines, forced)
        if not more:
            break
        forced |= more
        hanging = _commas(pieces, forced)
        if len(hanging) != len(pieces):
            return fit(_marked(pieces, forced), indent)
        lines = write(pieces, found, indent, forced)
    pads = _pads(pieces, found, lines)
    padded = write(pieces, found, indent, forced, pads)
    return [line.text for line in padded]


def _marked(pieces: Sequence[Piece], forced: frozenset[int]) -> list[Piece]:
    """The pieces as if their writer had broken the lines where they must break."""
    return [replace(p, broke=True) if i in forced else p for i, p in enumerate(pieces)]


def _commas(pieces: Sequence[Piece], forced: frozenset[int] = frozenset()) -> list[Piece]:
    """A comma behind the last element where the elements have lines of their own; else none."""
    found = roles(pieces)
    result: list[Piece] = []
    for index, piece in enumerate(pieces):
        opener = found.closes.get(index)
        if opener is not None and index > opener + 1:
            bracket = found.brackets[opener]
            last = result[-1]
            hangs = _hangs(pieces, opener, forced)
            if hangs and bracket.takes_comma and last.kind != "COMMA":
                result[-1] = replace(last, beside="")
                result.append(Piece("COMMA", ",", beside=last.beside))
            elif last.kind == "COMMA" and not (hangs or last.above or last.beside or piece.above):
                result.pop()
        result.append(piece)
    return result


def _hangs(pieces: Sequence[Piece], opener: int, forced: frozenset[int]) -> bool:
    first = pieces[opener + 1]
    return first.broke or bool(first.above) or opener + 1 in forced


def _breaks(
    pieces: Sequence[Piece], found: Roles, lines: Sequence[Line], forced: frozenset[int]
) -> frozenset[int]:
    """Where to break the first line that is too long and can be broken."""
    for line in lines:
        if line.first < 0 or _own_width(pieces, line) <= WIDTH:
            continue
        for choice in _choices(pieces, found, line):
            new = frozenset(choice) - forced
            if new:
                return new
    return frozenset()


def _own_width(pieces: Sequence[Piece], line: Line) -> int:
    """The width of a line without the comment at its end, which no break can shorten."""
    last = max(line.columns)
    return line.columns[last] + len(pieces[last].text)


def _choices(pieces: Sequence[Piece], found: Roles, line: Line) -> Iterator[set[int]]:
    """Ways to break a line, best first: a head, its pipeline, its outermost list, its `=`."""
    indices = sorted(line.columns)[1:]
    depths = _depths(found, sorted(line.columns))
    if pieces[0].kind in ("BLOCK", "NET"):
        yield {i for i in indices if depths[i] == 0 and pieces[i].kind in ("ARROW", "WHERE")}
    else:
        yield {i for i in indices if depths[i] == 0 and pieces[i].kind == "WHERE"}
    commas = {i for i in indices if depths[i] == 0 and separates(pieces, found, i - 1)}
    if line.depth or pieces[line.first].kind == "WHERE":
        yield commas
    for depth in sorted({depths[i] for i in indices}):
        arrows = {i for i in indices if depths[i] == depth and pieces[i].kind == "ARROW"}
        ways = [arrows, *_lists(pieces, found, indices, depths, depth)]
        yield {i for i in indices if depths[i] == depth and pieces[i].kind == "ELSE"}
        late = bool(arrows) and line.columns[min(arrows)] > LATE
        yield from ways[1:] + ways[:1] if late else ways
        if depth == 0:
            yield {i for i in indices if depths[i] == 0 and pieces[i - 1].kind == "ASSIGN"}
        yield {i for i in indices if depths[i] == depth and pieces[i - 1].kind in ("AND", "OR")}


def _lists(
    pieces: Sequence[Piece],
    found: Roles,
    indices: Sequence[int],
    depths: dict[int, int],
    depth: int,
) -> Iterator[set[int]]:
    """The elements of the lists and calls that open at a depth, longest first, one to a line."""
    spans = {opener: close for close, opener in found.closes.items()}
    within = set(indices)
    open_here = [
        i
        for i in indices
        if i in found.brackets
        and depths[i] == depth
        and found.brackets[i] not in (Bracket.GROUP, Bracket.INDEX, Bracket.BODY, Bracket.SHAPE)
        and spans.get(i, i) > i + 1
        and spans[i] in within
    ]
    for opener in sorted(open_here, key=lambda i: i - spans[i]):
        if found.closes.get(spans[opener] - 1) == opener + 1:  # `concat([…])`: the inner one
            opener, depth_inside = opener + 1, depth + 2
        else:
            depth_inside = depth + 1
        inside = range(opener + 2, spans[opener])
        first = opener + 1
        yield {first} | {
            i for i in inside if separates(pieces, found, i - 1) and depths.get(i) == depth_inside
        }


def _depths(found: Roles, indices: Sequence[int]) -> dict[int, int]:
    """How many brackets of the line are open at each of its pieces."""
    result: dict[int, int] = {}
    depth = 0
    for index in indices:
        if index in found.closes:
            depth -= 1
        result[index] = depth
        if index in found.brackets:
            depth += 1
    return result


def _pads(pieces: Sequence[Piece], found: Roles, lines: Sequence[Line]) -> dict[int, int]:
    """Spaces that bring the paths of consecutive stages into one column."""
    pads: dict[int, int] = {}
    for run in _runs(pieces, lines):
        column = max(line.columns[path] for line, path in run)
        spread = {path: column - line.columns[path] for line, path in run}
        if len(run) > 1 and all(line.width + spread[p] <= WIDTH for line, p in run):
            pads |= {
                path: len(gap(pieces, found, path)) + extra
                for path, extra in spread.items()
                if extra
            }
    return pads


def _runs(pieces: Sequence[Piece], lines: Sequence[Line]) -> Iterator[list[tuple[Line, int]]]:
    """Lines in a row whose first stage has a path, with columns at most REACH apart."""
    run: list[tuple[Line, int]] = []
    arrows = -1
    for line in lines:
        path, arrow = _first_path(pieces, line)
        columns = [known.columns[at] for known, at in run]
        if path is None or not run or arrow != arrows or not _near(columns, line.columns[path]):
            if run:
                yield run
            run = []
        if path is not None:
            run.append((line, path))
            arrows = arrow
    if run:
        yield run


def _near(columns: Sequence[int], column: int) -> bool:
    return max(*columns, column) - min(*columns, column) <= REACH


def _first_path(pieces: Sequence[Piece], line: Line) -> tuple[int | None, int]:
    """The path of the first stage of a line, and the column of the `->` before that stage."""
    depth, arrow = 0, -1
    for index in sorted(line.columns):
        kind = pieces[index].kind
        if kind in CLOSERS:
            depth -= 1
        if depth == 0 and kind == "ARROW":
            if arrow >= 0:
                return None, -1
            arrow = line.columns[index]
        if depth == 0 and kind == "PATH" and arrow >= 0:
            return index, arrow
        if kind in CLOSERS.values():
            depth += 1
    return None, -1
