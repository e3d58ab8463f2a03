"""The module of the Triton target under `torch.compile` and `torch.export`, for any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

from compiler import to_torch, to_triton  # noqa: E402
from compiler.verify.tolerances import WHOLE_NET  # noqa: E402
from compiler.weights.init import initialise  # noqa: E402
from compiler.weights.table import Weights  # noqa: E402
from segdsl.analysis.params import owners, params  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.compiler.verify.nets import narrow  # noqa: E402


def deeplabv3() -> Graph:
    return narrow(load("deeplabv3", depth=50, aux=False, classes=8), 8)


def internimage() -> Graph:
    return load("internimage", channels=16, depths=[1, 1, 1, 1], classes=8)


CALL = "call_function"
NETWORKS = {"deeplabv3": deeplabv3, "internimage": internimage}


def moved(graph: Graph) -> Weights:
    """Arrays whose offsets are not zero, unlike those of a new network."""
    draw = np.random.default_rng(0)
    found = dict(initialise(params(graph), seed=1, owners=owners(graph)))
    for path, array in found.items():
        if ".offset." in path or ".mask." in path:
            found[path] = draw.normal(0, 0.5, array.shape).astype("f4")
    return Weights(found)


@pytest.mark.parametrize(
    ("name", "op", "backend"),
    [("deeplabv3", "aspp_branches", "eager"), ("internimage", "dcnv3", "aot_eager")],
)
def test_networks_compile_and_export(name: str, op: str, backend: str) -> None:
    """From 33 pixels on: torch treats the last map, if it is one pixel, as a case of its own."""
    graph = NETWORKS[name]()
    arrays = moved(graph)
    module, image = to_triton(graph, arrays), torch.rand(2, 3, 33, 40)
    compiled: Any = torch.compile(module, backend=backend, fullgraph=True)
    side = {"min": 33}
    sizes = {0: torch.export.Dim("N"), 2: torch.export.Dim("H", **side)}
    sizes[3] = torch.export.Dim("W", **side)
    with torch.no_grad():
        wanted = to_torch(graph, arrays).eval().double()(image.double())
        limit = WHOLE_NET * max(1.0, float(wanted.abs().max()))
        for found in (module(image), compiled(image)):
            assert (found - wanted).abs().max() <= limit
        program = torch.export.export(module, (image,), dynamic_shapes=(sizes,))
        calls = {str(n.target).split(".")[-2] for n in program.graph.nodes if n.op == CALL}
        assert {op, "conv_block"} <= calls
        other = torch.rand(3, 3, 41, 66)
        assert torch.equal(program.module()(other), module(other))
