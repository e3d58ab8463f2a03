"""Tags, sizes that taps rest on, and what does not repeat."""

from __future__ import annotations

import numpy as np
import pytest

from segdsl import load
from segdsl.analysis.reach.concrete import fields, interior
from segdsl.analysis.reach.effective import effective
from segdsl.analysis.reach.periodic import Phases, Unknown
from segdsl.analysis.reach.spans import DENSE, UNTRACKED, Span, contains, union
from segdsl.analysis.reach.tables import AxisReach, FullReach, reach
from segdsl.ir import Graph, Node, Value
from segdsl.ops.conv import Conv
from segdsl.ops.elementwise import Add
from segdsl.ops.ports import Input
from segdsl.symbolic import symbol
from segdsl.types import Pair, Sides
from tests.support.reach_nets import graph_of, output_of


def along(body: str, axis: int = 0) -> AxisReach:
    graph = graph_of(body)
    return reach(graph).axis(output_of(graph), 0 if axis == 0 else 1)


@pytest.mark.parametrize(("body", "tags", "via"), [
    ("output y = x -> conv(4, 3)", ("local",), ()),
    ("output y = x -> group_norm(2)", ("global", "stat"), ("stat",)),
    ("output y = x -> softmax(channels)", ("local",), ()),
    ("output y = x -> softmax(height)", ("global", "stat"), ("stat",)),
    ("output y = x * (x -> global_avg_pool -> sigmoid)", ("gate", "global", "stat"), ("gate",)),
    ("output y = x + (x -> global_avg_pool -> resize(like=x, mode=nearest))",
     ("global", "stat"), ("stat",)),
    ("output y = x -> adaptive_avg_pool(3)", ("adaptive",), ("adaptive",)),
    ("p = x -> max_pool(2, indices=true)\n  output y = p.values -> max_unpool(p.indices)",
     ("index",), ("index",)),
    ("output y = x -> reshape([0, 4, -1]) -> permute([0, 2, 1])", ("attend", "global"),
     ("attend",)),
])  # fmt: skip
def test_tags(body: str, tags: tuple[str, ...], via: tuple[str, ...]) -> None:
    found = along(body)
    assert (found.tags, found.via) == (tags, via)
    assert found.is_global == ("global" in tags)
    assert (found.full == "global") == ("global" in tags)


def test_tags_are_per_axis() -> None:
    body = "output y = x -> softmax(height)"
    assert along(body, 0).is_global
    assert along(body, 1).tags == ("local",)
    assert along(body, 1).rf_max == 1


def test_the_index_path_of_an_unpooling_is_in_full_only() -> None:
    body = (
        "p = x -> conv(4, 3, pad=1) -> max_pool(2, indices=true)\n"
        "  output y = p.values -> conv(4, 1) -> max_unpool(p.indices)"
    )
    found = along(body)
    assert found.by_phase == ((-1, 2), (-1, 2))
    assert found.full is None  # the value path sees the same window
    wider = along(
        "p = x -> conv(4, 5, pad=2) -> max_pool(2, indices=true)\n"
        "  output y = x -> max_pool(2) -> max_unpool(p.indices)"
    )
    assert wider.by_phase == ((0, 1), (0, 1))
    assert wider.full == FullReach(6, 6, ((-2, 3), (-2, 3)))


@pytest.mark.parametrize(("body", "reason"), [
    ("output y = x -> resize(to=7, mode=bilinear)", "ratio of a resize"),
    ("output y = x -> resize(like=x, mode=bilinear) -> resize(to=9, mode=nearest)", "ratio"),
    ("output y = x -> adaptive_avg_pool(3)", "adaptive edges only"),
    ("output y = x -> global_avg_pool", "stat edges only"),
])  # fmt: skip
def test_what_has_no_period_says_why(body: str, reason: str) -> None:
    found = along(body)
    assert found.reason is not None
    assert reason in found.reason
    assert found.by_phase is None
    assert found.period is None


