"""What a verification found: rows as data, a table for people, JSON, and diagnostics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from compiler.verify.compare import Figures, Gate
from compiler.verify.inputs import Case
from segdsl.diagnostics import Diagnostic
from segdsl.ir import Node
from segdsl.source import Span


@dataclass(frozen=True)
class Row:
    """The worst comparison of one stage or output with one target.

    Attributes:
        target: who was compared with the reference.
        kind: a stage, or an output of the network as it is shipped.
        name: of the stage or output.
        node: what makes the value, in the reference's network.
        shape: of the reference in that run.
        dtype: of the target's array, in numpy's words.
        case: the run in which it was worst.
        figures: how far it was off.
        blames_reference: the reference itself is not finite.
        found: the target's shape.
    """

    target: str
    kind: Literal["stage", "output"]
    name: str
    node: Node
    shape: tuple[int, ...]
    dtype: str
    case: Case
    figures: Figures
    blames_reference: bool
    found: tuple[int, ...]


@dataclass(frozen=True)
class Departure:
    """Where one target first leaves the reference.

    Attributes:
        row: the first stage (or output) over its limit.
        count: how many rows are.
        rows: how many there are.
        looked: whether every node of the same run was looked at too.
        node: the first node over its limit that this look found; None if it found none.
        notes: what is known about the cause.
    """

    row: Row
    count: int
    rows: int
    looked: bool = False
    node: Row | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """A verification: `passed`, and all it measured.

    Attributes:
        net: the network's name.
        file: its source.
        reference: what the others are compared with.
        gate: what was judged.
        cases: the runs.
        rows: by target, stages in the order of the network, then outputs.
        departures: one per target that departs.
        ways: by target, what ran, where that depends on the machine.
    """

    net: str
    file: str
    reference: str
    gate: Gate
    cases: tuple[Case, ...]
    rows: tuple[Row, ...]
    departures: tuple[Departure, ...]
    ways: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def passed(self) -> bool:
        """Whether every target is within its limits everywhere."""
        return not self.departures

    @property
    def unjudged(self) -> tuple[str, ...]:
        """The targets of which every output is too faint to be judged: they prove nothing."""
        outputs = [row for row in self.rows if row.kind == "output"]
        targets = dict.fromkeys(row.target for row in outputs)
        judged = {row.target for row in outputs if row.figures.verdict != "faint"}
        return tuple(target for target in targets if target not in judged)

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """An error per target that departs, at the line of its first departure (E6020, E6021)."""
        own = [d for d in self.departures if not d.row.blames_reference]
        shared = [d for d in self.departures if d.row.blames_reference]
        chosen = [d for d in self.departures if d in own or d is shared[0]]
        return tuple(_diagnostic(self, departure) for departure in chosen)

    def as_json(self) -> dict[str, object]:
        """All figures as plain data; keys stay in this order. What is not finite is null."""
        return {
            "format": "segdsl.verify",
            "version": 1,
            "net": self.net,
            "file": self.file,
            "passed": self.passed,
            "reference": self.reference,
            "gate": {"kind": self.gate.kind, "limit": self.gate.limit},
            "runs": [_case_json(case) for case in self.cases],
            "ways": dict(self.ways),
            "rows": [_row_json(row) for row in self.rows],
            "departures": [_departure_json(d) for d in self.departures],
        }

    def text(self, worst: int | None = None) -> str:
        """The table; `worst` shows as many rows of each target only, the worst first."""
        return "\n".join(_text(self, worst))

    def __str__(self) -> str:
        return self.text()


def place(node: Node) -> Span | None:
    """Where the node is written; None for graphs built by hand."""
    return node.span if node.span.source.text else None


def _diagnostic(report: Report, departure: Departure) -> Diagnostic:
    row = departure.row
    node = departure.node or row
    span = place(node.node)
    notes = [f"{_figures(row)}, at {row.case}"]
    if departure.count > 1:
        over = f"{departure.count} of {departure.rows} rows are over the limit"
        notes.append(f"{over}; this is the first")
    if departure.node is not None and departure.node.node is not row.node:
        first = departure.node
        notes.append(f"first node: {first.node.op.name} `{first.name}`, {_figures(first)}")
    elif departure.looked and departure.node is None:
        notes.append("every node by itself is within its limit: look at what a runtime fuses")
    who = f"`{row.target}`"
    what = f"{row.kind} `{row.name}`"
    caption = node.node.op.name if span is not None else ""
    code, message = "E6020", f"{who} departs from {report.reference} at {what}"
    if row.blames_reference:
        code, message = "E6021", f"{report.reference} is not finite at {what}"
    elif row.figures.verdict == "nan":
        code, message = "E6021", f"{who} is not finite at {what}"
    return Diagnostic(code, message, span, caption=caption, notes=(*notes, *departure.notes))


def _figures(row: Row) -> str:
    found = row.figures
    if found.verdict == "shape":
        return f"shape {_shape(row.found)} instead of {_shape(row.shape)}"
    if found.verdict == "nan":
        return "NaN or infinity"
    if found.agreement is not None:
        miou = "" if found.miou is None else f", mean IoU {found.miou:.4f}"
        return f"agreement {found.agreement:.4f}{miou}, limit {found.limit:g}"
    return f"err {found.err:.1e}, limit {found.limit:.1e}"


# -- JSON


def _case_json(case: Case) -> dict[str, object]:
    return {"symbols": dict(case.symbols), "shape": list(case.shape), "image": case.image}


def _row_json(row: Row) -> dict[str, object]:
    found, span = row.figures, place(row.node)
    return {
        "target": row.target,
        "kind": row.kind,
        "name": row.name,
        "operator": row.node.op.name,
        "file": span.source.name if span else None,
        "line": span.line if span else None,
        "run": str(row.case),
        "shape": list(row.shape),
        "dtype": row.dtype,
        "max_abs": _number(found.max_abs),
        "err": _number(found.err),
        "rel_l2": _number(found.rel_l2),
        "agreement": _number(found.agreement),
        "miou": _number(found.miou),
        "limit": found.limit,
        "verdict": found.verdict,
    }


def _departure_json(departure: Departure) -> dict[str, object]:
    node = departure.node
    return {
        "first": _row_json(departure.row),
        "node": _row_json(node) if node else None,
        "count": departure.count,
        "notes": list(departure.notes),
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# -- the table


def _text(report: Report, worst: int | None) -> Iterable[str]:
    title = f"{report.net}  {report.file}".rstrip()
    yield f"{title}  against {report.reference}"
    yield f"runs: {', '.join(map(str, report.cases))}"
    first = {id(d.row) for d in report.departures}
    for target in dict.fromkeys(row.target for row in report.rows):
        rows = [row for row in report.rows if row.target == target]
        shown = rows if worst is None else sorted(rows, key=_badness, reverse=True)[:worst]
        yield ""
        if target in report.ways:
            yield f"{target}: {report.ways[target]}"
        yield from _table(target, shown, first, classes=report.gate.kind == "argmax")
        if len(shown) < len(rows):
            yield f"{_rows(len(rows) - len(shown))} no worse than these left out"
        yield _verdict(target, rows)


def _badness(row: Row) -> tuple[int, float, float]:
    return row.figures.badness


def _table(target: str, rows: Sequence[Row], first: set[int], *, classes: bool) -> list[str]:
    header = [f"{target}: stage", "shape", "dtype", "max abs", "err", "relL2"]
    header += ["agree", "mIoU"] if classes else []
    lines = [[*header, "limit", "verdict"]]
    lines += [_cells(row, id(row) in first, classes=classes) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    body = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in lines]
    rule = "─" * max(map(len, body))
    return [body[0], rule, *body[1:], rule]


def _cells(row: Row, first: bool, *, classes: bool) -> list[str]:
    found, span = row.figures, place(row.node)
    name = row.name if row.kind == "stage" else f"output {row.name}"
    whole = found.agreement is not None and not classes
    figures = [_short(x) for x in (found.max_abs, found.err, found.rel_l2)]
    share = "" if found.agreement is None else f"{found.agreement:.4f}"
    miou = "" if found.miou is None else f"{found.miou:.4f}"
    extra = [share, miou] if classes else []
    if whole:
        figures = [f"{share} equal", "", ""]
    where = f" <- first, {span.source.name}:{span.line}" if first and span else ""
    where = " <- first" if first and not span else where
    limit = f"{found.limit:g}" if found.agreement is not None else f"{found.limit:.1e}"
    shape = _shape(row.shape)
    return [name, shape, row.dtype, *figures, *extra, limit, found.verdict + where]


def _short(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "-"


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _verdict(target: str, rows: Sequence[Row]) -> str:
    wrong = sum(row.figures.wrong for row in rows)
    faint = sum(row.figures.verdict == "faint" for row in rows)
    more = f"; {faint} too faint to be judged" if faint else ""
    if wrong:
        return f"{target}: departs, {wrong} of {_rows(len(rows))} over the limit{more}"
    return f"{target}: passes, {_rows(len(rows))} within the limits{more}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
