"""Diagnostics for machines: one line each, JSON, SARIF 2.1.0, GitHub annotations."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Literal
from urllib.parse import quote

from segdsl.diagnostics import Diagnostic, Frame, Help, Label
from segdsl.display import clean
from segdsl.render import arrange, where
from segdsl.source import Span
from segdsl.version import __version__

Format = Literal["short", "json", "sarif", "github"]

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]
"""What `json.dumps` takes."""


def short(diagnostics: Iterable[Diagnostic]) -> str:
    """`file:line:column: error[E3004]: message`, one line each, sorted."""
    return "\n".join(map(_short, arrange(diagnostics)))


def _short(diagnostic: Diagnostic) -> str:
    place = f"{where(diagnostic.span)}: " if diagnostic.span else ""
    code = f"[{diagnostic.code}]" if diagnostic.code else ""
    return clean(f"{place}{diagnostic.severity.value}{code}: {diagnostic.message}")


def json_lines(diagnostics: Iterable[Diagnostic]) -> str:
    """One JSON object a line, `"version": 1` first, with every field of the diagnostic.

    All count code points: offsets from 0, lines and columns from 1; ends are exclusive.
    """
    return "\n".join(json.dumps(_object(d), ensure_ascii=True) for d in arrange(diagnostics))


def _object(diagnostic: Diagnostic) -> dict[str, Json]:
    return {
        "version": 1,
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        "span": _place(diagnostic.span),
        "caption": diagnostic.caption,
        "labels": [_label(label) for label in diagnostic.labels],
        "notes": list(diagnostic.notes),
        "helps": [_help(help) for help in diagnostic.helps],
        "stack": [_frame(frame) for frame in diagnostic.stack],
    }


def _label(label: Label) -> Json:
    return {"span": _place(label.span), "text": label.text}


def _help(help: Help) -> Json:
    edits: list[Json] = [{"span": _place(edit.span), "text": edit.text} for edit in help.edits]
    return {"text": help.text, "applicability": help.applicability.value, "edits": edits}


def _frame(frame: Frame) -> Json:
    return {"name": frame.name, "span": _place(frame.span), "values": frame.values}


def _place(span: Span | None) -> Json:
    if span is None:
        return None
    line, column, end_line, end_column = _corners(span)
    return {
        "file": span.source.name,
        "start": span.start,
        "end": span.end,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


def _corners(span: Span) -> tuple[int, int, int, int]:
    """1-based line and column of the start and of the (exclusive) end, inside the source."""
    size = len(span.source.text)
    start = min(max(span.start, 0), size)
    end = min(max(span.end, start), size)
    return (*span.source.position(start), *span.source.position(end))


def github(diagnostics: Iterable[Diagnostic]) -> str:
    """Workflow commands that GitHub turns into annotations: `::error file=…,line=…::message`."""
    return "\n".join(map(_command, arrange(diagnostics)))


def _command(diagnostic: Diagnostic) -> str:
    fields: dict[str, str] = {}
    if diagnostic.span is not None:
        line, column, end_line, end_column = _corners(diagnostic.span)
        fields = {"file": diagnostic.span.source.name, "line": str(line), "col": str(column)}
        # GitHub refuses columns of a range over several lines.
        fields |= {"endColumn": str(end_column)} if end_line == line else {"endLine": str(end_line)}
    fields |= {"title": diagnostic.code} if diagnostic.code else {}
    values = ",".join(f"{key}={_escape_field(value)}" for key, value in fields.items())
    helps = (f"help: {help.text}" for help in diagnostic.helps)
    text = "\n".join([diagnostic.message, *diagnostic.notes, *helps])
    return f"::{diagnostic.severity.value} {values}::{_escape_text(text)}"


def _escape_text(text: str) -> str:
    lines = "\n".join(map(clean, text.split("\n")))
    return lines.replace("%", "%25").replace("\n", "%0A")


def _escape_field(text: str) -> str:
    escaped = clean(text).replace("%", "%25")
    return escaped.replace(":", "%3A").replace(",", "%2C")


def sarif(diagnostics: Iterable[Diagnostic], *, root: Path | None = None) -> str:
    """One SARIF 2.1.0 log; URIs of files in `root` (the working folder) are relative to it."""
    base = (root or Path.cwd()).resolve()
    found = arrange(diagnostics)
    rules = sorted({d.code for d in found})
    seen: Counter[str] = Counter()
    results: list[Json] = []
    for diagnostic in found:
        results.append(_result(diagnostic, rules, base, seen))
    driver: dict[str, Json] = {
        "name": "segdsl",
        "version": __version__,
        "rules": [_rule(code) for code in rules],
    }
    run: dict[str, Json] = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    log: dict[str, Json] = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return json.dumps(log, indent=2)


def _rule(code: str) -> dict[str, Json]:
    """A rule with the title of its page."""
    page = Path(__file__).parent / "explain" / f"{code}.md"
    if not page.is_file():
        return {"id": code}
    title = page.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix(f"# {code}: ")
    return {"id": code, "shortDescription": {"text": title}}


def _result(diagnostic: Diagnostic, rules: list[str], base: Path, seen: Counter[str]) -> Json:
    text = "\n".join([diagnostic.message, *diagnostic.notes, *(h.text for h in diagnostic.helps)])
    result: dict[str, Json] = {
        "ruleId": diagnostic.code,
        "ruleIndex": rules.index(diagnostic.code),
        "level": diagnostic.severity.value,
        "message": {"text": text},
        "partialFingerprints": {"segdsl/v1": _fingerprint(diagnostic, seen)},
    }
    if diagnostic.span is not None:
        result["locations"] = [{"physicalLocation": _physical(diagnostic.span, base)}]
    related: list[Json] = [
        {"id": i, "physicalLocation": _physical(lb.span, base), "message": {"text": lb.text}}
        for i, lb in enumerate(diagnostic.labels)
    ]
    return result | ({"relatedLocations": related} if related else {})


def _physical(span: Span, base: Path) -> Json:
    line, column, end_line, end_column = _corners(span)
    return {
        "artifactLocation": {"uri": _uri(span.source.name, base)},
        "region": {
            "startLine": line,
            "startColumn": column,
            "endLine": end_line,
            "endColumn": end_column,
        },
    }


def _uri(name: str, base: Path) -> str:
    """A relative URI for files below `base`, an absolute one for other files that exist."""
    try:
        path = (base / name).resolve()
        if path.is_relative_to(base):
            return quote(path.relative_to(base).as_posix())
        return path.as_uri() if path.exists() else quote(PurePath(name).as_posix())
    except (OSError, ValueError):  # a name that no file can have
        return quote(name, errors="replace")


def _fingerprint(diagnostic: Diagnostic, seen: Counter[str]) -> str:
    """Stable under edits elsewhere: code, message, file, marked text, and a count of its like."""
    span = diagnostic.span
    marked = (span.source.name, span.text) if span else ()
    parts = (diagnostic.code, diagnostic.message, *marked)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:32]
    seen[digest] += 1
    return f"{digest}:{seen[digest]}"


WRITERS: Mapping[Format, Callable[[Iterable[Diagnostic]], str]] = {
    "short": short,
    "json": json_lines,
    "sarif": sarif,
    "github": github,
}
"""The machine formats by name; `human` is `segdsl.render.render`."""
