"""Every page of messages in the formats for machines; SARIF against the schema of its standard.

`tests/data/sarif-2.1.0-rtm.5.json` is that schema, unchanged.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator  # type: ignore[import-untyped]

from compiler.cli import main
from segdsl.diagnostics import Diagnostic, Severity
from segdsl.formats import github, json_lines, sarif, short
from segdsl.program import examine
from segdsl.render import arrange
from segdsl.source import Source, Span
from tests.test_messages import FILES, read

ROOT = Path(__file__).parent
SCHEMA = ROOT / "data" / "sarif-2.1.0-rtm.5.json"
Log = dict[str, Any]


@cache
def validator() -> Any:
    """The schema, itself checked."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft4Validator.check_schema(schema)
    return Draft4Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)


def valid(text: str) -> Log:
    """A log that the schema accepts."""
    log: Log = json.loads(text)
    problems = [f"{'/'.join(map(str, e.path))}: {e.message}" for e in validator().iter_errors(log)]
    assert problems == []
    return log


def test_the_schema_refuses_what_is_wrong() -> None:
    log = json.loads(sarif([Diagnostic("E1001", "no", Span(Source("a.seg", "x\n"), 0, 1))]))
    valid(json.dumps(log))
    log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startColumn"] = 0
    assert not validator().is_valid(log)
    assert not validator().is_valid({"version": "2.1.0"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_page_in_every_format(path: Path, tmp_path: Path) -> None:
    """What one format says of a message, all say: place, severity, code, sentence."""
    _, program = read(path, tmp_path)
    found = arrange(program.diagnostics)
    log = valid(sarif(found, root=tmp_path))
    results = log["runs"][0]["results"]
    objects = [json.loads(line) for line in json_lines(found).split("\n")]
    lines, commands = short(found).split("\n"), github(found).split("\n")
    rows = zip(found, results, objects, lines, commands, strict=True)
    for diagnostic, result, item, line, command in rows:
        level = diagnostic.severity.value
        assert (result["ruleId"], result["level"]) == (diagnostic.code, level)
        assert result["message"]["text"].startswith(diagnostic.message)
        assert (item["code"], item["severity"]) == (diagnostic.code, level)
        assert item["message"] == diagnostic.message
        assert line.endswith(f"{level}[{diagnostic.code}]: {diagnostic.message}")
        assert command.startswith(f"::{level} ")
        if diagnostic.span is not None:
            same_place(result, item, line, command)


def same_place(result: Log, item: Log, line: str, command: str) -> None:
    """One place in four formats: 1-based lines and columns of code points, ends exclusive."""
    where = result["locations"][0]["physicalLocation"]
    region, span = where["region"], item["span"]
    assert where["artifactLocation"]["uri"] == span["file"]
    assert [region[k] for k in ("startLine", "startColumn", "endLine", "endColumn")] == [
        span[k] for k in ("line", "column", "end_line", "end_column")
    ]
    assert line.startswith(f"{span['file']}:{span['line']}:{span['column']}: ")
    assert f"file={span['file']},line={span['line']},col={span['column']}," in command


def test_columns_count_code_points_as_the_log_says(tmp_path: Path) -> None:
    """A character beyond 16 bits is one column, not two: `columnKind` says so."""
    text = 'seg 1\nnet A() {\n  input x: f32[N, 3, H, W] where H >= 1 else "\U0001f600" ; y\n}\n'
    file = tmp_path / "a.seg"
    file.write_text(text, encoding="utf-8")
    found = [d for d in examine(file, every=True).diagnostics if d.span and d.span.text == ";"]
    log = valid(sarif(found, root=tmp_path))
    assert log["runs"][0]["columnKind"] == "unicodeCodePoints"
    region = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]
    assert region["startColumn"] == text.splitlines()[2].index(";") + 1


def test_several_files_are_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors and warnings of all files, each with its place and level; rules are listed once."""
    monkeypatch.chdir(tmp_path)
    head = "seg 1\nnet T() {\n  input x: f32[N, 3, H, W]\n"
    (tmp_path / "bad.seg").write_text(f"{head}  y = x -> rellu\n  z = x -> rellu\n}}\n")
    (tmp_path / "warn.seg").write_text(f"{head}  y = x -> relu\n  output z = x\n}}\n")
    (tmp_path / "good.seg").write_text(f"{head}  output z = x -> relu\n}}\n")
    (tmp_path / "a b.seg").write_text(f"{head}}}\n")
    (tmp_path / "empty.seg").write_text("")
    names = ["bad.seg", "warn.seg", "good.seg", "a b.seg", "empty.seg", "none.seg"]
    assert main(["check", *names, "--format", "sarif"]) == 2  # a file is missing
    (run,) = valid(capsys.readouterr().out)["runs"]
    told = [(r["ruleId"], r["level"], uri_of(r)) for r in run["results"]]
    assert sorted(told) == [
        ("E0101", "error", ""), ("E0104", "error", ""), ("E1001", "error", "bad.seg"),
        ("E1001", "error", "bad.seg"), ("E4001", "error", "a%20b.seg"),
        ("E4001", "error", "bad.seg"),
        ("W7010", "warning", "warn.seg"),
    ]  # fmt: skip
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == sorted({code for code, _, _ in told})
    prints = [r["partialFingerprints"]["segdsl/v1"] for r in run["results"]]
    assert len(set(prints)) == len(prints)
    for rule in run["tool"]["driver"]["rules"]:
        assert rule["shortDescription"]["text"]


def uri_of(result: Log) -> str:
    places = result.get("locations", [])
    return str(places[0]["physicalLocation"]["artifactLocation"]["uri"]) if places else ""


@pytest.mark.parametrize("format", ["human", "short", "json", "sarif", "github"])
@pytest.mark.parametrize(
    ("body", "plain", "denied"),
    [("output z = x -> relu", 0, 0), ("y = x -> relu\n  output z = x", 0, 1), ("y = x", 1, 1)],
    ids=["clean", "warning", "error"],
)
def test_exit_codes_are_those_of_the_findings(
    body: str,
    plain: int,
    denied: int,
    format: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever the format; machines read stdout, people stderr, and stdout holds nothing else."""
    monkeypatch.chdir(tmp_path)
    text = f"seg 1\nnet T() {{\n  input x: f32[N, 3, H, W]\n  {body}\n}}\n"
    (tmp_path / "t.seg").write_text(text)
    assert main(["check", "t.seg", "--format", format]) == plain
    out, err = capsys.readouterr()
    assert (out == "") if format in ("human", "short") else (err == "")
    assert main(["check", "t.seg", "--format", format, "--deny", "warnings"]) == denied


def test_a_denied_warning_stays_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "t.seg"
    file.write_text("seg 1\nnet T() {\n  input x: f32[N, 3, H, W]\n  y = x\n  output z = x\n}\n")
    (found,) = examine(file, every=True, lint=True).diagnostics
    assert found.severity is Severity.WARNING
    assert valid(sarif([found]))["runs"][0]["results"][0]["level"] == "warning"
