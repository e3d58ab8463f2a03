"""Fields of operators that read more than a window: moved points and messages of a CRF.

The union over many inputs of what gradients and bumps of the compiled module show is the full
field, where that is bounded; the local field is what is read while nothing moves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import compiler
from segdsl.analysis.reach.concrete import fields
from segdsl.analysis.reach.support import pixel
from segdsl.analysis.reach.tables import AxisReach, FullReach, reach
from segdsl.analysis.reach.wiring import wire_at
from segdsl.ir import Graph
from tests.support.reach_nets import graph_of, output_of

DATA = Path(__file__).parents[1] / "segdsl" / "analysis" / "data" / "receptive_fields.json"
(CASE,) = (c for c in json.loads(DATA.read_text())["verified_cases"]
           if c["id"] == "deformable_bounded")  # fmt: skip
SIZE, PIXEL = CASE["input_size"], CASE["output_pixel"]

MOVED = (
    "moved = x -> conv(6, [3, 1], pad=[1, 0], bias=false) @moved -> tanh\n"
    "  output y = deform_conv(x, 4.0 * moved, 1, [3, 1], pad=[1, 0]{limit}, bias=false) @points"
)


def described(graph: Graph, axis: int = 0) -> AxisReach:
    return reach(graph).axis(output_of(graph), 0 if axis == 0 else 1)


def bounded() -> Graph:
    return graph_of(MOVED.format(limit=", offset_limit=4.0"), "f32[N, 1, H, W]")


def test_points_with_a_bound_stay_within_it() -> None:
    graph = bounded()
    found = described(graph)
    low, high = (i - PIXEL for i in CASE["nominal_interval"])
    assert found.by_phase == ((low, high),)
    assert found.tags == ("offset",)
    low, high = (i - PIXEL for i in CASE["interval_over_all_inputs"])
    assert found.full == FullReach(high - low + 1, high - low + 1, ((low, high),))
    concrete = fields(graph, {"H": SIZE, "W": 1})
    local, full = (f(output_of(graph), 0) for f in (concrete.local, concrete.full))
    assert local is not None
    assert full is not None
    assert [list(f.at(PIXEL) or ()) for f in (local, full)] == [
        CASE["nominal_interval"], CASE["interval_over_all_inputs"],
    ]  # fmt: skip
    wiring = wire_at(graph, {"H": SIZE, "W": 1})
    boxes = [pixel(wiring, output_of(graph), PIXEL, 0, local=local) for local in (True, False)]
    assert [list(box.rows or ()) for box in boxes] == [
        CASE["nominal_interval"], CASE["interval_over_all_inputs"],
    ]  # fmt: skip


def test_points_without_a_bound_are_global() -> None:
    found = described(graph_of(MOVED.format(limit=""), "f32[N, 1, H, W]"))
    assert (found.rf_min, found.rf_max, found.full) == (3, 3, "global")
    assert found.tags == ("global", "offset")
    assert found.via == ("offset",)


def read_over(module: nn.Module, trials: int) -> set[int]:
    """The rows that the pixel has a gradient for at any of some inputs and offset weights."""
    found: set[int] = set()
    generator = torch.Generator().manual_seed(0)
    for _ in range(trials):
        with torch.no_grad():
            for weight in module.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype) * 3)
        image = torch.randn(1, 1, SIZE, 1, generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(
            module(image.requires_grad_())[0, 0, PIXEL, 0], image
        )  # fmt: skip
        found |= set(gradient[0, 0, :, 0].nonzero()[:, 0].tolist())
    return found


def test_the_bound_is_what_gradients_show_over_many_inputs() -> None:
    module = compiler.to_torch(bounded()).double().eval()
    first, last = CASE["interval_over_all_inputs"]
    assert read_over(module, 400) == set(range(first, last + 1))


CRF = "output y = x -> mean_field([gaussian(sxy=3px){more}]{options})"


def crf(more: str = "", **options: Any) -> Graph:
    given = "".join(f", {name}={value}" for name, value in options.items())
    return graph_of(CRF.format(more=more, options=given), "f32[N, 2, H, W]")


def test_a_crf_over_all_pairs_is_global() -> None:
    for method in ("lattice", "exact"):
        found = described(crf(method=method))
        assert (found.rf_min, found.rf_max) == (1, 1)
        assert found.tags == ("crf", "global")
        assert found.via == ("crf",)


def bumped(module: nn.Module, size: int, at: int) -> set[int]:
    """The rows of the input whose bump moves row `at` of the result; one column."""
    image = torch.rand(1, 2, size, 1, dtype=torch.float32)
    before: Tensor = module(image)[0, :, at]
    found = set()
    for row in range(size):
        moved = image.clone()
        moved[0, 0, row] += 3
        if not torch.equal(module(moved)[0, :, at], before):
            found.add(row)
    return found


@pytest.mark.parametrize(("window", "iterations"), [(3, 1), (5, 2), (3, 3)])
def test_a_windowed_crf_reaches_as_far_as_its_messages(window: int, iterations: int) -> None:
    graph = crf(method="window", window=window, iterations=iterations)
    reached = iterations * (window // 2)
    found = described(graph)
    assert (found.rf_min, found.rf_max, found.tags) == (1, 1, ("crf",))
    assert found.full == FullReach(2 * reached + 1, 2 * reached + 1, ((-reached, reached),))
    torch.manual_seed(0)
    real = bumped(compiler.to_torch(graph).eval(), 17, 8)
    assert real == set(range(8 - reached, 9 + reached))


def test_a_windowed_crf_on_a_coarse_grid_is_known_at_a_size() -> None:
    graph = crf(method="window", window=3, iterations=1, blur=2)
    assert isinstance(found := described(graph).full, FullReach)
    assert found.reason is not None
    assert "coarse grid" in found.reason
    field = fields(graph, {"H": 17, "W": 17}).full(output_of(graph), 0)
    assert field is not None
    torch.manual_seed(0)
    module = compiler.to_torch(graph).eval()
    for at in (0, 8, 16):
        low, high = field.at(at) or (0, -1)
        assert bumped(module, 17, at) <= set(range(low, high + 1))
