"""Drawing diagnostics for people: messages, source lines with carets, notes, helps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from segdsl.diagnostics import Diagnostic, Frame, Label, Severity
from segdsl.display import clean
from segdsl.limits import Limits
from segdsl.snippet import Mark, Row, draw_line, marks_of
from segdsl.source import Source, Span

SHOWN = Limits.shown_diagnostics
"""Diagnostics that are drawn; the rest is counted."""

SNIPPETS = 3
"""Places in the text that one message shows; further labels become notes."""

_FRAMES = 6
_NARROWEST = 40

_COLOURS = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "strong": "\x1b[1m",
    "gutter": "\x1b[1;34m",
    "secondary": "\x1b[1;34m",
    "help": "\x1b[1;36m",
}
_PLAIN = "\x1b[0m"


def render(
    diagnostics: Iterable[Diagnostic],
    *,
    color: bool = False,
    ascii: bool = False,
    width: int = 100,
    changed: bool = False,
) -> str:
    """Everything that was found, as a person reads it in a terminal; "" for nothing.

    Sorted by file and place, without duplicates, at most `SHOWN` of them, then a line that counts.
    Source lines are cut to `width` columns; `ascii` is for terminals that cannot show more.
    Whatever the source holds, the result cannot move the cursor. Ends without a newline.
    """
    found = arrange(diagnostics)
    if not found:
        return ""
    pen = _Pen(color, ascii, max(width, _NARROWEST))
    drawn = _most_important(found)
    blocks = ["\n".join(_Message(d, pen).lines()) for d in drawn]
    if len(found) > len(drawn):
        blocks.append(pen.clean(f"… and {len(found) - len(drawn)} more"))
    blocks.append(pen.clean(tally(found, changed=changed)))
    return "\n\n".join(blocks)


def arrange(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The diagnostics by file, offset and code; those with equal place and sentence once."""
    unique = {_identity(d): d for d in reversed(list(diagnostics))}
    return tuple(unique[key] for key in sorted(unique))


def _identity(diagnostic: Diagnostic) -> tuple[str, int, str, int, str, str]:
    span = diagnostic.span
    name, start, end = (span.source.name, span.start, span.end) if span else ("", -1, -1)
    return name, start, diagnostic.code, end, diagnostic.severity, diagnostic.message


def _most_important(found: Sequence[Diagnostic]) -> Sequence[Diagnostic]:
    """The first `SHOWN`, in order; warnings give way to errors."""
    if len(found) <= SHOWN:
        return found
    order = sorted(range(len(found)), key=lambda i: found[i].severity is not Severity.ERROR)
    return [found[i] for i in sorted(order[:SHOWN])]


