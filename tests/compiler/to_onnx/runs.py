"""One graph in ONNX Runtime and in float64 torch, on the same weights and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from compiler.to_onnx import to_onnx
from compiler.to_torch import to_torch
from compiler.verify.tolerances import WHOLE_NET as WHOLE_NET
from compiler.weights import Weights, initialise
from segdsl.analysis.params import params
from segdsl.analysis.shapes import shapes, size_symbols
from segdsl.ir import Graph, Value
from segdsl.ops.ports import Output

Array = NDArray[Any]


def checked(content: bytes) -> onnx.ModelProto:
    """The model, after the full check and strict shape inference."""
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    return model


def session(content: bytes | str) -> onnxruntime.InferenceSession:
    """A session on one thread, without its warnings, on a model or the path of one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_onnx(content: bytes | str, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by name; also holds every stated dimension against what came."""
    ready = session(content)
    names = [output.name for output in ready.get_outputs()]
    found = dict(zip(names, ready.run(None, dict(inputs)), strict=True))
    for output in ready.get_outputs():
        stated = [n if isinstance(n, int) else None for n in output.shape]
        real = found[output.name].shape
        assert len(stated) == len(real)
        assert all(s in (None, r) for s, r in zip(stated, real, strict=True)), (stated, real)
    return found


def run_torch(graph: Graph, weights: Weights, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The same from the torch target in float64; whole numbers stay."""
    module = to_torch(graph, weights).double().eval()
    tensors = [torch.from_numpy(inputs[name]) for name in graph.inputs]
    tensors = [t.double() if t.is_floating_point() else t for t in tensors]
    with torch.no_grad():
        found = module(*tensors)
    results = found if isinstance(found, tuple) else (found,)
    named = zip(graph.outputs, results, strict=True)
    return {label(graph, name): y.numpy() for name, y in named if y is not None}


def label(graph: Graph, output: str) -> str:
    """The name of an output."""
    op = graph[output].op
    assert isinstance(op, Output)
    return op.label


def random_inputs(graph: Graph, seed: int, **sizes: int) -> dict[str, Array]:
    """Uniform in -1..1, or whole numbers up to 255; every free size is among `sizes`."""
    generator = np.random.default_rng(seed)
    table = shapes(graph, {name: sizes[name] for name in size_symbols(graph)})
    made: dict[str, Array] = {}
    for name in graph.inputs:
        feature = table[Value(name)]
        shape = tuple(int(str(n)) for n in feature.shape)
        if feature.dtype == "u8":
            made[name] = generator.integers(0, 256, shape, np.uint8)
        else:
            made[name] = generator.uniform(-1, 1, shape).astype(np.float32)
    return made


def error(ours: Array, theirs: Array) -> float:
    """The largest difference, on the scale of the reference; inf where one is not finite alone."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    if ours.size == 0 or np.array_equal(ours, theirs, equal_nan=True):
        return 0.0
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    scale = max(1.0, float(np.abs(theirs).max()))
    return float(np.abs(ours.astype(np.float64) - theirs).max()) / scale


def fixture(graph: Graph, seed: int = 0) -> Weights:
    """Weights with which nothing explodes and nothing is 0 or 1."""
    return initialise(params(graph), seed, style="fixture")


def differences(
    graph: Graph, inputs: Mapping[str, Array], weights: Weights, **options: Any
) -> dict[str, float]:
    """How far each output of the ONNX file is from float64 torch."""
    content = to_onnx(graph, None, weights, **options)
    checked(content)
    ours, theirs = run_onnx(content, inputs), run_torch(graph, weights, inputs)
    assert list(ours) == list(theirs)
    return {name: error(ours[name], theirs[name]) for name in ours}
