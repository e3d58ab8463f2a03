"""A copy of a graph without some nodes, and with others in place: what every pass is made of."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from segdsl.ir import Graph, Instance, Node, Ports, Value

Held = Value | tuple[Value, ...]


def rebuilt(
    graph: Graph,
    *,
    drop: Container[str] = (),
    instead: Mapping[Value, Value] | None = None,
    nodes: Mapping[str, Node] | None = None,
) -> Graph:
    """A new graph; what is not named stays the same object, in the same order.

    Stages and block borders follow the values; those whose value is gone are forgotten.

    Args:
        graph: the graph, which stays as it is.
        drop: nodes that are left out.
        instead: for a value of a dropped node, the value that its users read instead. May chain.
        nodes: for a node, the one that takes its place, under the same name.

    Raises:
        GraphError: a kept node reads a value that is gone.
    """
    values = _Values(instead or {})
    new = graph.blank()
    changed = nodes or {}
    for name in graph:
        if name not in drop:
            new.add(changed.get(name, graph[name]), values.all(graph.operands(name)))
    stages = {name: values.last(value) for name, value in graph.stages.items()}
    new.stages = {name: value for name, value in stages.items() if value.node in new}
    new.ports = dict(_borders(graph, new, values))
    return new


class _Values:
    """Where each value went."""

    def __init__(self, instead: Mapping[Value, Value]) -> None:
        self.instead = instead

    def last(self, value: Value) -> Value:
        while value in self.instead:
            value = self.instead[value]
        return value

    def all(self, values: Iterable[Value]) -> tuple[Value, ...]:
        return tuple(map(self.last, values))

    def held(self, held: Held) -> Held:
        return self.last(held) if isinstance(held, Value) else self.all(held)


def _borders(graph: Graph, new: Graph, values: _Values) -> Iterable[tuple[Instance, Ports]]:
    for instance, ports in graph.ports.items():
        inputs = tuple((name, values.held(held)) for name, held in ports.inputs)
        outputs = tuple((name, values.held(held)) for name, held in ports.outputs)
        if all(_exists(new, held) for _, held in (*inputs, *outputs)):
            yield instance, Ports(inputs, outputs)


def _exists(graph: Graph, held: Held) -> bool:
    return all(v.node in graph for v in ([held] if isinstance(held, Value) else held))
