"""Which values of a network are compared, and how to get at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from compiler.passes.drop_dead import drop_dead
from compiler.pipeline import optimize
from segdsl.ir import Graph, Instance, Node, Ports, Value
from segdsl.ops.activation import Identity
from segdsl.ops.ports import Input, Output, Weight
from segdsl.ops.regularise import Dropout, DropPath
from segdsl.source import NOWHERE

_NOISE = (Dropout, DropPath, Identity)
"""Operators that pass their operand on at inference."""


@dataclass(frozen=True)
class Stage:
    """A value with a name, and the node that makes it."""

    name: str
    value: Value
    node: Node


def at_inference(graph: Graph) -> Graph:
    """Without training outputs and what only they need; otherwise as it was written."""
    training = [name for name in graph.outputs if _trains(graph[name])]
    if not training:
        return drop_dead(graph)
    kept = graph.copy()
    for name in training:
        kept.remove(name)
    return drop_dead(kept)


def stages(graph: Graph, *, every: bool = False) -> tuple[Stage, ...]:
    """The named values of a network in order, or every result of every node.

    Names are those that a reader knows: bindings and taps of the net, results of blocks. Where a
    value has several, it goes by the shortest that begins the name of its node. Names of values
    that `graph` no longer has are passed over.
    """
    names = _every(graph) if every else _known(graph)
    made = [
        Stage(names[value], value, graph[value.node])
        for name in graph
        for port in range(len(graph[name].op.results))
        if (value := Value(name, port)) in names
    ]
    return tuple(s for s in made if not isinstance(s.node.op, Input | Output | Weight))


def _every(graph: Graph) -> dict[Value, str]:
    found: dict[Value, str] = {}
    for node in graph.nodes():
        results = node.op.results
        for port, result in enumerate(results):
            suffix = f"/{result}" if len(results) > 1 else ""
            found[Value(node.name, port)] = node.name + suffix
    return found


def _known(graph: Graph) -> dict[Value, str]:
    names: dict[Value, list[str]] = {}
    for name, value in graph.stages.items():
        if value.node in graph:
            names.setdefault(value, []).append(name)
    return {value: _best(value, known) for value, known in names.items()}


def _best(value: Value, names: Sequence[str]) -> str:
    begins = [name for name in names if f"{value.node}.".startswith(f"{name}.")]
    return min(begins, key=len) if begins else names[0]


def exposed(graph: Graph, values: Sequence[Value]) -> Graph:
    """The graph with these values as further outputs, behind its own and in this order."""
    wide = graph.copy()
    for i, value in enumerate(values):
        name = f"verify.stage{i}"
        wide.add(Node(name, Output(f"verify_stage{i}"), label=name), (value,))
    return wide


def followed(graph: Graph, through: Callable[[Graph], Graph] = optimize) -> dict[Value, Value]:
    """Where each value of the graph is after `compiler.optimize`; without those that are gone.

    Another function from graph to graph may stand in its place.

    A value that was worked into a later operator is gone: the node then computes the later one.
    Block borders follow their values through every pass, so each value is made a border.
    """
    marks: dict[Instance, Value] = {}
    marked = graph.copy()
    for value in _every(graph):
        mark = Instance("", "", (), NOWHERE, NOWHERE)
        marks[mark] = value
        marked.ports[mark] = Ports((), (("value", value),))
    result = through(marked)
    groups: dict[Value, list[Value]] = {}
    for mark, ports in result.ports.items():
        if mark in marks:
            held = ports.outputs[0][1]
            assert isinstance(held, Value)
            groups.setdefault(held, []).append(marks[mark])
    place = {value: i for i, value in enumerate(_every(graph))}
    for group in groups.values():
        group.sort(key=place.__getitem__)
    return {old: new for new, group in groups.items() for old in _current(graph, group)}


def _current(graph: Graph, group: Sequence[Value]) -> Iterator[Value]:
    """Of the values that became one, in order: the last that was computed, and what passes it."""
    for value in reversed(group):
        yield value
        if not isinstance(graph[value.node].op, _NOISE):
            return


def output_names(graph: Graph) -> tuple[str, ...]:
    """The labels of the outputs, in order."""
    return tuple(_label(graph[name]) for name in graph.outputs)


def inference_names(graph: Graph) -> Mapping[str, Node]:
    """The outputs that exist at inference: label to the node that makes the value."""
    return {label: graph[value.node] for label, value in inference_values(graph).items()}


def inference_values(graph: Graph) -> dict[str, Value]:
    """The same, with the values."""
    kept = (name for name in graph.outputs if not _trains(graph[name]))
    return {_label(graph[name]): graph.operands(name)[0] for name in kept}


def _label(node: Node) -> str:
    assert isinstance(node.op, Output)
    return node.op.label


def _trains(node: Node) -> bool:
    return isinstance(node.op, Output) and node.op.train
