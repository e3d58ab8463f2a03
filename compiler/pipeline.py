"""The passes in their order, run one after the other and checked after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compiler.passes.drop_dead import drop_dead
from compiler.passes.drop_inference_noise import drop_inference_noise
from compiler.passes.fold_bn import fold_bn
from compiler.passes.fold_padding import fold_padding
from compiler.passes.merge_common import merge_common
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, GraphError, Value
from segdsl.ops.ports import Output
from segdsl.types import Feature

Pass = Callable[[Graph], Graph]

PASSES: tuple[Pass, ...] = (
    drop_inference_noise,
    drop_dead,
    merge_common,
    fold_padding,
    fold_bn,
)
"""Merging is before folding: a convolution that was there twice may be folded afterwards."""


@dataclass(frozen=True)
class Step:
    """What one pass did: whether it changed anything, and how many nodes there were."""

    name: str
    changed: bool
    before: int
    after: int


@dataclass(frozen=True)
class Optimised:
    """A graph and how it came about."""

    graph: Graph
    steps: tuple[Step, ...]


def optimize(graph: Graph) -> Graph:
    """The network as it is run at inference: nothing dead, no dropout, batch norms folded.

    The result computes what the graph computes in evaluation mode. It is a graph like any other,
    but its weights are partly expressions, so the torch target refuses it; the ONNX target
    applies this by itself. The given graph stays as it is.
    """
    return run(graph).graph


def run(graph: Graph, passes: Sequence[Pass] = PASSES) -> Optimised:
    """The same, with what each pass did.

    Raises:
        GraphError: a pass broke the graph or changed an output's type: a bug, never the user's.
    """
    steps: list[Step] = []
    types = _outputs(graph)
    for rewrite in passes:
        name = getattr(rewrite, "__name__", repr(rewrite))
        new = rewrite(graph)
        if new is not graph:
            _check(new, types, name, [step.name for step in steps])
        steps.append(Step(name, new is not graph, len(graph), len(new)))
        graph = new
    return Optimised(graph, tuple(steps))


def _outputs(graph: Graph) -> dict[str, Feature]:
    """The type of every output that exists at inference."""
    table = shapes(graph)
    kept = (name for name in graph.outputs if not _trains(graph, name))
    return {name: table[Value(name)] for name in kept}


def _trains(graph: Graph, name: str) -> bool:
    op = graph[name].op
    return isinstance(op, Output) and op.train


def _check(graph: Graph, types: dict[str, Feature], name: str, ran: list[str]) -> None:
    after = f"pass {name!r} (after {', '.join(ran) or 'none'})"
    try:
        graph.verify()
        found = _outputs(graph)
    except GraphError as error:
        raise GraphError(f"{after} broke the graph: {error}") from error
    if found != types:
        raise GraphError(f"{after} changed the outputs from {types} to {found}")
