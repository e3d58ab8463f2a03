"""Explanations add up to the field, whatever the network."""

from __future__ import annotations

from fractions import Fraction

import pytest

from segdsl.analysis.reach.tables import Reach, reach
from segdsl.library import stock_names
from segdsl.program import examine, parse
from segdsl.reach_report.explain import Explanation, as_json, as_text, explanation, explanations
from segdsl.reach_report.stages import chosen, every_value, stages


def table(spec: str, **settings: object) -> Reach:
    program = examine(spec, settings=settings)  # type: ignore[arg-type]
    assert program.graph is not None
    return reach(program.graph, accepted=program.accepted)


def check(found: Explanation) -> None:
    assert found.field == 1 + found.left + found.right + found.apart


@pytest.mark.parametrize("spec", stock_names())
def test_shares_add_up_to_the_field(spec: str) -> None:
    fields = table(spec)
    told, every = 0, stages(fields.graph)
    for stage in every[:: max(1, len(every) // 60)]:  # deep nets repeat themselves
        for axis in (0, 1):
            found = explanation(fields, stage.name, stage.value, axis)
            if found.reason is None:
                check(found)
                assert found.field == fields.axis(stage.value, axis).rf_max
                told += 1
    assert told > 5


def test_every_node_of_a_decoder() -> None:
    fields = table("unet", form="valid")
    for stage in every_value(fields.graph):
        check(explanation(fields, stage.name, stage.value, 0))


def test_a_chain_by_hand() -> None:
    graph = parse(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n"
        "  output y = x -> conv(1, 3, pad=1) @a -> conv(1, 7, stride=2, pad=3) @b -> relu"
        " -> conv(1, 3, pad=2, dilation=2) @c\n}\n"
    )
    (stage,) = chosen(graph, ["y"])
    found = explanation(reach(graph), "y", stage.value, 0)
    rows = [(s.node, s.op, s.jump, s.left, s.right, s.field) for s in found.shares]
    one = Fraction(1)
    assert rows == [
        ("a", "conv 3", one, one, one, 3),
        ("b", "conv 7 stride 2", one, 3 * one, 3 * one, 9),
        ("c", "conv 3 dilation 2", 2 * one, 4 * one, 4 * one, 17),
    ]
    assert found.field == 17


def test_branches_of_a_merge_are_told() -> None:
    fields = table("resnet", depth=50)
    (stage,) = chosen(fields.graph, ["layer4"])
    found = explanation(fields, "layer4", stage.value, 0)
    merges = {share.node: share.branches for share in found.shares if share.branches}
    assert merges["layer4.2.add"] == (427, 363)
    assert found.field == 427


def test_paths_whose_middles_lie_apart() -> None:
    graph = parse(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n"
        "  a = x -> pad([0, 4, 0, 0]) -> crop(like=x, offset=[0, 0])\n"
        "  b = x -> pad([0, 0, 0, 4]) -> crop(like=x, offset=[0, 4])\n"
        "  output y = a + b\n}\n"
    )
    (stage,) = chosen(graph, ["y"])
    found = explanation(reach(graph), "y", stage.value, 1)
    assert found.field == 9
    assert found.apart == 8
    assert [share.branches for share in found.shares] == [(1, 1)]
    check(found)
    assert "+ 8 between the paths" in as_text(found)[0]


def test_both_axes_only_where_they_differ() -> None:
    graph = parse(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n"
        "  a = x -> conv(1, 3, pad=1) @a\n  output y = a -> conv(1, [1, 5], pad=[0, 2]) @b\n}\n"
    )
    fields = reach(graph)
    assert [e.axis for e in explanations(fields, chosen(graph, ["a"]))] == [0]
    assert [(e.axis, e.field) for e in explanations(fields, chosen(graph, ["y"]))] == [
        (0, 3),
        (1, 7),
    ]


def test_what_reads_everything_has_nothing_to_explain() -> None:
    fields = table("vgg16")
    (stage,) = chosen(fields.graph, ["logits"])
    found = explanation(fields, "logits", stage.value, 0)
    assert found.reason is not None
    assert as_text(found) == [f"`logits`: nothing to explain: {found.reason}"]


def test_the_json_says_the_same() -> None:
    fields = table("fcn8s")
    (stage,) = chosen(fields.graph, ["score"])
    found = explanation(fields, "score", stage.value, 0)
    data = as_json(found)
    assert data["field"] == 1 + sum(Fraction(str(data[k])) for k in ("left", "right", "apart"))
    assert isinstance(data["shares"], list)
    assert len(data["shares"]) == len(found.shares)