def test_fields_that_rest_on_a_class_of_sizes() -> None:
    body = "output y = x -> max_pool(3, stride=2, pad=1) -> resize(like=x, mode=nearest)"
    graph = graph_of(body)
    value = output_of(graph)
    even = reach(graph).axis(value, 0)
    assert even.assumes == "H % 2 == 0"
    odd = reach(graph, at={"H": 7, "W": 8})
    assert odd.axis(value, 0).reason is not None
    assert odd.axis(value, 1).assumes == "W % 2 == 0"
    certain = graph_of(body, given="f32[N, 4, H, W] where H % 2 == 0, W % 2 == 0")
    assert reach(certain).axis(output_of(certain), 0).assumes is None


def test_periods_have_a_cap() -> None:
    found = along("output y = x -> conv_transpose(4, 2, stride=64) -> conv_transpose(4, 2, "
                  "stride=65)")  # fmt: skip
    assert found.reason is not None
    assert "4,096" in found.reason


def test_the_interior_of_a_unet() -> None:
    graph = load("unet", form="same")
    value = graph.stages["scores"]
    state = reach(graph).line(value, 0).local
    field = fields(graph, {"H": 512, "W": 512}).local(value, 0)
    assert isinstance(state, Phases)
    assert field is not None
    assert interior(field, state) == (94, 417)


def test_effective_profiles_fill_the_fields() -> None:
    graph = load("unet", form="valid")
    value = graph.stages["scores"]
    table = reach(graph)
    state = table.line(value, 0).local
    spread = effective(table.wiring, value, 0)
    assert isinstance(state, Phases)
    for y in range(16):
        span, profile = state.at(y), spread.at(y)
        assert span is not None
        assert profile is not None
        assert (profile.lo, len(profile.weights)) == (span.lo, span.length)
        assert profile.weights.sum() == pytest.approx(1)
        assert (profile.weights > 0).all()


def test_long_chains_with_skips() -> None:
    graph = Graph("chain")
    shape = (symbol("N"), 4, symbol("H"), symbol("W"))
    last = before = graph.add(Node("x", Input(shape)))
    for i in range(5000):
        conv = graph.add(Node(f"c{i}", Conv(4, Pair(3, 3), pad=Sides(1, 1, 1, 1))), [last])
        last, before = graph.add(Node(f"a{i}", Add()), [conv, before]), last
    found = reach(graph).axis(last, 0)
    assert found.rf_max == 10001
    assert found.density == 1


def test_unions_of_spans() -> None:
    assert union([Span(0, 2), Span(3, 5)]) == Span(0, 5)
    gap = union([Span(0, 2), Span(4, 5)])
    assert (gap.lo, gap.hi, gap.pixels) == (0, 5, 5)
    assert union([gap, Span(3, 3)]) == Span(0, 5, DENSE)
    far = union([Span(0, 0), Span(1 << 17, 1 << 17)])
    assert far.bits == UNTRACKED
    assert far.pixels is None
    assert contains(Span(0, 5), gap)
    assert not contains(gap, Span(0, 5))
    assert contains(gap, Span(1, 2))
    assert not contains(far, Span(0, 0))


def test_paths_of_different_steps_do_not_merge() -> None:
    graph = graph_of("a = x -> max_pool(2)\n  output y = x + a", given="f32[N, 4, H, W]")
    found = reach(graph).line(output_of(graph), 0).local
    assert isinstance(found, Unknown)
    assert "advance 1 and 2 input pixels" in found.reason


def test_other_inputs_are_no_pixels() -> None:
    graph = graph_of("output y = x + z", given="f32[N, 4, H, W]\n  input z: f32[N, 4, H, W]")
    for name in ("x", "z"):
        concrete = fields(graph, {"H": 4, "W": 4}, name)
        field = concrete.local(output_of(graph), 0)
        assert field is not None
        assert np.array_equal(field.lo, np.arange(4))
        other = Value("z" if name == "x" else "x")
        assert concrete.local(other, 0) is None