def tally(diagnostics: Sequence[Diagnostic], *, changed: bool = False) -> str:
    """The last line: `2 errors, 1 warning in specs/unet.seg; nothing was written`.

    The end is left out where the command did change a file.
    """
    errors = sum(d.severity is Severity.ERROR for d in diagnostics)
    warnings = len(diagnostics) - errors
    counts = [_count(errors, "error")] if errors else []
    counts += [_count(warnings, "warning")] if warnings else []
    files = sorted({d.span.source.name for d in diagnostics if d.span is not None})
    place = f" in {files[0]}" if len(files) == 1 else f" in {len(files)} files" if files else ""
    return ", ".join(counts) + place + ("; nothing was written" if errors and not changed else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class _Pen:
    """How to put text on this terminal."""

    color: bool
    ascii: bool
    width: int

    def clean(self, text: str) -> str:
        return clean(text, ascii=self.ascii)

    def paint(self, text: str, style: str) -> str:
        return f"{_COLOURS[style]}{text}{_PLAIN}" if self.color and style and text else text


@dataclass
class _Group:
    """The marked lines of one source in one message; `place` is what the arrow line names."""

    place: Span
    lines: dict[int, list[Mark]]


class _Message:
    """The drawing of one diagnostic."""

    def __init__(self, diagnostic: Diagnostic, pen: _Pen) -> None:
        self.diagnostic = diagnostic
        self.pen = pen
        self.rest: list[Label] = []
        self.groups = self._grouped()
        numbers = [n for group in self.groups for n in group.lines]
        self.gutter = len(str(max(numbers, default=0))) if numbers else 0

    def lines(self) -> Iterator[str]:
        yield self._title()
        for index, group in enumerate(self.groups):
            yield from self._group(group, first=index == 0)
        yield from self._remarks()

    def _title(self) -> str:
        d, pen = self.diagnostic, self.pen
        head = f"{d.severity.value}[{d.code}]" if d.code else d.severity.value
        first, *more = d.message.split("\n")
        title = pen.paint(pen.clean(head), d.severity.value)
        title += pen.paint(f": {pen.clean(first)}", "strong")
        return "\n".join([title, *map(pen.clean, more)])

    def _grouped(self) -> list[_Group]:
        """The marks by source and line, the primary's first; labels beyond the cap: `rest`."""
        span = self.diagnostic.span
        if span is None:
            self.rest = list(self.diagnostic.labels)
            return []
        groups: dict[Source, _Group] = {}
        places = set[tuple[Source, int]]()
        labels = [Label(span, self.diagnostic.caption), *self.diagnostic.labels]
        for index, label in enumerate(labels):
            source = label.span.source
            marks = marks_of(label.span, self.pen.clean(label.text), index == 0)
            place = (source, marks[-1][0])
            if place not in places and len(places) == SNIPPETS:
                self.rest.append(label)
                continue
            places.add(place)
            group = groups.setdefault(source, _Group(label.span, {}))
            for line, mark in marks:
                group.lines.setdefault(line, []).append(mark)
        return list(groups.values())

    def _group(self, group: _Group, *, first: bool) -> Iterator[str]:
        arrow = "-->" if first else ":::"
        place = self.pen.clean(where(group.place))
        yield f"{' ' * self.gutter}{self.pen.paint(arrow, 'gutter')} {place}"
        yield self._margin("")
        before = 0
        for number in sorted(group.lines):
            if before and number > before + 1:
                yield self.pen.paint("...", "gutter")
            before = number
            yield from self._line(group.place.source, number, group.lines[number])

    def _line(self, source: Source, number: int, marks: Sequence[Mark]) -> Iterator[str]:
        room = self.pen.width - self.gutter - 3
        rows, cut = draw_line(source.line(number), marks, room=room, ascii=self.pen.ascii)
        for index, row in enumerate(rows):
            yield self._margin(str(number) if index == 0 else "", self._painted(row))
        for mark in cut:
            place = source.line_starts[number - 1] + mark.start
            self.rest.append(Label(Span(source, place, place), mark.text))

    def _margin(self, number: str, text: str = "") -> str:
        bar = self.pen.paint(f"{number:>{self.gutter}} |", "gutter")
        return f"{bar} {text}" if text else bar

    def _painted(self, row: Row) -> str:
        primary = self.diagnostic.severity.value
        styles = {"": "", "primary": primary, "secondary": "secondary"}
        return "".join(self.pen.paint(p.text, styles[p.style]) for p in row).rstrip()

    def _remarks(self) -> Iterator[str]:
        for label in self.rest:
            if label.text:
                yield from self._remark("note", f"{label.text} ({where(label.span)})")
        for note in self.diagnostic.notes:
            yield from self._remark("note", note)
        for text in _frames(self.diagnostic.stack):
            yield from self._remark("note", text)
        for help in self.diagnostic.helps:
            yield from self._remark("help", help.text)
        if self.diagnostic.code:
            yield from self._remark("explain", f"segdsl explain {self.diagnostic.code}")

    def _remark(self, kind: str, text: str) -> Iterator[str]:
        style = "help" if kind == "help" else "strong"
        first, *more = text.split("\n")
        indent = " " * (self.gutter + 1)
        sign = self.pen.paint("=", "gutter")
        yield f"{indent}{sign} {self.pen.paint(kind, style)}: {self.pen.clean(first)}"
        for line in more:
            yield f"{indent}  {' ' * len(kind)}  {self.pen.clean(line)}".rstrip()


def where(span: Span) -> str:
    """`specs/unet.seg:11:7`; offsets outside the source count as its nearest end."""
    line, column = span.source.position(min(max(span.start, 0), len(span.source.text)))
    return f"{span.source.name}:{line}:{column}"


def _frames(stack: Sequence[Frame]) -> list[str]:
    """The block instances around the mistake, innermost first; a deep stack is shortened."""
    texts = [_frame(frame) for frame in reversed(stack)]
    if len(texts) <= _FRAMES:
        return texts
    half = _FRAMES // 2
    return [*texts[:half], f"… {len(texts) - 2 * half} more blocks …", *texts[-half:]]


def _frame(frame: Frame) -> str:
    place = where(frame.span).rpartition(":")[0]
    values = f" with {frame.values}" if frame.values else ""
    return f"in `{frame.name}`, called from {place}{values}"
