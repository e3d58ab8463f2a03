"""What is found suspicious, with its causes; offsets that are derived; paths that are told."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl import load
from segdsl.analysis.reach.coverage import needed
from segdsl.analysis.reach.facts import NoValueError, fact
from segdsl.analysis.reach.findings import Finding, findings
from segdsl.analysis.reach.holes import idle_taps
from segdsl.analysis.reach.support import unused
from segdsl.analysis.reach.tables import reach
from segdsl.analysis.reach.trace import Side, path
from segdsl.analysis.reach.wiring import ReachError, wire, wire_at
from segdsl.ir import Graph
from segdsl.ops.combine import Crop
from segdsl.program import examine_source
from segdsl.source import Source
from segdsl.taps import Sliding
from segdsl.types import Window
from tests.support.reach_nets import graph_of, output_of


def only(found: list[Finding], kind: str) -> Finding:
    (item,) = (f for f in found if f.kind == kind)
    return item


def kinds(found: list[Finding]) -> set[str]:
    return {item.kind for item in found}


def test_a_plain_network_has_no_findings() -> None:
    graph = graph_of("output y = x -> conv(4, 3, pad=1) -> relu -> conv(4, 3, pad=1)")
    assert findings(graph) == []
    assert findings(graph, {"H": 16, "W": 9}) == []


def test_half_pixel_upsampling_by_32_is_off_by_15_and_a_half() -> None:
    down = " -> conv(4, 3, stride=2, pad=1)" * 5
    graph = graph_of(f"output y = x{down} -> resize(like=x, mode=bilinear)")
    item = only(findings(graph), "misaligned")
    assert item.axes == (0, 1)
    assert item.numbers["offset"] == Fraction(31, 2)
    assert "align_corners=true" in item.message
    corners = graph_of(f"output y = x{down} -> resize(like=x, mode=bilinear, align_corners=true)")
    assert findings(corners, {"H": 65, "W": 97}) == []
    table = reach(corners, at={"H": 65, "W": 97})
    assert table.axis(output_of(corners), 0).assumes == "H % 32 == 1"


def test_a_misaligned_merge_names_the_crop() -> None:
    body = "a = x -> conv(4, 5)\n  output y = a + (x -> crop(like=a, offset=0))"
    item = only(findings(graph_of(body)), "misaligned")
    assert item.numbers["offset"] == 2
    assert item.numbers["crop"] == 2
    assert findings(graph_of(body.replace("offset=0", "offset=2"))) == []


def test_a_misaligned_merge_that_no_crop_mends() -> None:
    body = "output y = x + (x -> conv(4, 3, stride=2, pad=1) -> resize(2x, mode=nearest))"
    item = only(findings(graph_of(body)), "misaligned")
    assert (item.numbers["offset"], item.numbers["crop"]) == (Fraction(1, 2), None)


def test_a_crop_that_differs_from_the_derived_one() -> None:
    body = "a = x -> conv(4, 5)\n  output y = a * (x -> crop(like=a, offset=[2, 1]))"
    item = only(findings(graph_of(body)), "crop_offset")
    assert item.axes == (1,)
    assert item.code == "W7004"
    assert (item.numbers["written"], item.numbers["derived"]) == (1, 2)


def test_empty_phases() -> None:
    found = findings(graph_of("output y = x -> conv_transpose(4, [2, 3], stride=3)"))
    item = only(found, "empty_phase")
    assert item.axes == (0,)
    assert item.numbers["phases"] == (2,)
    assert item.numbers["period"] == 3


def test_gridding_names_the_missing_pixels_and_the_operator() -> None:
    item = only(findings(graph_of("z = x -> conv(4, 3, dilation=2)\n  output y = z")), "gridding")
    assert item.numbers["density"] == Fraction(3, 5)
    assert item.numbers["missing"] == (1, 3)
    assert "never 1, 3 from its first" in item.message
    assert len(item.causes) == 1
    filled = graph_of("output y = x -> conv(4, 3, dilation=2) -> conv(4, 3)")
    assert kinds(findings(filled)) == set()


@pytest.mark.parametrize(("body", "residues", "period"), [
    ("output y = x -> resize(0.25, mode=bilinear)", (0, 3), 4),
    ("output y = x -> conv(4, 1, stride=3)", (1, 2), 3),
    ("output y = x -> max_pool(3, stride=2, pad=1, dilation=2)", (0,), 2),
])  # fmt: skip
def test_unread_pixels(body: str, residues: tuple[int, ...], period: int) -> None:
    graph = graph_of(body)
    item = only(findings(graph), "unused_input")
    assert item.numbers["residues"] == residues
    assert item.numbers["period"] == period
    assert item.causes == (output_of(graph).node,)
    at = {"H": 24, "W": 24}
    expected = [i for i in range(6, 18) if i % period in residues]
    never = unused(wire_at(graph, at), [output_of(graph)], 0)
    assert [i for i in range(6, 18) if any(a <= i <= b for a, b in never)] == expected


def test_a_skip_reads_what_a_stride_leaves_out() -> None:
    graph = graph_of("output y = (x -> conv(4, 1, stride=2)) + (x -> conv(4, 3, stride=2, pad=1))")
    assert needed(wire(graph), 0, graph.outputs)["x"].everywhere
    assert "unused_input" not in kinds(findings(graph))


def test_leftover_pixels() -> None:
    graph = load("vgg16")
    found = [f for f in findings(graph) if f.kind == "dropped_pixels"]
    assert [f.numbers["size"] for f in found] == [33, 34, 36, 40, 48]
    assert found[0].numbers["strict"] == "H = 32k, k >= 1"
    assert "dropped_pixels" not in kinds(findings(graph, {"H": 224, "W": 224}))
    found = findings(graph_of("output y = x -> max_pool(2)"), {"H": 9, "W": 8})
    assert kinds(found) == {"unused_input", "dropped_pixels"}
    assert only(found, "unused_input").axes == (0,)
    assert only(found, "unused_input").numbers["ranges"] == ((8, 8),)


def test_fields_wider_than_the_input() -> None:
    graph = load("resnet", depth=50)
    assert only(findings(graph, {"H": 256, "W": 512}), "wider_than_input").axes == (0,)
    assert findings(graph, {"H": 448, "W": 448}) == []
    assert only(findings(graph, {"H": 97, "W": 97}), "wider_than_input").numbers["size"] == 97


def test_a_dilated_branch_that_reads_only_padding() -> None:
    body = "z = x -> conv(4, 3, pad=36, dilation=36)\n  output y = z + x"
    found = findings(graph_of(body), {"H": 33, "W": 40})
    item = next(f for f in found if "dilation" in f.numbers)
    assert item.axes == (0,)
    assert item.numbers["size"] == 33


@pytest.mark.parametrize(("size", "idle"), [
    (8, (0, 1, 3, 4)), (9, (0, 4)), (16, (0, 4)), (17, ()),
])  # fmt: skip
def test_outer_taps_that_read_only_padding(size: int, idle: tuple[int, ...]) -> None:
    body = "z = x -> conv(4, 5, pad=16, dilation=8)\n  output y = z + x"
    found = findings(graph_of(body), {"H": size, "W": 40})
    told = [f for f in found if "dilation" in f.numbers]
    assert [f.numbers["taps"] for f in told] == ([idle] if idle else [])
    assert all(f.axes == (0,) and f"{len(idle)} of the 5 taps" in f.message for f in told)


@given(
    window=st.builds(
        Window, st.integers(1, 5), st.integers(1, 4), st.integers(0, 20), st.integers(0, 20),
        st.integers(1, 9),
    ),
    size=st.integers(1, 20),
    places=st.integers(1, 12),
)  # fmt: skip
def test_idle_taps_are_those_that_no_window_reads(window: Window, size: int, places: int) -> None:
    reading = {
        tap
        for y in range(places)
        for tap, place in enumerate(Sliding(window=window).indices(y))
        if 0 <= place < size
    }
    expected = tuple(tap for tap in range(window.kernel) if tap not in reading)
    assert idle_taps(Sliding(window=window), size, places) == expected


def test_the_path_to_an_end_adds_up() -> None:
    graph = load("unet", form="valid")
    value = graph.stages["scores"]
    table = reach(graph)
    sides: tuple[Side, Side] = ("lo", "hi")
    state = table.axis(value, 0)
    assert state.by_phase is not None
    for side in sides:
        for phase in (0, 5, 15):
            steps = path(table, value, 0, side, phase)
            ends = state.by_phase[phase]
            assert ends is not None
            end = ends[0 if side == "lo" else 1]
            assert steps[0].bound == end
            assert steps[-1].index == end
            assert sum(step.gain for step in steps) == end - (92 + phase)


def test_paths_need_a_local_field() -> None:
    graph = graph_of("output y = x -> global_avg_pool")
    with pytest.raises(ReachError, match="no periodic local field"):
        path(reach(graph), output_of(graph), 0, "lo")


def refused(body: str) -> str:
    text = f"seg 1\nnet A() {{\n  input x: f32[N, 4, H, W] where H >= 32, W >= 32\n  {body}\n}}\n"
    (item,) = examine_source(Source("a.seg", text), None).diagnostics
    assert item.code == "E2017"
    return item.message


@pytest.mark.parametrize(("body", "words"), [
    ("a = x -> conv(4, 3, stride=2, pad=1) -> resize(2x, mode=bilinear)\n"
     "  b = x -> conv(4, 5)\n  output y = a -> crop(like=b, offset=auto)", "5/2 rows"),
    ("a = x -> conv(4, 3)\n  output y = a -> crop(like=x, offset=auto)", "-1 rows"),
    ("a = x -> max_pool(2)\n  output y = x -> crop(like=a, offset=auto)", "advances 1 input pixel"),
    ("a = x -> conv(4, 3, stride=2, pad=1) -> resize(like=x, mode=nearest)\n"
     "  output y = a -> crop(like=x, offset=auto)", "depends on the input size"),
    ("a = x + (x -> pad([1, 1, 0, 0]) -> crop(to=[32, 32], offset=0) -> resize(like=x, "
     "mode=nearest))\n  output y = a -> crop(like=x, offset=auto)", "no fixed place"),
])  # fmt: skip
def test_automatic_offsets_that_do_not_exist(body: str, words: str) -> None:
    assert words in refused(body)


def test_automatic_offsets_may_differ_by_axis() -> None:
    graph = graph_of("a = x -> conv(4, [3, 7])\n  output y = x -> crop(like=a, offset=auto)")
    (crop,) = (node.op for node in graph.nodes() if isinstance(node.op, Crop))
    assert crop.offset == (1, 3)


def asked(graph: Graph, words: str) -> object:
    return fact(reach(graph), output_of(graph), words.split("."))


def test_facts_that_have_no_single_value() -> None:
    unet = load("unet")
    with pytest.raises(NoValueError, match=r"188\.\.204 \(period 16\)"):
        asked(unet, "size")
    uneven = graph_of("output y = x -> conv(4, [3, 5])")
    with pytest.raises(NoValueError, match="3 along the height and 5 along the width"):
        asked(uneven, "size")
    assert asked(uneven, "w.size") == 5
    assert (asked(uneven, "min"), asked(uneven, "max")) == (3, 5)
    pooled = graph_of("output y = x -> global_avg_pool")
    with pytest.raises(NoValueError, match="stat edges only"):
        asked(pooled, "size")
    with pytest.raises(NoValueError, match="the whole axis"):
        asked(pooled, "full.size")
    assert asked(pooled, "is_global") is True
    with pytest.raises(NoValueError, match="ratio of a resize"):
        asked(graph_of("output y = x -> resize(to=7, mode=bilinear)"), "size")


def test_questions_without_an_answer() -> None:
    graph = graph_of("output y = x -> conv(4, 3)")
    with pytest.raises(ReachError, match="no map `z`"):
        reach(graph, "z")
    with pytest.raises(ReachError, match="not given"):
        wire_at(graph, {"H": 8})
    with pytest.raises(ReachError, match="not accepted"):
        wire_at(graph, {"H": 8, "W": 2})
    flat = graph_of("output y = x -> linear(4)", given="f32[N, 4]")
    with pytest.raises(ReachError, match="no input with height and width"):
        reach(flat)
