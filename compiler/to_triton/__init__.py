"""The Triton target: a torch module whose convolutions and samplings are fused kernels of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from torch import nn

    from compiler.weights.table import Weights
    from segdsl.ir import Graph


def to_triton(graph: Graph, weights: Weights | str | PathLike[str] | None = None) -> nn.Module:
    """The network as a torch module for inference, with fused regions, in evaluation mode.

    On a GPU a region runs as one kernel where that was measured to be faster, and through torch's
    own operators elsewhere; on a CPU always through those. Batch norms are folded and dropout is
    gone, so its parameters are fewer than those of `to_torch`.

    Args:
        graph: the network.
        weights: the arrays of the network before folding, or a file with them; None initialises
            them from seed 0.

    Raises:
        SegError: a weight path is impossible in torch (E6004), the weights do not fit, or triton
            is too old (E6013).
        ModuleNotFoundError: torch or triton is not installed.
    """
    from compiler.to_triton.build import build

    return build(graph, weights)


__all__ = ["to_triton"]
