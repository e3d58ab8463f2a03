"""An ONNX model as text without its weights: what a golden test compares.

The listing is our own: that of `onnx.printer` changes between versions and prints arrays. Weights
appear as type and shape, other constants with their numbers. Nothing depends on the order of a hash
or on the version of a library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.build import Options, build
from compiler.weights import Weights
from segdsl.analysis.params import params
from segdsl.ir import Graph

MOST_NUMBERS = 16
SKIPPED = {"segdsl.version"}
DTYPES = {"i64": np.int64}


def onnx_text(graph: Graph, options: Options | None = None) -> str:
    """The model of a graph as text; no array of its weights is ever computed."""
    arrays = Weights(
        {
            path: np.broadcast_to(np.zeros((), DTYPES.get(param.dtype, np.float32)), param.shape)
            for path, param in params(graph).items()
        }
    )
    return "\n".join(listing(build(graph, arrays, options or Options()))) + "\n"


def listing(model: ir.Model) -> Iterator[str]:
    """Head, inputs, outputs, weights, nodes: one line each."""
    yield f"model {model.graph.name} opset {model.opset_imports['']} ir {model.ir_version}"
    for key, text in sorted(model.metadata_props.items()):
        if key not in SKIPPED:
            yield f"  {key} = {text}"
    for kind, values in (("input", model.graph.inputs), ("output", model.graph.outputs)):
        for value in values:
            yield f"{kind} {_typed(value)}"
    for value in model.graph.initializers.values():
        yield f"array {_typed(value)}{_numbers(value)}"
    for node in model.graph:
        yield _node(node)


def _typed(value: ir.Value) -> str:
    assert value.dtype is not None
    assert value.shape is not None
    sizes = ", ".join(str(size) for size in value.shape)
    return f"{value.name}: {value.dtype.name.lower()}[{sizes}]"


def _numbers(value: ir.Value) -> str:
    """The numbers of a constant; those of a weight are not the file's structure."""
    tensor = value.const_value
    if isinstance(tensor, ir.LazyTensor):
        return ""
    assert tensor is not None
    array = np.asarray(tensor.numpy())
    if array.size <= MOST_NUMBERS:
        return f" = {array.tolist()}"
    return f" = sha256 {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"


def _node(node: ir.Node) -> str:
    reads = ", ".join("-" if value is None else str(value.name) for value in node.inputs)
    given = "".join(f" {key}={_plain(node.attributes[key])}" for key in sorted(node.attributes))
    makes = ", ".join(_typed(value) for value in node.outputs)
    named = "" if node.name == node.outputs[0].name else f"{node.name}: "
    return f"{named}{makes} = {node.op_type}({reads}){given}"


def _plain(attribute: ir.Attr) -> str:
    value = attribute.value
    if isinstance(value, float):
        return f"{value:.9g}"
    return str(list(value) if isinstance(value, tuple | list) else value).replace(" ", "")
