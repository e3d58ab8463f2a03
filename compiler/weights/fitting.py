"""The arrays that a target is given: initialised, read from a file, or a table that must fit."""

from __future__ import annotations

from os import PathLike, fspath

from compiler.weights.init import NUMPY_TYPES, initialise
from compiler.weights.loading import load
from compiler.weights.table import Weights
from segdsl.analysis.params import Params, owners
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.ir import Graph

MAX_NOTES = 20


def fitting_weights(
    graph: Graph, table: Params, weights: Weights | str | PathLike[str] | None
) -> Weights:
    """The arrays of a network, whose `params` are `table`; None initialises them from seed 0.

    Raises:
        SegError: the weights do not fit (E5003), or the file is not usable.
        TypeError: weights of another kind.
    """
    if weights is None:
        return initialise(table, seed=0, owners=owners(graph))
    if isinstance(weights, Weights):
        return _fitting(weights, table)
    if isinstance(weights, str | PathLike):
        return load(fspath(weights), table, owners=owners(graph))
    raise TypeError(f"weights must be Weights or a path, not {type(weights).__name__}")


def _fitting(weights: Weights, table: Params) -> Weights:
    """The given table, if it is one of this network (E5003)."""
    notes: list[str] = []
    for name, param in table.items():
        if name not in weights:
            notes.append(f"`{name}` is missing")
        elif weights[name].shape != param.shape:
            notes.append(f"`{name}` has shape {weights[name].shape}, the network {param.shape}")
        elif weights[name].dtype != NUMPY_TYPES[param.dtype]:
            notes.append(f"`{name}` holds {weights[name].dtype}, the network {param.dtype}")
    notes += [f"the network has no `{name}`" for name in weights if name not in table]
    if notes:
        more = (f"and {len(notes) - MAX_NOTES} more",) if len(notes) > MAX_NOTES else ()
        message = f"these weights are not those of this network: {len(notes)} of them differ"
        raise SegError(Diagnostic("E5003", message, None, notes=(*notes[:MAX_NOTES], *more)))
    return weights
