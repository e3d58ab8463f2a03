"""The compiler: from a graph to something that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.to_onnx import to_onnx
from compiler.to_torch import to_torch
from compiler.to_triton import to_triton
from compiler.verify import verify

if TYPE_CHECKING:
    from segdsl.ir import Graph


def optimize(graph: Graph) -> Graph:
    """The network as it is run at inference: nothing dead, no dropout, batch norms folded.

    The result computes what the graph computes in evaluation mode; the given graph stays as it is.
    Its weights are partly expressions, so the torch target refuses it. `to_onnx` does this itself.
    """
    from compiler import pipeline

    return pipeline.optimize(graph)


__all__ = ["optimize", "to_onnx", "to_torch", "to_triton", "verify"]
