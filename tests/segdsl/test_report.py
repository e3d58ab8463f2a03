"""The summary: its figures, its rows, its refusals."""

from __future__ import annotations

import json

import pytest

from segdsl.diagnostics import SegError
from segdsl.program import parse
from segdsl.report import summary

TEXT = """seg 1
from std.blocks import ConvBNReLU
net Small(classes: int = 2) {
  input image: f32[N, 3, H, W] where H % 4 == 0, W % 4 == 0
  image -> ConvBNReLU(8) @a -> max_pool(2)
        -> repeat 3 as i { ConvBNReLU(8) @b.{i} }
        -> max_pool(2) -> conv(classes, 1) @head as deep
  output mask: [N, classes, H, W] = deep -> resize(4x, mode=bilinear)
  train output aux = deep -> conv(5, 1) @aux
}
"""


def test_figures_are_those_of_the_parts() -> None:
    s = summary(parse(TEXT), size=(32, 64))
    conv, small = 3 * 8 * 9, 8 * 8 * 9
    assert s.parameters == conv + 16 + 3 * (small + 16) + (16 + 2) + (10 + 5)
    assert s.buffers == 4 * 17
    assert s.macs == 32 * 64 * conv + 3 * 16 * 32 * small + 8 * 16 * 16
    assert s.outputs == {"mask": ("1", "2", "32", "64"), "aux": ("1", "5", "8", "16")}
    assert sum(r.params for r in s.rows if r.level == 0) == s.parameters
    assert sum(r.macs or 0 for r in s.rows if r.level == 0) == s.macs


def test_a_batch_multiplies_the_macs() -> None:
    graph = parse(TEXT)
    one, four = summary(graph, size=(32, 32)).macs, summary(graph, size=(32, 32), batch=4).macs
    assert one is not None
    assert four == 4 * one


def test_without_a_size_shapes_are_formulas() -> None:
    s = summary(parse(TEXT))
    assert s.macs is None
    assert s.inputs == {"image": ("N", "3", "H", "W")}
    assert ("N", "2", "H//4", "W//4") in [row.shape for row in s.rows]
    assert s.accepts["H"] == "H = 4k, k >= 1"


def test_training_parts_are_marked_and_cost_nothing() -> None:
    rows = {row.name: row for row in summary(parse(TEXT), size=(32, 32)).rows}
    assert rows["aux"].training
    assert rows["aux"].macs == 0
    assert not rows["head"].training


def test_the_text_and_the_json_say_the_same() -> None:
    s = summary(parse(TEXT), size=(32, 32))
    data = json.loads(json.dumps(s.as_json()))
    assert data["format"] == "segdsl.summary"
    assert f"{data['parameters']:,}" in str(s)
    assert f"{data['macs']:,}" in str(s)
    assert [row["name"] for row in data["stages"]] == [row.name for row in s.rows]
    for row in s.rows:
        assert row.name in str(s)


@pytest.mark.parametrize("size", [(30, 32), (32, 2)])
def test_sizes_that_are_not_accepted_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(SegError) as caught:
        summary(parse(TEXT), size=size)
    assert {d.code for d in caught.value.diagnostics} == {"E3014"}


def test_a_square_input_refuses_a_rectangle() -> None:
    graph = parse("seg 1\nnet A() {\n  input x: f32[N, 1, S, S]\n  output y = x\n}\n")
    assert summary(graph, size=(8, 8)).outputs == {"y": ("1", "1", "8", "8")}
    with pytest.raises(SegError):
        summary(graph, size=(8, 9))


def test_equal_blocks_in_a_row_are_folded() -> None:
    text = """seg 1
from std.blocks import ConvBNReLU
block Body(x: [N, C, h, w], n: int) -> (y) {
  y = x -> conv(8, 1) @stem -> repeat n as i { ConvBNReLU(8) @{i} }
}
net A() {
  input x: f32[N, 1, H, W]
  output y = x -> Body(5) @body
}
"""
    rows = summary(parse(text)).rows
    assert [(r.name, r.times) for r in rows if r.op == "ConvBNReLU"] == [("body.0 … 4", 5)]


def test_a_side_beyond_the_limit_is_refused() -> None:
    graph = parse("seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n  output y = x\n}\n")
    assert summary(graph, size=(2**24, 1)).outputs == {"y": ("1", "1", str(2**24), "1")}
    with pytest.raises(SegError) as caught:
        summary(graph, size=(2**24 + 1, 1))
    assert [d.code for d in caught.value.diagnostics] == ["E2019"]
