"""The JSON: exactly the documented keys and kinds, and the figures of the tables."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from segdsl.analysis.reach.concrete import fields
from segdsl.analysis.reach.findings import CODES
from segdsl.library import stock_names
from segdsl.program import examine, examine_source
from segdsl.reach_report.as_json import accepted_sizes, as_json, dumps
from segdsl.reach_report.collect import analyse, reach_report
from segdsl.reach_report.stages import stages
from segdsl.reach_report.text import as_text, field_text
from segdsl.source import Source

FRACTION = re.compile(r"-?(0|[1-9]\d*)(/[1-9]\d*)?")

TOP = [
    "format",
    "version",
    "file",
    "net",
    "input",
    "params",
    "size",
    "accepts",
    "stages",
    "warnings",
]
STAGE = ["name", "op", "scope", "line", "product", "axes", "pixel"]
AXIS = [
    "size", "size_at", "jump", "rf_min", "rf_max", "period", "shift", "by_phase",
    "centre_offset", "path_offsets", "density", "tags", "full", "assumes", "reason", "interior",
    "unused",
]  # fmt: skip
TAGS = {"local", "adaptive", "attend", "crf", "gate", "global", "index", "offset", "stat"}


def document(
    spec: str, size: tuple[int, int] | None = None, pixel: tuple[int, int] | None = None
) -> dict[str, Any]:
    program = examine(spec)
    assert program.graph is not None
    analysis = analyse(program.graph, program.accepted, size=size)
    report = reach_report(analysis, stages(program.graph), at_pixel=pixel)
    data: dict[str, Any] = json.loads(dumps(as_json(report)))
    return data


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_span(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_int, value))


def is_fraction(value: object) -> bool:
    return isinstance(value, str) and FRACTION.fullmatch(value) is not None


def check_axis(axis: dict[str, Any], *, sized: bool) -> None:
    assert list(axis) == AXIS
    assert isinstance(axis["size"], str)
    assert is_int(axis["size_at"]) if sized else axis["size_at"] is None
    for key in ("jump", "centre_offset", "density"):
        assert axis[key] is None or is_fraction(axis[key])
    for key in ("rf_min", "rf_max", "period", "shift"):
        assert axis[key] is None or is_int(axis[key])
    if axis["period"] is not None:
        assert len(axis["by_phase"]) == axis["period"]
        assert all(span is None or is_span(span) for span in axis["by_phase"])
        lengths = [hi - lo + 1 for lo, hi in filter(None, axis["by_phase"])]
        assert (min(lengths), max(lengths)) == (axis["rf_min"], axis["rf_max"])
        assert axis["reason"] is None
    else:
        assert axis["by_phase"] is None
        assert isinstance(axis["reason"], str)
    assert axis["path_offsets"] is None or all(map(is_fraction, axis["path_offsets"]))
    assert axis["tags"] == sorted(axis["tags"])
    assert set(axis["tags"]) <= TAGS
    if isinstance(axis["full"], dict):
        assert list(axis["full"]) == ["rf_min", "rf_max", "by_phase"]
    else:
        assert axis["full"] in (None, "global")
        assert (axis["full"] == "global") == ("global" in axis["tags"])
    assert axis["interior"] is None or (sized and is_span(axis["interior"]))
    assert all(map(is_span, axis["unused"])) if sized else axis["unused"] is None


def check_document(data: dict[str, Any], *, sized: bool, pixel: bool) -> None:
    assert list(data) == TOP
    assert (data["format"], data["version"]) == ("segdsl.rf", 1)
    assert list(data["accepts"]) == ["h", "w", "joint"]
    for axis in "hw":
        accepts = data["accepts"][axis]
        assert list(accepts) == ["symbol", "modulus", "residues", "minimum", "extra", "strict"]
        if accepts["strict"] is not None:
            assert list(accepts["strict"]) == ["modulus", "residues", "minimum", "extra"]
    assert len({stage["name"] for stage in data["stages"]}) == len(data["stages"])
    for stage in data["stages"]:
        assert list(stage) == STAGE
        assert list(stage["axes"]) == ["h", "w"]
        check_axis(stage["axes"]["h"], sized=sized)
        check_axis(stage["axes"]["w"], sized=sized)
        assert stage["line"] is None or is_int(stage["line"])
        assert isinstance(stage["product"], bool)
        assert (stage["pixel"] is not None) == pixel
    for warning in data["warnings"]:
        assert list(warning) == ["kind", "stage", "message", "line"]
        assert warning["kind"] in CODES


@pytest.mark.parametrize("spec", stock_names())
def test_structure(spec: str) -> None:
    check_document(document(spec), sized=False, pixel=False)
    check_document(document(spec, (96, 160)), sized=True, pixel=False)


def test_structure_with_a_pixel() -> None:
    data = document("unet", (64, 80), (1, 3))
    check_document(data, sized=True, pixel=True)
    for stage in data["stages"]:
        assert list(stage["pixel"]) == ["at", "rows", "cols", "support", "full"]


def test_the_boxes_of_pixels_are_those_of_the_exact_fields() -> None:
    program = examine("unet")
    assert program.graph is not None
    exact = fields(program.graph, {"H": 64, "W": 80})
    data = document("unet", (64, 80), (1, 3))
    for stage, row in zip(stages(program.graph), data["stages"], strict=True):
        rows, cols = exact.local(stage.value, 0), exact.local(stage.value, 1)
        assert rows is not None
        assert cols is not None
        assert row["pixel"]["rows"] == list(rows.at(1) or ())
        assert row["pixel"]["cols"] == list(cols.at(3) or ())
        height, width = (b - a + 1 for a, b in (row["pixel"]["rows"], row["pixel"]["cols"]))
        assert row["pixel"]["support"] == height * width
        assert row["pixel"]["full"] is None


def test_a_pixel_of_a_net_with_a_global_branch_has_a_local_and_a_full_box() -> None:
    program = examine("deeplabv3", settings={"depth": 50, "rates": (1, 1, 1), "aux": False})
    assert program.graph is not None
    analysis = analyse(program.graph, program.accepted, size=(1200, 1200))
    picked = [s for s in stages(program.graph) if s.name in ("out", "classifier.0.convs.4")]
    report = reach_report(analysis, picked, at_pixel=(100, 100))
    pooled, out = (json.loads(dumps(as_json(report)))["stages"][i]["pixel"] for i in (0, 1))
    assert pooled["rows"] is None
    assert pooled["support"] == 0
    assert pooled["full"]["rows"] == [0, 1199]
    assert out["rows"][0] == 0
    assert out["rows"][1] < 1199
    assert out["full"] == {"rows": [0, 1199], "cols": [0, 1199], "support": 1200 * 1200}


@pytest.mark.parametrize("spec", stock_names())
def test_the_table_says_the_same(spec: str) -> None:
    program = examine(spec)
    assert program.graph is not None
    analysis = analyse(program.graph, program.accepted)
    report = reach_report(analysis, stages(program.graph))
    data = as_json(report)
    lines = as_text(report).splitlines()
    rows = data["stages"]
    assert isinstance(rows, list)
    for row, data_row in zip(report.stages, rows, strict=True):
        (line,) = [text for text in lines if text.split()[:2] == [row.name, row.op]]
        assert field_text(row.axes[0].reach) in line
        assert data_row["axes"]["h"]["size"] in line


def test_the_example_of_the_design() -> None:
    program = examine("unet", settings={"form": "same"})
    assert program.graph is not None
    report = reach_report(analyse(program.graph, program.accepted), stages(program.graph))
    rows = as_json(report)["stages"]
    assert isinstance(rows, list)
    found = next(row for row in rows if row["name"] == "up1")
    assert found["axes"]["h"] == {
        "size": "H//8", "size_at": None, "jump": "8", "rf_min": 172, "rf_max": 172,
        "period": 2, "shift": 16, "by_phase": [[-78, 93], [-78, 93]],
        "centre_offset": "7/2", "path_offsets": ["7/2", "7/2"], "density": "1", "tags": ["local"],
        "full": None, "assumes": None, "reason": None, "interior": None, "unused": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", ("H", 1, [0], 1, [])),
        (" where H % 8 == 3", ("H", 8, [3], 3, [])),
        (" where H >= 20, H % 4 == 1", ("H", 4, [1], 21, [])),
        (" where H != 5", ("H", 1, [0], 6, [1, 2, 3, 4])),
        (" where H <= 3", ("H", 1, [], None, [1, 2, 3])),
    ],
)
def test_accepted_sizes(where: str, expected: tuple[object, ...]) -> None:
    text = f"seg 1\nnet A() {{\n  input x: f32[N, 1, H, 7]{where}\n  output y = x\n}}\n"
    program = examine_source(Source("a.seg", text), None)
    assert program.graph is not None
    report = reach_report(analyse(program.graph, program.accepted), stages(program.graph))
    accepts: Any = as_json(report)["accepts"]
    keys = ["symbol", "modulus", "residues", "minimum", "extra"]
    assert tuple(accepts["h"][key] for key in keys) == expected
    assert accepts["w"] == accepted_sizes(7, None, None)
    assert accepts["w"]["extra"] == [7]
    known = program.accepted["H"]
    for n in range(1, 60):
        h = accepts["h"]
        regular = h["minimum"] is not None and n >= h["minimum"]
        told = (regular and n % h["modulus"] in h["residues"]) or n in h["extra"]
        assert told == (n in known), n
