"""The PyTorch target: `to_torch` gives a module, `compiler.to_torch.emit.emit` its source text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from torch import nn

    from compiler.weights.table import Weights
    from segdsl.ir import Graph


def to_torch(graph: Graph, weights: Weights | str | PathLike[str] | None = None) -> nn.Module:
    """The network as a torch module, on the CPU and in training mode, as torch's own modules start.

    The module is the emitted source, executed: `inspect.getsource` shows it, and it
    pickles within the process.

    Args:
        graph: the network.
        weights: the arrays, or a .safetensors or checkpoint file with them; None
            initialises them from seed 0.

    Raises:
        SegError: a weight path is impossible in torch (E6004), or the weights do not fit.
    """
    from compiler.to_torch.build import build

    return build(graph, weights)


__all__ = ["to_torch"]
