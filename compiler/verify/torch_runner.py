"""Torch runs: the float64 reference, and the module that the torch target ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from compiler.to_torch.build import build
from compiler.to_torch.emit import TORCH_DTYPES
from compiler.verify.modules import submodules, watched
from compiler.verify.runners import Ran, Subject
from compiler.verify.stages import at_inference, exposed, output_names
from compiler.weights.table import Array, Weights
from segdsl.analysis.params import params
from segdsl.ir import Graph
from segdsl.ops.base import Op
from segdsl.ops.ports import Input


class Oracle:
    """The flat source of the network as written, one statement per node, in float64.

    The outputs and the stages come from one module.
    """

    def __init__(self, subject: Subject) -> None:
        self._graph = at_inference(subject.graph)
        self._opened = _Opened(self._graph, subject, flat=True)

    def run(self, inputs: Mapping[str, Array], stages: Sequence[str]) -> Ran:
        """Floats are widened; the results are float64 or whole numbers."""
        module = self._opened.module(stages).double()
        found = evaluate(module, self._graph, inputs, wide=True)
        names = output_names(self._graph)
        outputs = dict(zip(names, found, strict=False))
        return Ran(dict(zip(stages, found[len(names) :], strict=True)), outputs)


class TorchRunner:
    """The module as it is shipped: outputs, and every stage that one of its submodules gives.

    A stage that lies between the calls of submodules, as a sum, comes from the flat source in the
    same precision.
    """

    def __init__(self, subject: Subject) -> None:
        self._graph = subject.graph
        self._inner = at_inference(subject.graph)
        self._shipped = build(subject.graph, subject.weights).eval()
        self._opened = _Opened(self._inner, subject, flat=True)
        paths = submodules(subject.graph)
        self._paths = {s.name: paths[s.value] for s in subject.stages if s.value in paths}

    def run(self, inputs: Mapping[str, Array], stages: Sequence[str]) -> Ran:
        """In the precision that the network states."""
        paths = {name: self._paths[name] for name in stages if name in self._paths}
        with watched(self._shipped, paths) as seen:
            given = evaluate(self._shipped, self._graph, inputs)
        kept = output_names(self._inner)
        named = zip(output_names(self._graph), given, strict=True)
        outputs = {name: array for name, array in named if name in kept}
        inner = {name: as_array(tensor) for name, tensor in seen.items()}
        rest = [name for name in stages if name not in inner]
        if rest:
            found = evaluate(self._opened.module(rest), self._inner, inputs)
            inner |= dict(zip(rest, found[len(kept) :], strict=True))
        return Ran(inner, outputs)


class _Opened:
    """Modules that return stages too; that of the last stages asked for is kept."""

    def __init__(self, graph: Graph, subject: Subject, *, flat: bool) -> None:
        self._graph = graph
        self._values = {stage.name: stage.value for stage in subject.stages}
        self._weights = Weights({path: subject.weights[path] for path in params(graph)})
        self._flat = flat
        self._last: tuple[tuple[str, ...], nn.Module] | None = None

    def module(self, stages: Sequence[str]) -> nn.Module:
        key = tuple(stages)
        if self._last is None or self._last[0] != key:
            self._last = None
            wide = exposed(self._graph, [self._values[name] for name in stages])
            self._last = key, build(wide, self._weights, flat=self._flat).eval()
        return self._last[1]


def evaluate(
    module: nn.Module, graph: Graph, inputs: Mapping[str, Array], *, wide: bool = False
) -> tuple[Array, ...]:
    """The results in order; a result that exists in training only is an empty place."""
    tensors = [_tensor(graph[name].op, inputs[name], wide=wide) for name in graph.inputs]
    with torch.no_grad():
        found = module(*tensors)
    results = found if isinstance(found, tuple) else (found,)
    return tuple(as_array(result) for result in results)


def _tensor(op: Op, array: Array, *, wide: bool) -> Tensor:
    """In the element type that the input states; `wide` makes float64 of floats."""
    assert isinstance(op, Input)
    stated: torch.dtype = getattr(torch, TORCH_DTYPES[op.dtype])
    dtype = torch.float64 if wide and stated.is_floating_point else stated
    return torch.from_numpy(np.array(array)).to(dtype)


def as_array(result: Tensor | None) -> Array:
    """The tensor in numpy; nothing is an empty array."""
    if result is None:
        return np.empty(0)
    exact = result.float() if result.dtype is torch.bfloat16 else result
    return np.asarray(exact.numpy())
