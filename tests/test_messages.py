"""The exact text of messages: `tests/messages/*.md` holds programs and what segdsl says about them.

A file has a heading, a sentence, `seg` blocks (the first line of each names its file; the first is
the program that is checked) and one `text` block with the rendering. `# set: name=value` sets a
parameter from outside, `# limit: nodes=100` lowers a limit, `# size: 33x33` asks about one size.
`pytest --update-golden` rewrites the `text` blocks; a person reads the difference.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import segdsl
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Severity
from segdsl.limits import Limits
from segdsl.program import Program, examine_source
from segdsl.render import render
from segdsl.source import Source

HERE = Path(__file__).parent / "messages"
FILES = sorted(HERE.glob("*.md"))
EXPLAINED = sorted((Path(segdsl.__file__).parent / "explain").glob("*.md"))

PROGRAM = re.compile(r"^```seg\n# file: (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TEXT = re.compile(r"^```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LIMIT = re.compile(r"^# limit: (\w+)=(\d+)$", re.MULTILINE)
SETTING = re.compile(r"^# set: (\w+)=(\S+)$", re.MULTILINE)
SIZE = re.compile(r"^# size: (\d+)x(\d+)$", re.MULTILINE)
RAISED = re.compile(r'"([EW]\d{4})"')

PENDING: dict[str, str] = {
    "E0020": "the size of files: tested with the reader, where the limits can be lowered",
    "E0021": "nesting: tested with the parser and in tests/segdsl/elaborate/test_limits.py",
    "E0022": "the number of tokens: tested with the parser",
    "E0101": "the command line: no program to show",
    "E0102": "the command line: which of several nets is meant",
    "E0103": "files that are not text: tested with the reader",
    "E0104": "empty files: tested with the reader",
    "E1011": "the number of files: tested in tests/segdsl/test_imports.py",
    "E2018": "symbolic sizes: tested in tests/segdsl/elaborate/test_limits.py",
    "E4007": "operands and ports: tested in tests/segdsl/elaborate/test_limits.py",
}
"""Codes that a program can give and that have no file here, with the reason."""

NOT_OF_PROGRAMS = (*("E00", "E01", "E5003", "E5004", "E5011", "E5012", "E6", "W7015"),)
"""Syntax (tests of the parser), the command line, checkpoints, targets."""


def read(path: Path, folder: Path) -> tuple[Source, Program]:
    """Write the files of a page into a folder and examine the first."""
    programs = PROGRAM.findall(path.read_text(encoding="utf-8"))
    for name, text in programs:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    name, text = programs[0]
    source = Source(name, text)
    return source, examine_text(source, folder)


def examine_text(source: Source, folder: Path) -> Program:
    """What segdsl says about a program with the settings and limits that its first lines give."""
    settings = dict(SETTING.findall(source.text))
    lower = {name: int(value) for name, value in LIMIT.findall(source.text)}
    size = SIZE.search(source.text)
    return examine_source(
        source,
        folder,
        settings=settings,
        limits=replace(Limits(), **lower),
        every=True,
        key=str((folder / source.name).resolve()),
        lint=True,
        size=(int(size[1]), int(size[2])) if size else None,
    )


@pytest.mark.golden
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_message(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    _, program = read(path, tmp_path)
    found = render(program.diagnostics)
    page = path.read_text(encoding="utf-8")
    if request.config.getoption("--update-golden"):
        text = TEXT.sub(lambda _: f"```text\n{found}\n```", page)
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    (wanted,) = TEXT.findall(page)
    assert found + "\n" == wanted


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_name_of_the_file_is_what_it_shows(path: Path, tmp_path: Path) -> None:
    _, program = read(path, tmp_path)
    assert {d.code for d in program.diagnostics} == {path.stem.split("_")[0]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_spans_lie_in_their_files(path: Path, tmp_path: Path) -> None:
    _, program = read(path, tmp_path)
    for d in program.diagnostics:
        for span in (d.span, *(label.span for label in d.labels)):
            assert span is None or 0 <= span.start <= span.end <= len(span.source.text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_edits_mend_their_mistake(path: Path, tmp_path: Path) -> None:
    """The first edit that is no template makes the message vanish and adds no other code.

    Lints look at programs without errors only: where an error was mended, they do not count.
    """
    source, program = read(path, tmp_path)
    for d in program.diagnostics:
        edits = _edits(d)
        if not edits or any(e.span.source is not source for e in edits):
            continue
        text = source.text
        for edit in sorted(edits, key=lambda e: e.span.start, reverse=True):
            text = text[: edit.span.start] + edit.text + text[edit.span.end :]
        after = examine_text(Source(source.name, text), tmp_path).diagnostics
        left = [a.code for a in after if program.failed <= (a.severity is Severity.ERROR)]
        before = [b.code for b in program.diagnostics]
        assert left.count(d.code) < before.count(d.code)
        assert set(left) <= set(before)


def _edits(diagnostic: Diagnostic) -> tuple[Edit, ...]:
    usable = (Applicability.CERTAIN, Applicability.LIKELY)
    return next((h.edits for h in diagnostic.helps if h.edits and h.applicability in usable), ())


def test_every_code_is_shown() -> None:
    """Every code that can be said about the meaning of a program has a file here, or a reason."""
    shown = {path.stem.split("_")[0] for path in FILES}
    root = Path(segdsl.__file__).parent
    raised = {c for p in root.rglob("*.py") for c in RAISED.findall(p.read_text(encoding="utf-8"))}
    meaning = {code for code in raised if not code.startswith(NOT_OF_PROGRAMS)}
    assert meaning - shown == {c for c in PENDING if not c.startswith(NOT_OF_PROGRAMS)}
    assert not set(PENDING) & shown


def test_every_shown_code_has_a_page() -> None:
    shown = {path.stem.split("_")[0] for path in FILES}
    assert shown <= {path.stem for path in EXPLAINED}
