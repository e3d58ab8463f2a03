"""From emitted source to a module: execute the text, construct, put the arrays in."""

from __future__ import annotations

import hashlib
import linecache
import sys
from collections.abc import Mapping
from os import PathLike
from types import ModuleType

import numpy as np
import torch
from torch import nn

from compiler.to_torch.emit import emit, net_class
from compiler.to_torch.lower import EmissionError
from compiler.weights.fitting import fitting_weights
from compiler.weights.table import Weights
from segdsl.analysis.params import Params, params
from segdsl.ir import Graph


def build(
    graph: Graph, weights: Weights | str | PathLike[str] | None = None, *, flat: bool = False
) -> nn.Module:
    """The module of `compiler.to_torch`; `flat` builds the one-class form of the source instead.

    Raises:
        SegError: a weight path is impossible in torch (E6004), or the weights do not fit.
    """
    text = emit(graph, flat=flat)
    table = params(graph)
    arrays = fitting_weights(graph, table, weights)
    net = getattr(execute(text, graph.name), net_class(graph))
    with torch.device("meta"):
        module: nn.Module = net()
    return fill(module, graph, arrays)


def fill(module: nn.Module, graph: Graph, arrays: Mapping[str, np.ndarray]) -> nn.Module:
    """Put the arrays of a graph into the module that was constructed from its source."""
    table = params(graph)
    _check_state(module, table)
    module.load_state_dict(_tensors(arrays, table), assign=True)
    _freeze(module, table)
    return module


def execute(text: str, name: str) -> ModuleType:
    """The emitted text as a Python module; equal texts are one module.

    It stands in `linecache` and `sys.modules`, or tracebacks, `inspect.getsource` and pickle fail.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    module_name = f"segdsl_{name}_{digest}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    file_name = f"<segdsl {name} {digest}>"
    module = ModuleType(module_name)
    module.__file__ = file_name
    linecache.cache[file_name] = (len(text), None, text.splitlines(keepends=True), file_name)
    sys.modules[module_name] = module
    try:
        # Not inherited: this file's postponed annotations would make strings of the module's types.
        exec(compile(text, file_name, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _check_state(module: nn.Module, table: Params) -> None:
    """The constructed module must have the names, order and shapes of the graph."""
    state = module.state_dict()
    found = [(name, tuple(tensor.shape)) for name, tensor in state.items()]
    wanted = [(name, param.shape) for name, param in table.items()]
    for have, want in zip(found, wanted, strict=False):
        if have != want:
            raise EmissionError(f"the emitted module has {have} where the graph has {want}")
    if len(found) != len(wanted):
        raise EmissionError(f"the emitted module has {len(found)} arrays, the graph {len(wanted)}")


def _tensors(arrays: Mapping[str, np.ndarray], table: Params) -> dict[str, torch.Tensor]:
    """Tensors of their own for every array, in the order of the state_dict."""
    return {name: torch.from_numpy(np.array(arrays[name], copy=True)) for name in table}


def _freeze(module: nn.Module, table: Params) -> None:
    """`load_state_dict(assign=True)` keeps `requires_grad` of the parameters; make sure of it."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(table[name].trained)
