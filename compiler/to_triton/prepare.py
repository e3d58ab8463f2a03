"""From a network to what this target writes: optimise, fold, fuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

from compiler.pipeline import optimize
from compiler.to_torch.runtime import Runtime
from compiler.to_triton import (  # noqa: F401  (they register how regions are written)
    lower,
    lower_merged,
)
from compiler.to_triton.aspp import fuse_aspp
from compiler.to_triton.dcnv3 import Dcnv3Block, fuse_dcnv3
from compiler.to_triton.dense import DenseBlock, fuse_dense
from compiler.to_triton.fields import METHODS, fuse_fields
from compiler.to_triton.fuse import fuse
from compiler.to_triton.labels import fuse_labels
from compiler.to_triton.merge import EnlargedConv, MergedConv, fuse_merged
from compiler.to_triton.preact import PreConv, fuse_preact
from compiler.to_triton.regions import AsppBlock, ConvBlock, UpsampleArgmax
from compiler.to_triton.sampling import DeformableSampling, fuse_sampling
from compiler.weights.baking import baked_graph, baked_weights
from compiler.weights.fitting import fitting_weights
from compiler.weights.table import Weights
from segdsl.analysis.params import params
from segdsl.ir import Graph
from segdsl.ops.base import Op

IN_MEMORY = "compiler.to_triton.kernels.blocks"
IN_FOLDER = ".kernels.blocks"
"""Where the emitted source finds the modules and functions of the kernels."""

NAMES: Mapping[type[Op], tuple[str, ...]] = {
    AsppBlock: ("ASPPBlock",),
    ConvBlock: ("ConvBlock",),
    MergedConv: ("MergedConvBlock",),
    EnlargedConv: ("MergedConvBlock",),
    PreConv: ("PreConvBlock",),
    DenseBlock: ("DenseBlock",),
    UpsampleArgmax: ("enlarged_labels", "upsample_labels"),
    Dcnv3Block: ("DCNv3Block",),
    DeformableSampling: ("deformable_sampling",),
    **{field: (field.call,) for field in METHODS.values()},
}
"""What the source of each operator of a fused graph needs from there."""


@dataclass(frozen=True)
class Prepared:
    """A network as this target writes it: its fused graph and the arrays of that graph."""

    graph: Graph
    arrays: Weights


def fused_graph(graph: Graph) -> Graph:
    """The graph of inference with its regions; it needs no weights."""
    return _fused(optimize(graph))


def _fused(folded: Graph) -> Graph:
    convolved = fuse_merged(fuse_aspp(fuse(baked_graph(folded))))
    convolved = fuse_preact(fuse_dense(convolved))
    return fuse_fields(fuse_sampling(fuse_dcnv3(fuse_labels(convolved))))


def runtime(graph: Graph, module: str) -> Runtime | None:
    """What the source of a fused graph imports from `module`; None where it needs nothing."""
    names = {name for node in graph.nodes() for name in NAMES.get(type(node.op), ())}
    return Runtime(module, tuple(sorted(names))) if names else None


def prepare(graph: Graph, weights: Weights | str | PathLike[str] | None = None) -> Prepared:
    """The fused graph, and the arrays with the folded norms worked in.

    Raises:
        SegError: the weights do not fit.
    """
    arrays = fitting_weights(graph, params(graph), weights)
    folded = optimize(graph)
    fused = _fused(folded)
    unordered = baked_weights(folded, arrays)
    return Prepared(fused, Weights({name: unordered[name] for name in params(fused)}))
