"""One program in every target: shapes, both forms of the torch source, four ONNX files.

The oracle is float64 torch. A departure from it counts unless the program itself is that sensitive:
where two values are nearly equal, the place of a maximum is a matter of rounding. That is found
out, not assumed: the oracle runs again with the rounding errors of float32 added to every result.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from compiler.to_onnx import to_onnx
from compiler.to_torch.build import build
from compiler.weights import Weights
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph
from segdsl.ops.crf import MeanField
from segdsl.ops.ports import Output
from segdsl.symbolic import Size
from tests.compiler.to_onnx.runs import (
    WHOLE_NET,
    Array,
    checked,
    error,
    fixture,
    label,
    random_inputs,
    run_onnx,
)
from tests.support.written import Written

ROUNDING = 2.0**-22
"""Noise of a result, on its scale: a few roundings of float32."""

SAMPLES = 6
FILES: Mapping[str, dict[str, bool]] = {
    "free": {"fixed": False, "optimize": True},
    "free, as written": {"fixed": False, "optimize": False},
    "fixed": {"fixed": True, "optimize": True},
    "fixed, as written": {"fixed": True, "optimize": False},
}


class NearestInFloat32(TorchFunctionMode):
    """torch picks the pixels of nearest resizing in the type of the map: here always in float32."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        nearest = function is F.interpolate and given["mode"] in ("nearest", "nearest-exact")
        if not nearest or args[0].dtype != torch.float64:
            return function(*args, **given)
        (x,), (height, width) = args, args[0].shape[2:]
        places = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width)
        picked = function(places, **given).long()
        return x.flatten(2)[:, :, picked.flatten()].reshape(*x.shape[:2], *picked.shape[2:])


