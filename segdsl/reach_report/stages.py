"""Which values of a network a report speaks of, and by which names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph, Instance, Value
from segdsl.ops.ports import Input, Output, Weight
from segdsl.spelling import nearest

_NAMED = 12


@dataclass(frozen=True)
class Stage:
    """A value of the network under a name of its own."""

    name: str
    value: Value


def stages(graph: Graph) -> tuple[Stage, ...]:
    """The stages that a reader knows: bindings, taps, ends of block instances, outputs.

    In graph order, each value once (an output that is one of the others has the name of the
    output). Of several names the outermost instance's wins.
    """
    names: dict[Value, str] = {}
    for name, value in _known(graph):
        names.setdefault(value, name)
    place = {node: i for i, node in enumerate(graph)}
    outputs = [(label, value) for label, value in _outputs(graph)]
    found = [Stage(name, value) for name, value in outputs]
    ended = {value for _, value in outputs}
    found += [Stage(name, value) for value, name in names.items() if value not in ended]
    shown = [s for s in found if not isinstance(graph[s.value.node].op, Input | Weight)]
    return tuple(sorted(shown, key=lambda stage: (place[stage.value.node], stage.value.port)))


def every_value(graph: Graph) -> tuple[Stage, ...]:
    """Every node that computes something, by its stage's name where it has one."""
    names = {stage.value: stage.name for stage in stages(graph)}
    taken = set(names.values())
    found = []
    for node in graph.nodes():
        if isinstance(node.op, Input | Output | Weight):
            continue
        for port in range(len(node.op.results)):
            value = Value(node.name, port)
            plain = node.name if not port else f"{node.name}.{node.op.results[port]}"
            name = names.get(value) or (plain if plain not in taken else f"node {plain}")
            found.append(Stage(name, value))
    return tuple(found)


def chosen(graph: Graph, asked: Sequence[str]) -> tuple[Stage, ...]:
    """The stages of these names, each once, in the order in which they were asked for.

    Stages, bindings, block instances, outputs and single nodes have names.

    Raises:
        SegError: E0105, there is no such stage; one diagnostic for each.
    """
    known = _table(graph)
    unknown = [name for name in dict.fromkeys(asked) if name not in known]
    if unknown:
        raise SegError(*(_no_stage(graph, name, list(known)) for name in unknown))
    return tuple(Stage(name, known[name]) for name in dict.fromkeys(asked))


def _table(graph: Graph) -> dict[str, Value]:
    """Every name that may be asked for."""
    known = dict(_outputs(graph))
    for name, value in _known(graph):
        known.setdefault(name, value)
    for node in graph.nodes():
        if not isinstance(node.op, Output | Weight):
            known.setdefault(node.name, Value(node.name))
    return known


def _no_stage(graph: Graph, name: str, known: Sequence[str]) -> Diagnostic:
    guess = nearest(name, known)
    first = [f"did you mean `{guess}`?"] if guess else []
    names = [stage.name for stage in stages(graph)]
    listed = ", ".join(names[:_NAMED])
    rest = len(names) - _NAMED
    more = f" and {rest} more; `segdsl rf` without `--at` shows them" if rest > 0 else ""
    helps = text_helps(*first, f"the stages are {listed}{more}")
    return Diagnostic("E0105", f"`{graph.name}` has no stage `{name}`", None, helps=helps)


def _known(graph: Graph) -> Iterator[tuple[str, Value]]:
    """Names of values, the best first: paths of instances from outside in, bindings, nodes."""
    ends = list(_ends(graph))
    meanings: dict[str, set[Value]] = {}
    for name, _, value in ends:
        meanings.setdefault(name, set()).add(value)
    shared = {name for name, values in meanings.items() if len(values) > 1}
    yield from (
        (name, value) for name, depth, value in sorted(ends, key=_depth) if name not in shared
    )
    blocks = {instance.block for instance in graph.ports}
    bindings = [
        (name, value)
        for name, value in graph.stages.items()
        if name not in shared and name not in blocks
    ]
    yield from sorted(bindings, key=lambda item: item[0].count("."))
    yield from ((value.node, value) for _, _, value in ends)


def _depth(end: tuple[str, int, Value]) -> int:
    return end[1]


def _ends(graph: Graph) -> Iterator[tuple[str, int, Value]]:
    """Path, nesting and result of every block instance.

    Several results are told apart by their names; an instance that adds no level has none.
    """
    for instance, ports in graph.ports.items():
        results = list(_single(ports.outputs))
        for port, value in results:
            parts = [instance.path] if instance.path else []
            parts += [port] if len(results) > 1 else []
            yield ".".join(parts) or instance.block, _level(instance, parts), value


def _level(instance: Instance, parts: Sequence[str]) -> int:
    """How far inside a name lies; one of several results yields to a name of its own."""
    return instance.path.count(".") + (2 if len(parts) > 1 or not instance.path else 0)


def _single(
    ports: Sequence[tuple[str, Value | tuple[Value, ...]]],
) -> Iterator[tuple[str, Value]]:
    for name, value in ports:
        if isinstance(value, Value):
            yield name, value
        else:
            yield from ((f"{name}.{i}", item) for i, item in enumerate(value))


def _outputs(graph: Graph) -> Iterator[tuple[str, Value]]:
    for node in graph.outputs:
        op = graph[node].op
        assert isinstance(op, Output)
        yield op.label, graph.operands(node)[0]
