"""The table of `segdsl rf`, for a person: one line per stage, two where rows and columns differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

from segdsl.analysis.reach.findings import CODES
from segdsl.analysis.reach.support import Range
from segdsl.analysis.reach.tables import AxisReach, FullReach
from segdsl.analysis.sizes import SizeSet
from segdsl.ir import Const
from segdsl.reach_report.rows import AxisRow, Box, PixelRow, ReachReport, StageRow, Warned

_HEAD = ("stage", "op", "size", "jump", "RF", "centre", "density", "tags")
_NONE = "-"
_NAMES = 4


def as_text(report: ReachReport) -> str:
    """A report as the lines of a table, the accepted sizes, notes and warnings below it."""
    lines = [_title(report), *table(_cells(report)), *_accepts(report)]
    for row in report.stages:
        if row.pixel is not None:
            lines += _pixel(report, row.name, row.pixel)
    return "\n".join([*lines, *_notes(report), *_warnings(report)])


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells in columns, the first row set off as the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    rule = "─" * max(map(len, lines))
    return [rule, lines[0], rule, *lines[1:], rule]


def _title(report: ReachReport) -> str:
    settings = ", ".join(f"{name}={_setting(value)}" for name, value in report.settings.items())
    size = f" at {report.size[0]}x{report.size[1]}" if report.size else ""
    file = f"  {report.file}" if report.file else ""
    return f"{report.net}({settings}), receptive fields in `{report.input}`{size}{file}"


def _setting(value: Const) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_setting, value)) + "]"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _cells(report: ReachReport) -> list[tuple[str, ...]]:
    exact = report.size is not None
    rows: list[tuple[str, ...]] = [(*_HEAD, "interior") if exact else _HEAD]
    for stage in report.stages:
        rows += _lines(stage, exact=exact)
    return rows


def _lines(stage: StageRow, *, exact: bool) -> Iterable[tuple[str, ...]]:
    h, w = stage.axes
    if alike(h, w):
        yield (stage.name, stage.op, *_figures(_both(h, w), h), *_inner((h, w), exact))
        return
    for mark, row in (("h: ", h), ("w: ", w)):
        size = row.size if row.size_at is None else str(row.size_at)
        cells = (*_figures(mark + size, row), *_inner((row,), exact))
        yield (stage.name, stage.op, *cells) if row is h else ("", "", *cells)


def alike(h: AxisRow, w: AxisRow) -> bool:
    """Whether one line says it all: equal fields, and sizes that differ in their symbol only."""
    same = h.size_at is not None or h.size == w.size or h.size.replace("H", "W") == w.size
    return same and _any_symbol(h.reach) == _any_symbol(w.reach)


def _any_symbol(found: AxisReach) -> AxisReach:
    """The figures without the symbol in which their size class is told."""
    return replace(found, assumes=_class(found))


def _class(found: AxisReach) -> str | None:
    return None if found.assumes is None else found.assumes.partition(" ")[2]


def _both(h: AxisRow, w: AxisRow) -> str:
    if h.size_at is None:
        return h.size
    return f"{h.size_at}x{w.size_at}"


def _figures(size: str, row: AxisRow) -> tuple[str, ...]:
    found = row.reach
    return (
        size,
        _fraction(found.jump),
        field_text(found),
        _centre(found),
        _fraction(found.density),
        tags_text(row),
    )


def _inner(rows: Sequence[AxisRow], exact: bool) -> tuple[str, ...]:
    """First and last output with the periodic field, per axis where they differ."""
    if not exact:
        return ()
    ranges = dict.fromkeys(_NONE if r.interior is None else span_text(r.interior) for r in rows)
    return (" x ".join(ranges),)


def span_text(span: Range) -> str:
    """A range of pixels, both ends included."""
    return f"{span[0]}..{span[1]}"


def field_text(found: AxisReach) -> str:
    """`140`, `188..204 (period 16)`; a dash where there is no number."""
    if found.rf_min is None or found.rf_max is None:
        return _NONE
    sizes = str(found.rf_min)
    sizes += f"..{found.rf_max}" if found.rf_max != found.rf_min else ""
    return sizes + (f" (period {found.period})" if (found.period or 1) > 1 else "")


def _centre(found: AxisReach) -> str:
    """The centre offset; where paths disagree, from which to which."""
    text = _NONE if found.centre_offset is None else _signed(found.centre_offset)
    if found.path_offsets is None or found.path_offsets[0] == found.path_offsets[1]:
        return text
    low, high = map(_signed, found.path_offsets)
    return f"{text} ({low}..{high})"


def _signed(value: Fraction) -> str:
    return f"+{value}" if value > 0 else str(value)


def _fraction(value: Fraction | None) -> str:
    return _NONE if value is None else str(value)


def tags_text(row: AxisRow) -> str:
    """`local`, `local; global via se (gate)`, `global via stat`."""
    found = row.reach
    if found.tags == ("local",):
        return "local" if row.has_local else _NONE
    gates = f"{', '.join(found.gates)} (gate)" if found.gates else "gate"
    via = f" via {' and '.join(gates if kind == 'gate' else kind for kind in found.via)}"
    match found.full:
        case None:
            wide = f"the same{via}"
        case FullReach(rf_min=int(low), rf_max=int(high)):
            wide = f"{low}{f'..{high}' if high != low else ''}{via}"
        case FullReach():
            wide = f"no period{via}"
        case _:
            wide = f"{found.full}{via}"
    return f"local; {wide}" if row.has_local else wide


def _accepts(report: ReachReport) -> Iterable[str]:
    yield f"accepts {'; '.join(_axes(report.accepts, report))}"
    if any(report.strict):
        yield f"drops no pixel at {'; '.join(_axes(report.strict, report))}"


def _axes(sets: Sequence[SizeSet | None], report: ReachReport) -> Iterable[str]:
    """Each set once; a fixed size by its number."""
    words = []
    for name, known, declared in zip("HW", sets, report.symbols, strict=True):
        if known is not None:
            words.append(str(known))
        elif isinstance(declared, int):
            words.append(f"{name} = {declared}")
    return dict.fromkeys(words)


def _pixel(report: ReachReport, name: str, found: PixelRow) -> Iterable[str]:
    head = f"pixel {found.at[0]},{found.at[1]} of `{name}` reads"
    if found.full is None:
        yield f"{head} no pixel of `{report.input}`"
    elif found.local == found.full:
        yield f"{head} {_box(found.full)}"
    else:
        yield f"{head} {_box(found.local) if found.local else 'nothing locally'}"
        yield f"  and along all edges {_box(found.full)}"


def _box(box: Box) -> str:
    height, width = (last - first + 1 for first, last in (box.rows, box.cols))
    text = f"rows {span_text(box.rows)}, columns {span_text(box.cols)}: {height}x{width}"
    holes = height * width - box.support
    return text + (f", {box.support:,} pixels of it ({holes:,} are left out)" if holes else "")


def _notes(report: ReachReport) -> Iterable[str]:
    """Why there are no figures, and for which sizes they hold, with the stages that it is about."""
    reasons: dict[str, list[str]] = {}
    for row in report.stages:
        figures = [axis.reach for axis in row.axes]
        for reason in dict.fromkeys(axis.reach.reason for axis in row.axes if axis.has_local):
            if reason:
                reasons.setdefault(f"no period: {reason}", []).append(row.name)
        classes = list(dict.fromkeys(f.assumes for f in figures if f.assumes))
        if classes and report.size is None:
            text = f"for {', '.join(classes)}; `--size` chooses another class"
            reasons.setdefault(text, []).append(row.name)
    for text, names in reasons.items():
        yield f"note: {_some(names)}: {text}"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMES
    shown = ", ".join(f"`{name}`" for name in names[:_NAMES])
    return shown + (f" and {rest} more" if rest > 0 else "")


def _warnings(report: ReachReport) -> Iterable[str]:
    """One line each; what is said of both axes is said once."""
    told: dict[tuple[str, str, str], list[Warned]] = {}
    for warned in report.warnings:
        told.setdefault((warned.kind, warned.stage, _of_height(warned.message)), []).append(warned)
    for (kind, stage, _), group in told.items():
        line = group[0].line
        place = f" (line {line})" if line is not None else ""
        both = "; the same along the other axis" if len(group) > 1 else ""
        yield f"warning[{CODES[kind]}]: {kind} at `{stage}`{place}: {group[0].message}{both}"


def _of_height(message: str) -> str:
    return re.sub(r"\bwidth\b", "height", re.sub(r"\bW\b", "H", message))
