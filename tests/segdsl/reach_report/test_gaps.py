"""Fields with holes: the pixels that are read."""

from __future__ import annotations

from segdsl.analysis.reach.tables import reach
from segdsl.program import parse
from segdsl.reach_report.gaps import as_json, as_text, gaps
from segdsl.reach_report.stages import chosen


def found(body: str) -> list[str]:
    graph = parse(f"seg 1\nnet A() {{\n  input x: f32[N, 1, H, W]\n  output y = x{body}\n}}\n")
    (stage,) = chosen(graph, ["y"])
    return as_text(gaps(reach(graph), "y", stage.value))


def test_three_dilated_convolutions_read_every_other_pixel() -> None:
    body = "".join(f" -> conv(1, 3, pad=2, dilation=2) @c{i}" for i in range(3))
    assert found(body) == ["gaps at `y`: reads 7 of 13 pixels: -6, -4, -2, 0, 2, 4, 6"]


def test_axes_are_apart_where_they_differ() -> None:
    text = found(" -> conv(1, [3, 5], pad=[3, 4], dilation=[3, 2]) @c")
    assert text == [
        "gaps at `y`, h: reads 3 of 7 pixels: -3, 0, 3",
        "gaps at `y`, w: reads 5 of 9 pixels: -4, -2, 0, 2, 4",
    ]


def test_runs_are_told_as_ranges() -> None:
    text = found(" -> conv(1, 3, pad=1) @a -> conv(1, 3, pad=4, dilation=4) @b")
    assert text == ["gaps at `y`: reads 9 of 11 pixels: -5..-3, -1..1, 3..5"]


def test_phases_that_are_alike_share_a_line() -> None:
    text = found(" -> conv(1, 3, pad=3, dilation=3) @a -> resize(2x, mode=nearest)")
    assert text == [
        "gaps at `y`, phase 0, 1 of 2: reads 3 of 7 pixels: -3, 0, 3",
    ]


def test_without_holes_there_is_one_sentence() -> None:
    assert found(" -> conv(1, 3, pad=1) @a") == ["no gaps: every field is read without holes"]


def test_the_json_says_the_same() -> None:
    graph = parse(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n"
        "  output y = x -> conv(1, 3, pad=2, dilation=2) @c\n}\n"
    )
    (stage,) = chosen(graph, ["y"])
    (gap,) = gaps(reach(graph), "y", stage.value)
    assert as_json(gap) == {
        "stage": "y", "axis": "hw", "period": 1, "phases": [0], "reads": [-2, 0, 2], "length": 5,
    }  # fmt: skip
