"""From a network to a module of fused regions: optimise, fold, fuse, write, execute."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import torch
from torch import nn

from compiler.baking import bake, unmarked
from compiler.pipeline import optimize
from compiler.to_torch.build import execute, fill
from compiler.to_torch.emit import emit, net_class
from compiler.to_torch.runtime import Runtime
from compiler.to_triton import lower  # noqa: F401  (registers how regions are written)
from compiler.to_triton.fuse import fuse
from compiler.weights.fitting import fitting_weights
from compiler.weights.table import Weights
from segdsl.analysis.params import params
from segdsl.ir import Graph

CLASSES = ("ConvBlock",)
"""The modules of `kernels.blocks` that a file may construct."""

IN_MEMORY = Runtime("compiler.to_triton.kernels.blocks", CLASSES)
IN_FOLDER = Runtime(".kernels.blocks", CLASSES)


@dataclass(frozen=True)
class Prepared:
    """A network as this target writes it: its fused graph and the arrays of that graph."""

    graph: Graph
    arrays: Weights


def prepare(graph: Graph, weights: Weights | str | PathLike[str] | None = None) -> Prepared:
    """Fold what can be folded, then fuse.

    Raises:
        SegError: the weights do not fit.
    """
    arrays = fitting_weights(graph, params(graph), weights)
    folded = optimize(graph)
    return Prepared(fuse(unmarked(folded)), bake(folded, arrays))


def build(graph: Graph, weights: Weights | str | PathLike[str] | None = None) -> nn.Module:
    """The module of `compiler.to_triton`, in evaluation mode.

    Raises:
        SegError: a weight path is impossible in torch (E6004), or the weights do not fit.
    """
    ready = prepare(graph, weights)
    text = emit(ready.graph, runtime=IN_MEMORY)
    net = getattr(execute(text, graph.name), net_class(graph))
    with torch.device("meta"):
        module: nn.Module = net()
    return fill(module, ready.graph, ready.arrays).eval()
