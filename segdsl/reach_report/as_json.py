"""The JSON of `segdsl rf --json`, version 1.

Keys are always present and in one order; null means that a figure does not apply. Fractions are
strings in lowest terms, all other numbers are whole. Within a version keys are only added.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction

from segdsl.analysis.reach.tables import AxisReach, FullReach
from segdsl.analysis.sizes import SizeSet
from segdsl.reach_report.rows import AxisRow, Box, PixelRow, ReachReport, StageRow, Warned
from segdsl.symbolic import Size

FORMAT = "segdsl.rf"
VERSION = 1

Json = dict[str, object]


def as_json(report: ReachReport) -> Json:
    """A report as plain data for `json.dumps`."""
    size = None if report.size is None else {"h": report.size[0], "w": report.size[1]}
    accepts = [
        accepted_sizes(declared, known, strict)
        for declared, known, strict in zip(
            report.symbols, report.accepts, report.strict, strict=True
        )
    ]
    return {
        "format": FORMAT,
        "version": VERSION,
        "file": report.file,
        "net": report.net,
        "input": report.input,
        "params": dict(report.settings),
        "size": size,
        # Sizes that depend on each other are refused before there is a report.
        "accepts": {"h": accepts[0], "w": accepts[1], "joint": None},
        "stages": [_stage(row) for row in report.stages],
        "warnings": [_warning(warned) for warned in report.warnings],
    }


def dumps(data: Json) -> str:
    """JSON text: a key per line, and a line for each element of a list of objects."""
    lines = [f"  {json.dumps(key)}: {_value(value)}" for key, value in data.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _value(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"    {json.dumps(item)}" for item in value) + "\n  ]"
    return json.dumps(value)


def accepted_sizes(declared: Size, known: SizeSet | None, strict: SizeSet | None) -> Json:
    """Accepted are `n >= minimum` with `n % modulus` in `residues`, and those of `extra`.

    `strict` says the same of the sizes that lose no pixel, where they differ.
    """
    if known is None:
        assert isinstance(declared, int), "sizes with a symbol have been solved"
        fixed: Json = {"modulus": 1, "residues": [], "minimum": None, "extra": [declared]}
        return {"symbol": None, **fixed, "strict": None}
    narrower = None if strict is None else _regular(strict)
    return {"symbol": known.symbol, **_regular(known), "strict": narrower}


def _regular(known: SizeSet) -> Json:
    residues = known.residues
    start = known.settled
    while start > 1 and _agrees(known, residues, start - 1):
        start -= 1
    minimum = known.at_least(start) if residues else None
    below = start if residues else known.settled + 1
    return {
        "modulus": known.modulus,
        "residues": list(residues),
        "minimum": minimum,
        "extra": [n for n in range(1, below) if n in known],
    }


def _agrees(known: SizeSet, residues: Sequence[int], n: int) -> bool:
    """Whether the residue alone decides at `n`, as it does for all larger sizes."""
    return (n in known) == (n % known.modulus in residues)


def _stage(row: StageRow) -> Json:
    return {
        "name": row.name,
        "op": row.op,
        "scope": list(row.scope),
        "line": row.line,
        "product": row.product,
        "axes": {"h": _axis(row.axes[0]), "w": _axis(row.axes[1])},
        "pixel": None if row.pixel is None else _pixel(row.pixel),
    }


def _axis(row: AxisRow) -> Json:
    found = row.reach
    offsets = found.path_offsets
    return {
        "size": row.size,
        "size_at": row.size_at,
        "jump": _fraction(found.jump),
        "rf_min": found.rf_min,
        "rf_max": found.rf_max,
        "period": found.period,
        "shift": found.shift,
        "by_phase": _phases(found.by_phase),
        "centre_offset": _fraction(found.centre_offset),
        "path_offsets": None if offsets is None else [_fraction(b) for b in offsets],
        "density": _fraction(found.density),
        "tags": list(found.tags),
        "full": _full(found),
        "assumes": found.assumes,
        "reason": found.reason,
        "interior": None if row.interior is None else list(row.interior),
        "unused": None if row.unused is None else [list(pixels) for pixels in row.unused],
    }


def _full(found: AxisReach) -> object:
    if not isinstance(found.full, FullReach):
        return found.full
    full = found.full
    return {"rf_min": full.rf_min, "rf_max": full.rf_max, "by_phase": _phases(full.by_phase)}


def _phases(spans: Sequence[tuple[int, int] | None] | None) -> object:
    if spans is None:
        return None
    return [None if span is None else list(span) for span in spans]


def _pixel(row: PixelRow) -> Json:
    """The local set as the fields of the axes are local; `full` is null where it is the same."""
    return {
        "at": list(row.at),
        **_box(row.local),
        "full": None if row.full == row.local else _box(row.full),
    }


def _box(box: Box | None) -> Json:
    if box is None:
        return {"rows": None, "cols": None, "support": 0}
    return {"rows": list(box.rows), "cols": list(box.cols), "support": box.support}


def _warning(warned: Warned) -> Json:
    return {
        "kind": warned.kind,
        "stage": warned.stage,
        "message": warned.message,
        "line": warned.line,
    }


def _fraction(value: Fraction | None) -> str | None:
    return None if value is None else str(value)
