from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl.diagnostics import (
    Applicability,
    Diagnostic,
    Edit,
    Frame,
    Help,
    Label,
    Severity,
)
from segdsl.formats import WRITERS, github, json_lines, sarif, short
from segdsl.source import Source, Span

SOURCE = Source("specs/unet.seg", "seg 1\nx = image -> rellu\ny = a\n")
RELLU = Span(SOURCE, 19, 24)
FOUND = Diagnostic(
    "E1001",
    "there is no operation or block `rellu`",
    RELLU,
    caption="here",
    labels=(Label(Span(SOURCE, 10, 15), "[N, 3, H, W]"),),
    notes=("50% of it\nis known",),
    helps=(Help("did you mean `relu`?", (Edit(RELLU, "relu"),), Applicability.CERTAIN),),
    stack=(Frame("Up", Span(SOURCE, 26, 27), "i = 3"),),
)
TITLE = "there is no operation or block of this name"
WARNING = Diagnostic("W7010", "unused", Span(SOURCE, 25, 26), severity=Severity.WARNING)


def test_short() -> None:
    assert short([WARNING, FOUND]) == (
        "specs/unet.seg:2:14: error[E1001]: there is no operation or block `rellu`\n"
        "specs/unet.seg:3:1: warning[W7010]: unused"
    )


def test_short_without_a_place() -> None:
    assert short([Diagnostic("E0101", "no\x1b file", None)]) == r"error[E0101]: no\x1b file"


def test_json_holds_every_field() -> None:
    (line,) = json_lines([FOUND]).split("\n")
    assert line.startswith('{"version": 1, ')
    span = {
        "file": "specs/unet.seg",
        "start": 19,
        "end": 24,
        "line": 2,
        "column": 14,
        "end_line": 2,
        "end_column": 19,
    }
    got = json.loads(line)
    assert got["span"] == span
    assert got["helps"] == [
        {
            "text": "did you mean `relu`?",
            "applicability": "certain",
            "edits": [{"span": span, "text": "relu"}],
        }
    ]
    assert got["labels"][0]["text"] == "[N, 3, H, W]"
    assert got["labels"][0]["span"]["column"] == 5
    assert (got["code"], got["severity"], got["caption"]) == ("E1001", "error", "here")
    assert got["notes"] == ["50% of it\nis known"]
    assert got["stack"][0]["values"] == "i = 3"
    assert got["message"] == FOUND.message
    assert len(got) == 10


def test_github_escapes_what_ends_a_command() -> None:
    name = Source("a,b:c%.seg", "x\n")
    found = replace(FOUND, span=Span(name, 0, 1), message="100%\r::error::x", helps=())
    assert github([found]) == (
        "::error file=a%2Cb%3Ac%25.seg,line=1,col=1,endColumn=2,title=E1001"
        "::100%25\\x0d::error::x%0A50%25 of it%0Ais known"
    )


def test_github_over_several_lines_and_without_a_place() -> None:
    several = replace(WARNING, span=Span(SOURCE, 0, 20))
    assert github([several]) == (
        "::warning file=specs/unet.seg,line=1,col=1,endLine=2,title=W7010::unused"
    )
    assert github([replace(WARNING, span=None)]) == "::warning title=W7010::unused"


def log_of(*found: Diagnostic, root: Path | None = None) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(sarif(found, root=root))
    return log


def test_sarif_structure() -> None:
    """The parts of the 2.1.0 schema that a log of ours uses."""
    log = log_of(FOUND, WARNING)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "segdsl"
    assert [rule["id"] for rule in driver["rules"]] == ["E1001", "W7010"]
    assert driver["rules"][0]["shortDescription"]["text"] == TITLE
    assert run["columnKind"] == "unicodeCodePoints"
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note", "none"}
        assert result["message"]["text"]
        assert re.fullmatch("[0-9a-f]{32}:1", result["partialFingerprints"]["segdsl/v1"])
    first = run["results"][0]
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "specs/unet.seg"
    assert place["region"] == {"startLine": 2, "startColumn": 14, "endLine": 2, "endColumn": 19}
    assert first["relatedLocations"][0]["message"]["text"] == "[N, 3, H, W]"
    assert "did you mean" in first["message"]["text"]


def test_sarif_without_findings_is_still_a_log() -> None:
    assert log_of()["runs"][0]["results"] == []


def test_sarif_uris_are_relative_to_the_repository(tmp_path: Path) -> None:
    inside, outside = tmp_path / "repo" / "a b.seg", tmp_path / "c.seg"
    inside.parent.mkdir()
    for path in (inside, outside):
        path.write_text("x\n")
    uris = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for name in (str(inside), str(outside), "std/resnet.seg")
        for result in log_of(
            replace(WARNING, span=Span(Source(name, "x\n"), 0, 1)), root=inside.parent
        )["runs"][0]["results"]
    ]
    assert uris == ["a%20b.seg", outside.resolve().as_uri(), "std/resnet.seg"]


def test_sarif_fingerprints_survive_edits_above_and_tell_twins_apart() -> None:
    def prints(text: str) -> list[str]:
        source = Source("a.seg", text)
        starts = [m.start() for m in re.finditer("bad", text)]
        found = [replace(WARNING, span=Span(source, s, s + 3)) for s in starts]
        return [r["partialFingerprints"]["segdsl/v1"] for r in log_of(*found)["runs"][0]["results"]]

    before, after = prints("x bad\ny bad\n"), prints("new line\nx bad\ny bad\n")
    assert before == after
    assert len(set(before)) == 2


@pytest.mark.parametrize("name", ["short", "json", "github"])
def test_no_findings_print_nothing(name: str) -> None:
    assert WRITERS[name]([]) == ""  # type: ignore[index]


@given(
    st.text(st.characters(exclude_categories=[]), min_size=1, max_size=30),
    st.text(st.characters(exclude_categories=[]), max_size=30),
    st.integers(-3, 40),
    st.integers(-3, 40),
)
def test_formats_never_fail_and_keep_to_their_lines(
    name: str, text: str, start: int, end: int
) -> None:
    found = Diagnostic("E1001", text, Span(Source(name, text), start, end), notes=(text,))
    assert "\n" not in short([found])
    assert "\n" not in github([found])
    assert "\r" not in github([found])
    assert json.loads(json_lines([found]))["message"] == text
    assert log_of(found)["runs"][0]["results"][0]["ruleId"] == "E1001"
    for write in WRITERS.values():
        write([found]).encode("utf-8")
