"""Put one node in the place of a whole module: of all nodes whose arrays lie below one path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from segdsl.ir import Graph, Instance, Node, Value
from segdsl.ops.base import Op


@dataclass(frozen=True)
class Whole:
    """Nodes that become one: all of them, the last at the end, and what they read.

    `more` are the operands behind the first.
    """

    op: Op
    nodes: tuple[str, ...]
    path: str
    x: Value
    more: tuple[Value, ...] = ()


def with_wholes(graph: Graph, wholes: Iterable[Whole]) -> Graph:
    """The graph with each of them as one node; the same object if there is none.

    The node takes the name of the last one. Values inside have no name any more.
    """
    found = {whole.nodes[-1]: whole for whole in wholes}
    if not found:
        return graph
    gone = {name for whole in found.values() for name in whole.nodes[:-1]}
    new = graph.blank()
    inner: set[Instance] = set()
    for name in graph:
        if name in found:
            node, inside = _placed(graph[name], found[name])
            inner |= inside
            new.add(node, (found[name].x, *found[name].more))
        elif name not in gone:
            new.add(graph[name], graph.operands(name))
    new.stages = {name: value for name, value in graph.stages.items() if value.node not in gone}
    new.ports = {
        instance: ports
        for instance, ports in graph.ports.items()
        if instance not in inner
        and all(value.node not in gone for value in _values(ports.inputs + ports.outputs))
    }
    return new


def _placed(last: Node, whole: Whole) -> tuple[Node, set[Instance]]:
    """The node, outside the blocks that it is all of; and those blocks."""
    depth = len(last.scope)
    for i, frame in enumerate(last.scope):
        if isinstance(frame, Instance) and f"{frame.path}.".startswith(f"{whole.path}."):
            depth = i
            break
    inside = {frame for frame in last.scope[depth:] if isinstance(frame, Instance)}
    scope = last.scope[:depth]
    return replace(last, op=whole.op, path=whole.path, folded=None, scope=scope), inside


def _values(held: Sequence[tuple[str, Value | tuple[Value, ...]]]) -> list[Value]:
    return [v for _, x in held for v in ((x,) if isinstance(x, Value) else x)]


def common(nodes: Sequence[Node]) -> tuple[str, tuple[str, ...]]:
    """The levels that all paths have in common, and the rest of each path."""
    split = [(node.path or "").split(".") for node in nodes]
    shared = 0
    while all(len(p) > shared + 1 for p in split) and len({p[shared] for p in split}) == 1:
        shared += 1
    return ".".join(split[0][:shared]), tuple(".".join(p[shared:]) for p in split)


def owns(graph: Graph, path: str, nodes: Sequence[str]) -> bool:
    """Whether a path holds the arrays of these nodes only, and no name that outlives them."""
    if not path:
        return False
    mine = set(nodes)
    paths = [n.path or "" for n in graph.nodes() if n.name not in mine]
    names = [name for name, value in graph.stages.items() if value.node in nodes[:-1]]
    return not any(f"{other}.".startswith(f"{path}.") for other in paths) and all(
        name.startswith(f"{path}.") for name in names
    )
