"""Strict sizes: against counting what windows and crops leave over, size by size."""

from __future__ import annotations

from typing import Any

import pytest

from segdsl.analysis.shapes import shapes
from segdsl.analysis.strict import strict_sizes
from segdsl.ir import Graph, Value
from segdsl.program import examine, examine_source
from segdsl.source import Source
from segdsl.taps import Sliding


def dropped(graph: Graph, size: int) -> int:
    """Rows behind the last window of each strided operator, beyond its usual gaps."""
    types = shapes(graph, {"N": 1, "H": size, "W": size})
    lost = 0
    for node in graph.nodes():
        inputs = tuple(types[value] for value in graph.operands(node.name))
        result = types[Value(node.name)]
        if not inputs or inputs[0].rank != 4 or result.rank != 4:
            continue
        taps = node.op.taps(0, 0, *inputs)
        if isinstance(taps, Sliding) and taps.window.stride > 1:
            before, after = inputs[0].height, result.height
            assert isinstance(before, int)
            assert isinstance(after, int)
            last = max(taps.indices(after - 1))
            gap = max(0, taps.window.stride - taps.window.extent)
            lost += max(0, before - 1 - last - gap)
    return lost


CASES: list[tuple[str, dict[str, Any], str | None]] = [
    ("unet", {}, "H = 16k, k >= 1"),
    ("unet", {"form": "valid"}, None),
    ("unet", {"form": "same"}, None),
    ("vgg16", {}, "H = 32k, k >= 1"),
    ("tiramisu", {"depth": 56}, "H = 32k, k >= 1"),
    ("resnet", {}, None),
    ("fcn8s", {}, None),
]


@pytest.mark.parametrize(("spec", "settings", "expected"), CASES)
def test_stock_specs(spec: str, settings: dict[str, Any], expected: str | None) -> None:
    program = examine(spec, settings=settings)
    assert program.graph is not None
    found = strict_sizes(program.graph, program.accepted)
    assert str(found["H"]) == expected if expected else "H" not in found


@pytest.mark.parametrize(
    "body",
    [
        "max_pool(2)",
        "max_pool(3, stride=2)",
        "max_pool(3, stride=2, pad=1)",
        "max_pool(2, ceil=true)",
        "conv(1, 1, stride=3) @c",
        "conv(1, 3, stride=4, pad=1) @c",
        "conv(1, 3, stride=5, pad=2, dilation=2) @c",
        "max_pool(2) -> max_pool(3)",
        "conv(1, 4, stride=3) @c -> max_pool(2)",
    ],
)
def test_nothing_is_dropped_at_exactly_these(body: str) -> None:
    text = (
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W] where H >= 20, W >= 20\n"
        f"  output y = x -> {body}\n}}\n"
    )
    program = examine_source(Source("a.seg", text), None)
    assert program.graph is not None, program.diagnostics
    accepted = program.accepted["H"]
    found = strict_sizes(program.graph, program.accepted).get("H", accepted)
    for size in range(20, 90):
        assert (size in found) == (dropped(program.graph, size) == 0), size
        assert size not in found or size in accepted


def test_centred_crops_cut_evenly() -> None:
    text = (
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W] where H >= 8, W >= 8\n"
        "  small = x -> conv(1, 3, stride=2) @c\n"
        "  output y = x -> crop(like=small, offset=centre)\n}\n"
    )
    program = examine_source(Source("a.seg", text), None)
    assert program.graph is not None, program.diagnostics
    found = strict_sizes(program.graph, program.accepted)["H"]
    for size in range(8, 60):
        small = (size - 3) // 2 + 1
        assert (size in found) == (size % 2 == 1 and (size - small) % 2 == 0)
