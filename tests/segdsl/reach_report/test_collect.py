"""Reports are refused where the question has no answer."""

from __future__ import annotations

import pytest

from segdsl.diagnostics import SegError
from segdsl.program import Program, examine, examine_source
from segdsl.reach_report.collect import Analysis, analyse, reach_report
from segdsl.reach_report.stages import chosen, stages
from segdsl.source import Source

GATED = """seg 1
net A() {
  input x: f32[N, 1, H, W]
  input mask: f32[N, 1, H, W]
  deep = x -> conv(1, 3, pad=1) @c
  output y = deep + mask
}
"""


def analysed(text: str, **options: object) -> Analysis:
    program = examine_source(Source("a.seg", text), None)
    return of(program, **options)


def of(program: Program, **options: object) -> Analysis:
    assert program.graph is not None, program.diagnostics
    return analyse(program.graph, program.accepted, **options)  # type: ignore[arg-type]


def refused(text: str, **options: object) -> str:
    with pytest.raises(SegError) as caught:
        analysed(text, **options)
    return "; ".join(f"{d.code} {d.message}" for d in caught.value.diagnostics)


def test_a_net_without_a_map_as_input() -> None:
    text = "seg 1\nnet A() {\n  input x: f32[N, 4]\n  output y = x -> linear(3) @fc\n}\n"
    assert "E0112 `A` has no input with height and width" in refused(text)


def test_an_input_that_does_not_exist() -> None:
    assert "E0105" in refused(GATED, input="masks")


def test_a_size_that_is_not_accepted() -> None:
    with pytest.raises(SegError) as caught:
        of(examine("unet"), size=(8, 32))
    assert [d.code for d in caught.value.diagnostics] == ["E3014"]


@pytest.mark.parametrize("pixel", [(4, 0), (0, 5), (99, 99)])
def test_a_pixel_outside_of_the_map(pixel: tuple[int, int]) -> None:
    analysis = of(examine("unet"), size=(64, 80))
    rows = chosen(analysis.graph, ["down4.maxpool_conv.1"])
    with pytest.raises(SegError) as caught:
        reach_report(analysis, rows, at_pixel=pixel)
    assert "4x5" in caught.value.diagnostics[0].message
    assert caught.value.diagnostics[0].code == "E0105"


def test_a_pixel_of_what_is_no_map() -> None:
    analysis = of(examine("vgg16"), size=(64, 64))
    with pytest.raises(SegError, match="no map"):
        reach_report(analysis, chosen(analysis.graph, ["logits"]), at_pixel=(0, 0))


def test_pixels_belong_to_the_chosen_input() -> None:
    first, second = (analysed(GATED, input=name) for name in ("x", "mask"))
    fields = []
    for analysis in (first, second):
        (row,) = reach_report(analysis, chosen(analysis.graph, ["y"])).stages
        fields.append(row.axes[0].reach.rf_max)
    assert fields == [3, 1]


def test_warnings_are_those_on_the_way_to_the_stages() -> None:
    analysis = of(examine("unet_resnet34"))
    kinds = {w.kind for w in reach_report(analysis, stages(analysis.graph)).warnings}
    assert "misaligned" in kinds
    encoder = chosen(analysis.graph, ["encoder.layer4"])
    assert "misaligned" not in {w.kind for w in reach_report(analysis, encoder).warnings}


def test_the_lines_are_those_of_the_file_of_the_net() -> None:
    analysis = of(examine("deeplabv3"))
    report = reach_report(analysis, chosen(analysis.graph, ["backbone.layer4", "classifier.0"]))
    layer, head = report.stages
    assert layer.line is not None
    assert head.line is not None
    assert layer.scope[0] == "backbone"
    assert head.scope == ("classifier.0",)


def test_without_a_period_the_fields_away_from_the_border_are_measured() -> None:
    text = (
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n"
        "  output y = x -> conv(1, 3, pad=1) @c -> resize(to=[9, 9], mode=bilinear)\n}\n"
    )
    analysis = analysed(text, size=(15, 15))
    (row,) = reach_report(analysis, chosen(analysis.graph, ["y"])).stages
    found = row.axes[0].reach
    assert (found.rf_min, found.rf_max, found.period) == (3, 4, None)
