"""The effective field with uniform weights, as a table."""

from __future__ import annotations

import pytest

from segdsl.analysis.reach.tables import reach
from segdsl.program import parse
from segdsl.reach_report.influence import Gradients, Marginal, as_json, as_text, influence
from segdsl.reach_report.stages import chosen


@pytest.mark.parametrize(
    ("layers", "std", "width"), [(5, 1.826, 9), (10, 2.582, 11), (20, 3.651, 15), (40, 5.164, 21)]
)
def test_chains_of_three_by_three(layers: int, std: float, width: int) -> None:
    graph = parse(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n"
        f"  output y = x -> repeat {layers} as i {{ conv(1, 3, pad=1) @c.{{i}} }}\n}}\n"
    )
    (stage,) = chosen(graph, ["y"])
    row = influence(reach(graph), stage)
    assert row.fields == (2 * layers + 1,) * 2
    (h, w) = row.uniform
    assert h == w
    assert h is not None
    assert h.std == pytest.approx(std, abs=5e-4)
    assert h.widths[3] == width


def test_axes_are_apart_where_they_differ_and_gradients_stand_below() -> None:
    graph = parse(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n"
        "  output y = x -> conv(1, [3, 5], pad=[1, 2]) @c\n}\n"
    )
    (stage,) = chosen(graph, ["y"])
    spread = Marginal(1.0, (1, 1, 3, 3, 3))
    gradients = Gradients((4, 4), (9, 9), 20, "initial", (spread, spread), (1, 1, 3, 3, 5))
    row = influence(reach(graph), stage, gradients)
    text = "\n".join(as_text([row]))
    for part in ("uniform weights h", "uniform weights w", "gradients h", "gradients, square"):
        assert part in text
    assert "20 random inputs of 9x9, initial weights" in text
    data = as_json(row)
    assert data["uniform"] == {
        "h": {"std": 0.816, "widths": [1, 1, 3, 3, 3]},
        "w": {"std": 1.414, "widths": [1, 3, 3, 5, 5]},
    }


def test_a_field_without_a_period_has_none() -> None:
    graph = parse(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n  output y = x -> global_avg_pool\n}\n"
    )
    (stage,) = chosen(graph, ["y"])
    row = influence(reach(graph), stage)
    assert row.uniform == (None, None)
    assert row.fields == (None, None)
    assert "-" in as_text([row])[4]