class Noise(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds rounding errors of float32 to every result, as Monte Carlo arithmetic does."""

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        if isinstance(found, tuple):
            return tuple(map(self._noisy, found))
        return self._noisy(found)

    def _noisy(self, y: Any) -> Any:
        if not isinstance(y, Tensor) or y.dtype != torch.float64 or not y.numel():
            return y
        noise = torch.rand(y.shape, generator=self.generator, dtype=y.dtype) - 0.5
        return y + noise * 2 * ROUNDING * y.abs().max()


def outputs(graph: Graph) -> list[str]:
    """The labels of what is computed at inference, in order."""
    ops = (graph[name].op for name in graph.outputs)
    return [op.label for op in ops if isinstance(op, Output) and not op.train]


def stated_shapes(graph: Graph, sizes: Mapping[str, int]) -> list[tuple[Size, ...]]:
    """The shapes of the outputs as the checker states them."""
    table, shown = shapes(graph, dict(sizes)), outputs(graph)
    found = (graph.operands(name)[0] for name in graph.outputs if label(graph, name) in shown)
    return [table[value].shape for value in found]


def _run(
    module: nn.Module, graph: Graph, inputs: Mapping[str, Array], kind: torch.dtype
) -> dict[str, Array]:
    tensors = [torch.from_numpy(inputs[name]) for name in graph.inputs]
    tensors = [t.to(kind) if t.is_floating_point() else t for t in tensors]
    with torch.no_grad():
        found = module(*tensors)
    results = [y for y in (found if isinstance(found, tuple) else (found,)) if y is not None]
    return dict(zip(outputs(graph), (y.detach().numpy() for y in results), strict=True))


def oracle(
    module: nn.Module, graph: Graph, inputs: Mapping[str, Array], noise: int | None = None
) -> dict[str, Array]:
    """The outputs of a float64 module; `noise` is the seed of rounding errors."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # what whole numbers become beside a number
    try:
        with NearestInFloat32(), nullcontext() if noise is None else Noise(noise):
            return _run(module, graph, inputs, torch.float64)
    finally:
        torch.set_default_dtype(before)


def meta_shapes(module: nn.Module, graph: Graph, inputs: Mapping[str, Array]) -> list[Any]:
    """The shapes that torch infers without computing."""
    tensors = [torch.from_numpy(inputs[name]).to("meta") for name in graph.inputs]
    with torch.no_grad():
        found = copy.deepcopy(module).to("meta")(*tensors)
    return [
        tuple(y.shape) for y in (found if isinstance(found, tuple) else (found,)) if y is not None
    ]


def plain_run(content: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """A run in ONNX Runtime without its own optimiser: other kernels, and no fusion."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    ready = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in ready.get_outputs()]
    return dict(zip(names, ready.run(None, dict(inputs)), strict=True))


def candidates(
    graph: Graph, weights: Weights, sizes: Mapping[str, int], inputs: Mapping[str, Array]
) -> dict[str, dict[str, Array]]:
    """The outputs by file: free or fixed sizes, folded or as written, fused or not."""
    found = {}
    size = None if graph_is_fixed(graph) else (sizes["H"], sizes["W"])
    for name, options in FILES.items():
        fixed = size if options["fixed"] else None
        content = to_onnx(graph, None, weights, size=fixed, optimize=options["optimize"])
        checked(content)
        found[name] = run_onnx(content, inputs)
        if name == "free":
            found["free, not fused"] = plain_run(content, inputs)
    return found


def graph_is_fixed(graph: Graph) -> bool:
    """Whether the program itself fixes every size."""
    return all(isinstance(n, int) for name in graph.inputs for n in graph[name].op.shape)  # type: ignore[attr-defined]


def departures(exact: Mapping[str, Array], found: Mapping[str, Array]) -> dict[str, float]:
    """The outputs that differ by more than rounding, with how much; whole numbers by any."""
    assert list(exact) == list(found)
    errors = {name: error(found[name], exact[name]) for name in exact}
    whole = {name for name, array in exact.items() if array.dtype.kind != "f"}
    return {
        name: size for name, size in errors.items() if size > (0 if name in whole else WHOLE_NET)
    }


def explained(
    wrong: Mapping[str, float], exact: Mapping[str, Array], noisy: Sequence[Mapping[str, Array]]
) -> bool:
    """Whether rounding alone moves the oracle about as far, at every output that departs."""
    return all(
        size <= 4 * max(error(sample[name], exact[name]) for sample in noisy)
        for name, size in wrong.items()
    )


def compare(program: Written) -> bool:
    """Hold all targets against each other; answers whether rounding had to be looked into.

    Raises:
        AssertionError: the targets disagree.
    """
    graph, sizes = program.graph, program.sizes
    weights, inputs = fixture(graph), random_inputs(graph, 0, **sizes)
    stated = stated_shapes(graph, sizes)
    outlined, flat = build(graph, weights).eval(), build(graph, weights, flat=True).eval()
    if not any(isinstance(node.op, MeanField) for node in graph.nodes()):
        # A random field looks at its values, which meta tensors do not have.
        assert meta_shapes(outlined, graph, inputs) == stated
    results = {"torch": _run(outlined, graph, inputs, torch.float32)}
    assert _identical(results["torch"], _run(flat, graph, inputs, torch.float32))
    module = outlined.double()
    exact = oracle(module, graph, inputs)
    assert [array.shape for array in exact.values()] == stated
    results |= candidates(graph, weights, sizes, inputs)
    wrong = {name: departures(exact, found) for name, found in results.items()}
    wrong = {name: found for name, found in wrong.items() if found}
    if not wrong:
        return False
    noisy = [oracle(module, graph, inputs, seed) for seed in range(SAMPLES)]
    assert all(explained(found, exact, noisy) for found in wrong.values()), wrong
    return True


def _identical(left: Mapping[str, Array], right: Mapping[str, Array]) -> bool:
    return list(left) == list(right) and all(
        np.array_equal(left[name], right[name], equal_nan=True) for name in left
    )
