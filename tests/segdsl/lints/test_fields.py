"""The warnings say what the findings say: the findings have tests of their own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from segdsl.analysis.reach.findings import findings
from segdsl.fixes import apply
from segdsl.program import examine_source
from segdsl.source import Source
from tests.support.grown import Grown, programs
from tests.support.linted import codes, lint, net

KINDS = ("W7002", "W7004", "W7006", "W7007", "W7008", "W7009")


@given(programs())
@settings(max_examples=40)
def test_every_finding_is_told_and_nothing_else(grown: Grown) -> None:
    program = examine_source(Source("grown.seg", grown.text), None, lint=True)
    if program.failed:
        return
    assert program.graph is not None
    found = {f.code for f in findings(program.graph, accepted=program.accepted)}
    assert {d.code for d in program.diagnostics} & set(KINDS) == found


def test_rates_are_those_on_the_way() -> None:
    body = [
        "a = image -> conv(4, 3, pad=2, dilation=2) @a -> conv(4, 3, pad=6, dilation=6) @b",
        "b = image -> conv(4, 5, pad=6, dilation=3) @c",
        "output y = a",
        "output z = b -> conv(4, 1) @d",
    ]
    first, second = (d for d in lint(net(*body)) if d.code == "W7002")
    assert first.message == "rates 2, 6 leave gaps (gridding) in the receptive field"
    assert [label.text for label in first.labels] == ["rate 6"]
    assert first.span is not None
    assert first.span.text == "dilation=2"
    assert second.message == "the receptive field of `z` has holes"


def test_no_hole_without_a_common_factor() -> None:
    rates = [1, 2, 5]
    chain = " -> ".join(f"conv(4, 3, pad={r}, dilation={r}) @c{r}" for r in rates)
    assert codes(net(f"output y = image -> {chain}")) == []


@pytest.mark.parametrize(("written", "said"), [(2, []), (1, ["W7004"]), (0, ["W7004"])])
def test_a_crop_beside_its_map(written: int, said: list[str]) -> None:
    image = "input image: f32[N, 3, H, W] where H >= 5, W >= 5"
    text = net(
        "deep = image -> conv(8, 5) @a",
        f"output y = image -> crop(like=deep, offset={written})",
        image=image,
    )
    assert codes(text) == said
    for found in lint(text):
        mended = apply(text, found.helps[0].edits)
        assert "offset=2)" in mended
        assert codes(mended) == []


def test_a_place_that_is_used_often_is_told_once() -> None:
    head = "block Half(x: [N, C, h, w]) -> (y: [N, C, _, _])"
    block = f"{head} {{\n  y = x -> conv(C, 1, stride=2) @c\n}}\n"
    body = "output y = image -> Half @a -> Half @b -> Half @c"
    found = [d for d in lint(net(body, before=block)) if d.code == "W7008"]
    assert len(found) == 1


def test_library_code_is_told_at_the_call() -> None:
    text = net(
        "output y = image -> ConvBNReLU(8, dilation=2) @a",
        before="from std.blocks import ConvBNReLU\n",
    )
    (found,) = lint(text)
    assert found.code == "W7002"
    assert found.span is not None
    assert found.span.source.name == "net.seg"
    assert codes(text.replace("@a", "@a  # allow(W7002): a test")) == []


@pytest.mark.parametrize(
    ("size", "said"),
    [((64, 64), []), ((16, 16), ["W7003"] * 2), ((64, 16), ["W7003"] * 2)],
)
def test_padding_only_at_a_size(size: tuple[int, int], said: list[str]) -> None:
    body = "output y = image -> conv(4, 17, pad=8) @a -> conv(4, 3, pad=17, dilation=17) @b"
    assert codes(net(body), size) == said


def test_a_size_that_is_refused() -> None:
    image = "input image: f32[N, 3, H, W] where H % 2 == 0, W % 2 == 0"
    text = net("output y = image -> max_pool(2)", image=image)
    assert codes(text, (9, 8)) == ["E3014"]
    assert codes(text, (8, 8)) == []


def test_a_net_without_a_map_has_no_field() -> None:
    assert (
        codes("seg 1\nnet T() {\n  input x: f32[N, 8]\n  output y = x -> linear(2) @y\n}\n") == []
    )
