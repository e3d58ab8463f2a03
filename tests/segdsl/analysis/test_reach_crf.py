"""The reach of `mean_field`, pixel by pixel, against bumped pixels of the emitted module."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.peers import need

torch = need("torch")

import segdsl  # noqa: E402
from compiler.to_torch import to_torch  # noqa: E402
from segdsl.analysis.reach.support import pixel  # noqa: E402
from segdsl.analysis.reach.wiring import wire_at  # noqa: E402
from segdsl.ir import Value  # noqa: E402

CASES = [
    "[gaussian(sxy=3), bilateral(g, 9, 40, norm=none)], method=window, window=3, iterations=2",
    "[bilateral(g, 9, 40, norm=after)], method=window, window=5, iterations=1",
    "[bilateral(g, 9, 40, norm=symmetric)], method=window, window=3, iterations=2",
    "[bilateral(g, 9, 40, norm=before), gaussian(2)], method=window, window=3, iterations=1",
    "[pairwise(g, 40, norm=mean)], method=window, window=3, iterations=1",
    "[bilateral(g, 9, 40, norm=after)], method=window, window=3, blur=2, iterations=1",
    "[bilateral(g, 9, 40)], method=window, window=3, blur=2, iterations=2",
    "[pairwise(g, 60)], method=window, window=1, blur=4, iterations=1",
    "[bilateral(g, 9, 40)], method=window, window=3, include_self=false, iterations=2",
    "[bilateral(g, 9, 40)], method=exact, tail=0, iterations=1",
    "[bilateral(g, 9, 40)], method=exact, iterations=0",
    "[gaussian(5)], method=exact, tail=0, iterations=1",
]


def moved(module: Any, values: dict[str, Any], name: str, height: int, width: int) -> Any:
    """`[h, w, height, width]`: which output pixels move when a pixel of one input is bumped."""
    before = module(**values)
    found = np.zeros((height, width, height, width), dtype=bool)
    for y in range(height):
        for x in range(width):
            bumped = {**values, name: values[name].clone()}
            bumped[name][:, 0, y, x] += 30.0 if name == "g" else 1.5
            found[:, :, y, x] = ((module(**bumped) - before).abs().amax(1)[0] > 0).numpy()
    return found


SIZES = [
    *((call, 9, 7) for call in CASES),
    *((call, 8, 10) for call in CASES if "blur" in call),
]
"""A grid of cells fits the map, or lacks pixels on both sides."""


@pytest.mark.parametrize(("call", "height", "width"), SIZES)
def test_exactly_the_pixels_that_are_stated(call: str, height: int, width: int) -> None:
    guided = "(g, " in call
    guide = "  input g: f32[N, 2, H, W]\n" if guided else ""
    inputs = f"  input s: f32[N, 3, H, W]\n{guide}"
    graph = segdsl.parse(f"seg 1\nnet T() {{\n{inputs}  output y = s -> mean_field({call})\n}}\n")
    (output,) = graph.outputs
    module = to_torch(graph).double().eval()
    generator = torch.Generator().manual_seed(0)
    values = {"s": torch.randn(1, 3, height, width, generator=generator, dtype=torch.float64)}
    if guided:
        noise = torch.rand(1, 2, height, width, generator=generator, dtype=torch.float64)
        values["g"] = 20 * noise
    for name in values:
        wiring = wire_at(graph, {"H": height, "W": width}, name)
        seen = moved(module, values, name, height, width)
        for y in range(height):
            for x in range(width):
                stated = np.zeros((height, width), dtype=bool)
                support = pixel(wiring, Value(output), y, x)
                if support.rows is not None and support.cols is not None:
                    box = (
                        slice(support.rows[0], support.rows[1] + 1),
                        slice(support.cols[0], support.cols[1] + 1),
                    )
                    stated[box] = support.mask
                assert (stated == seen[y, x]).all(), (name, y, x)
