"""The fused network as a module in memory: its source executed, its arrays put in."""

from __future__ import annotations

from os import PathLike

import torch
from torch import nn

from compiler.to_torch.build import execute, fill
from compiler.to_torch.emit import emit, net_class
from compiler.to_triton.prepare import IN_MEMORY, prepare, runtime
from compiler.weights.table import Weights
from segdsl.ir import Graph


def build(graph: Graph, weights: Weights | str | PathLike[str] | None = None) -> nn.Module:
    """The module of `compiler.to_triton`, in evaluation mode.

    Raises:
        SegError: a weight path is impossible in torch (E6004), or the weights do not fit.
    """
    ready = prepare(graph, weights)
    text = emit(ready.graph, runtime=runtime(ready.graph, IN_MEMORY))
    net = getattr(execute(text, graph.name), net_class(graph))
    with torch.device("meta"):
        module: nn.Module = net()
    return fill(module, ready.graph, ready.arrays).eval().requires_grad_(False)
