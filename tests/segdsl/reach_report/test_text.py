"""The table for people: published figures, notes, and the whole text of the stock specs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segdsl.library import stock_names
from segdsl.program import examine, examine_source
from segdsl.reach_report.collect import analyse, reach_report
from segdsl.reach_report.stages import chosen, stages
from segdsl.reach_report.text import as_text
from segdsl.source import Source


def table(
    spec: str, *names: str, size: tuple[int, int] | None = None, **settings: Any
) -> dict[str, list[str]]:
    """The cells of each line, by stage."""
    program = examine(spec, settings=settings)
    assert program.graph is not None
    picked = chosen(program.graph, names) if names else stages(program.graph)
    text = as_text(reach_report(analyse(program.graph, program.accepted, size=size), picked))
    cells = [[c.strip() for c in line.split("  ") if c.strip()] for line in text.splitlines()]
    return {row[0]: row for row in cells if row}


def text_of(program: str, size: tuple[int, int] | None = None) -> str:
    examined = examine_source(Source("net.seg", program), None)
    assert examined.graph is not None, examined.diagnostics
    analysis = analyse(examined.graph, examined.accepted, size=size)
    return as_text(reach_report(analysis, stages(examined.graph)))


@pytest.mark.parametrize("spec", stock_names())
def test_stock_specs(spec: str, golden: Callable[[str, str], None]) -> None:
    program = examine(spec)
    assert program.graph is not None
    report = reach_report(analyse(program.graph, program.accepted), stages(program.graph))
    golden(f"{spec}/rf.txt", as_text(report) + "\n")


@pytest.mark.parametrize(
    ("spec", "stage", "settings", "jump", "field", "tags"),
    [
        ("fcn8s", "fc7", {}, "32", "404", "local"),
        ("fcn8s", "score", {}, "1", "436..468 (period 32)", "local"),
        ("unet", "down4.maxpool_conv.1", {}, "16", "140", "local"),
        ("unet", "scores", {}, "1", "188..204 (period 16)", "local"),
        ("unet", "scores", {"form": "same"}, "1", "188..204 (period 16)", "local"),
        ("unet", "scores", {"form": "valid"}, "1", "188..204 (period 16)", "local"),
        ("resnet", "layer4", {"depth": 50}, "32", "427", "local"),
        ("resnet", "layer4", {"depth": 18}, "32", "435", "local"),
        ("resnet", "layer4", {"depth": 34}, "32", "899", "local"),
        ("resnet", "layer4", {"depth": 101}, "32", "971", "local"),
        ("resnet", "layer4", {"depth": 152}, "32", "1451", "local"),
        ("seresnet50", "layer4", {}, "32", "427", "local; global via se (gate)"),
        ("deeplabv3", "classifier.0", {"depth": 50}, "8", "1003", "local; global via stat"),
        ("deeplabv3", "classifier.0", {"depth": 101}, "8", "1547", "local; global via stat"),
        ("fcn_resnet50", "backbone.layer4", {}, "8", "427", "local"),
        ("fcn_resnet50", "classifier", {}, "8", "443", "local"),
        ("vgg16", "pool5", {}, "32", "212", "local"),
        ("tiramisu", "bottleneck.bottleneck", {}, "32", "1622", "local"),
        ("tiramisu", "bottleneck.bottleneck", {"depth": 56}, "32", "538", "local"),
        ("tiramisu", "logits", {}, "1", "2262..2294 (period 32)", "local"),
        ("tiramisu", "logits", {"depth": 56}, "1", "794..826 (period 32)", "local"),
    ],
)
def test_published_rows(
    spec: str, stage: str, settings: dict[str, Any], jump: str, field: str, tags: str
) -> None:
    row = table(spec, stage, **settings)[stage]
    assert row[3:5] == [jump, field]
    assert row[-1] == tags


def test_rows_and_columns_are_apart_where_they_differ() -> None:
    text = text_of(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W] where W % 2 == 0\n"
        "  output y = x -> conv(1, [3, 5], stride=[1, 2], pad=[1, 2])\n}\n"
    )
    lines = text.splitlines()
    (rows,) = (i for i, line in enumerate(lines) if line.startswith("y "))
    assert lines[rows].split()[1:6] == ["conv", "h:", "H", "1", "3"]
    assert lines[rows + 1].split()[:5] == ["w:", "W//2", "2", "5", "0"]


def test_a_square_size_shows_one_interior() -> None:
    assert table("unet", "scores", size=(512, 512))["scores"][-1] == "94..417"
    assert table("unet", "inc", size=(512, 320))["inc"][-1] == "2..509 x 2..317"


def test_what_has_no_period_says_why() -> None:
    text = text_of(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n"
        "  output y = x -> conv(1, 3, pad=1) -> resize(to=[9, 9], mode=bilinear)\n}\n"
    )
    assert "note: `y`: no period: the ratio of a resize depends on the size" in text
    at = text_of(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n"
        "  output y = x -> conv(1, 3, pad=1) -> resize(to=[9, 9], mode=bilinear)\n}\n",
        (15, 15),
    )
    row = next(line for line in at.splitlines() if line.startswith("y "))
    assert row.split()[2:5] == ["9x9", "-", "3..4"]


def test_both_axes_share_a_warning() -> None:
    text = text_of(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W] where H >= 2, W >= 2\n"
        "  output y = x -> max_pool(2)\n}\n"
    )
    assert text.count("warning[W7009]: dropped_pixels at `y`") == 1
    assert "drops no pixel at H = 2k, k >= 1; W = 2k, k >= 1" in text


def test_a_fixed_input_is_told_by_its_number() -> None:
    text = text_of("seg 1\nnet A() {\n  input x: f32[N, 1, 9, W]\n  output y = x -> relu\n}\n")
    assert "accepts H = 9; W >= 1" in text
