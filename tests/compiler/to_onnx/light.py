"""The structure of a file without its large arrays: what checkers and optimisers look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.build import Options, build
from compiler.weights import Weights
from compiler.weights.init import NUMPY_TYPES
from segdsl.analysis.params import params
from segdsl.ir import Graph


def light(graph: Graph, **options: Any) -> Any:
    """The file's model with its weights as inputs, so that nothing large is made or checked."""
    zeros = {
        name: np.broadcast_to(np.zeros((), NUMPY_TYPES[param.dtype]), param.shape)
        for name, param in params(graph).items()
    }
    model = build(graph, Weights(zeros), Options(**options))
    for name, value in list(model.graph.initializers.items()):
        if isinstance(value.const_value, ir.LazyTensor):
            del model.graph.initializers[name]
            value.const_value = None
            model.graph.inputs.append(value)
    return ir.to_proto(model)
