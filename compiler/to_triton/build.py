"""The fused network as a module in memory: its source executed, its arrays put in."""

from __future__ import annotations

from os import PathLike

import torch
import triton
from torch import nn

from compiler.to_torch.build import execute, fill
from compiler.to_torch.emit import emit, net_class
from compiler.to_triton.prepare import IN_MEMORY, Prepared, prepare, runtime
from compiler.weights.table import Weights
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph

OLDEST = (3, 6)
"""The oldest triton that the kernels were compiled with."""


def check_triton(version: str = triton.__version__) -> None:
    """Refuse a triton whose language the kernels do not speak.

    Raises:
        SegError: it is too old (E6013).
    """
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < OLDEST:
        message = f"triton {version} is installed; the kernels need 3.6 or newer"
        helps = text_helps("pip install --upgrade 'segdsl[triton]'")
        raise SegError(Diagnostic("E6013", message, None, helps=helps))


def build(graph: Graph, weights: Weights | str | PathLike[str] | None = None) -> nn.Module:
    """The module of `compiler.to_triton`, in evaluation mode.

    Raises:
        SegError: a weight path is impossible in torch (E6004), triton is too old (E6013), or the
            weights do not fit.
    """
    check_triton()
    return built(prepare(graph, weights))


def built(ready: Prepared, *, flat: bool = False) -> nn.Module:
    """The module of a prepared network; `flat` builds one class, with one statement per region."""
    graph = ready.graph
    kernels = runtime(graph, IN_MEMORY)
    text = emit(graph, flat=flat, runtime=kernels)
    net = getattr(execute(text, graph.name), net_class(graph, kernels))
    with torch.device("meta"):
        module: nn.Module = net()
    return fill(module, graph, ready.arrays).eval().requires_grad_(False)
