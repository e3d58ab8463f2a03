"""Folding a graph into a handful of stages that fit on a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log2

from segdsl.analysis.shapes import Shapes, shapes
from segdsl.ir import Graph, Instance, Value
from segdsl.ops.ports import Input, Output, Weight
from segdsl.types import Feature


@dataclass(frozen=True)
class Stage:
    """A run of nodes, drawn as one box.

    Attributes:
        name: the path or binding that its writer gave it, as short as is unique.
        nodes: what it is made of, in order; the last makes its result.
        channels: of the result; the last axis of one that is no map.
        height: of the result in pixels (1 for one that is no map).
        width: of the result in pixels.
        level: how often the input was halved, rounded; below 0 where it was enlarged.
        times: how many equal blocks in a row it stands for.
        reads: positions of the stages it reads.
        is_port: an input or an output of the network.
    """

    name: str
    nodes: tuple[str, ...]
    channels: int
    height: int
    width: int
    level: int
    times: int
    reads: tuple[int, ...]
    is_port: bool


@dataclass(frozen=True)
class _Group:
    """Nodes that will be one stage: those of an instance, of several in a row, or loose ones."""

    nodes: tuple[str, ...]
    instances: tuple[Instance, ...] = ()
    depth: int = 0


def stages(graph: Graph, sizes: Mapping[str, int], *, few: int = 9, most: int = 24) -> list[Stage]:
    """The stages of a graph, in order; every node but bare weights is in exactly one.

    The blocks that a net uses are its stages. While there are fewer than `few`, the largest is
    opened into its own blocks, unless there would be more than `most`. Equal blocks in a row whose
    results have one shape are one stage, as the blocks of a residual stage. An operator without
    weights, as a pool, belongs to the stage that reads it.

    Args:
        graph: the network.
        sizes: values for all its size symbols, N included.
        few: when to stop opening blocks.
        most: how many stages opening may make; a net that is itself written as more keeps them.
    """
    folding = _Folding(graph, shapes(graph, sizes))
    groups = folding.settled(folding.split(_nodes(graph), 0))
    closed: set[Instance] = set()
    while len(groups) < few:
        whole = [g for g in groups if len(g.instances) == 1 and g.instances[0] not in closed]
        if not whole:
            break
        largest = max(whole, key=lambda group: len(group.nodes))
        opened = folding.opened(groups, largest)
        if len(opened) <= most:
            groups = opened
        closed.add(largest.instances[0])
    return folding.finished(groups)


def _nodes(graph: Graph) -> list[str]:
    return [name for name in graph if not isinstance(graph[name].op, Weight)]


class _Folding:
    def __init__(self, graph: Graph, table: Shapes) -> None:
        self.graph = graph
        self.table = table

    def result(self, group: _Group) -> Feature:
        return self.table[Value(group.nodes[-1])]

    def split(self, names: Iterable[str], depth: int) -> list[_Group]:
        """Nodes by the instance that they belong to at this depth, in order; loose ones alone."""
        members: dict[Instance | str, list[str]] = {}
        for name in names:
            scope = [step for step in self.graph[name].scope if isinstance(step, Instance)]
            key: Instance | str = scope[depth] if len(scope) > depth else name
            members.setdefault(key, []).append(name)
        return [
            _Group(tuple(nodes), (key,) if isinstance(key, Instance) else (), depth + 1)
            for key, nodes in members.items()
        ]

    def opened(self, groups: list[_Group], chosen: _Group) -> list[_Group]:
        at = groups.index(chosen)
        parts = self.split(chosen.nodes, chosen.depth)
        return self.settled([*groups[:at], *parts, *groups[at + 1 :]])

    def settled(self, groups: list[_Group]) -> list[_Group]:
        """The groups with all that belongs together joined."""
        joined: list[_Group] = []
        for group in groups:
            last = joined[-1] if joined else None
            if last is not None and self.in_a_row(last, group):
                instances = (*last.instances, *group.instances)
                joined[-1] = _Group((*last.nodes, *group.nodes), instances, last.depth)
            else:
                joined.append(group)
        return self.absorbed(joined)

    def in_a_row(self, left: _Group, right: _Group) -> bool:
        if not left.instances or not right.instances:
            return False
        inside = set(left.nodes)
        chained = any(v.node in inside for n in right.nodes for v in self.graph.operands(n))
        same = left.instances[0].block == right.instances[0].block
        return chained and same and self.result(left).shape == self.result(right).shape

    def absorbed(self, groups: list[_Group]) -> list[_Group]:
        """Loose groups joined with the one group that reads them, where they are one thought."""
        slots: list[_Group | None] = list(groups)
        owner = {name: i for i, group in enumerate(groups) for name in group.nodes}
        for i, group in enumerate(groups):
            last = group.nodes[-1]
            readers = {owner[use.node] for use in self.graph.users(last) if use.node in owner}
            current = slots[i]
            assert current is not None
            if len(readers) != 1:
                continue
            (at,) = readers
            reader = slots[at]
            if reader is None or at == i or not self.one_thought(current, reader):
                continue
            slots[at] = _Group((*current.nodes, *reader.nodes), reader.instances, reader.depth)
            slots[i] = None
            owner.update(dict.fromkeys(current.nodes, at))
        return [group for group in slots if group is not None]

    def one_thought(self, group: _Group, reader: _Group) -> bool:
        """Whether a loose group is but the beginning of the group that alone reads it."""
        ops = [self.graph[name].op for name in group.nodes]
        if group.instances or any(isinstance(op, Input) for op in ops):
            return False
        weightless = all(self.graph[name].path is None for name in group.nodes)
        bare = len(reader.nodes) == 1 and isinstance(self.graph[reader.nodes[0]].op, Output)
        if weightless or bare:
            return True
        return not reader.instances and self.result(group).shape == self.result(reader).shape

    def finished(self, groups: list[_Group]) -> list[Stage]:
        place = {name: i for i, name in enumerate(self.graph)}
        groups = sorted(groups, key=lambda group: max(place[name] for name in group.nodes))
        at = {name: i for i, group in enumerate(groups) for name in group.nodes}
        paths = [self.path(group) for group in groups]
        own = [self.first_weight(group) or path for group, path in zip(groups, paths, strict=True)]
        names = _names([b if paths.count(a) > 1 else a for a, b in zip(paths, own, strict=True)])
        return [
            self.stage(group, names[i], tuple(sorted(set(self.reads(group, at)) - {i})))
            for i, group in enumerate(groups)
        ]

    def reads(self, group: _Group, at: Mapping[str, int]) -> Iterator[int]:
        """The stages whose values a group reads; a `like=` reads a size, no values."""
        for name in group.nodes:
            op = self.graph[name].op
            for slot, value in enumerate(self.graph.operands(name)):
                if value.node in at and op.operand_name(slot) not in op.sizes_only:
                    yield at[value.node]

    def path(self, group: _Group) -> str:
        """What its writer calls a group: a port's name, a weight path, a block, a binding."""
        node = self.graph[group.nodes[-1]]
        if isinstance(node.op, Output):
            return node.op.label
        paths = [instance.path for instance in group.instances]
        if paths and all(paths):
            return _common(paths)
        if group.instances:
            return group.instances[0].block
        block = group.instances[0].block if group.instances else ""
        return self.first_weight(group) or block or node.label or node.op.name

    def first_weight(self, group: _Group) -> str | None:
        return next((path for name in group.nodes if (path := self.graph[name].path)), None)

    def stage(self, group: _Group, name: str, reads: tuple[int, ...]) -> Stage:
        result = self.result(group)
        height, width = _extent(result)
        full = max(_extent(self.table[Value(self.graph.inputs[0])]))
        return Stage(
            name=name,
            nodes=group.nodes,
            channels=_number(result.shape[1 if result.rank == 4 else -1]),
            height=height,
            width=width,
            level=round(log2(full / max(height, width))),
            times=max(len(group.instances), 1),
            reads=reads,
            is_port=isinstance(self.graph[group.nodes[-1]].op, Input | Output),
        )


def _extent(feature: Feature) -> tuple[int, int]:
    if feature.rank != 4:
        return 1, 1
    return _number(feature.height), _number(feature.width)


def _number(size: object) -> int:
    if not isinstance(size, int):
        raise ValueError(f"the size {size} is not known: give every symbol a value")
    return size


def _common(paths: Sequence[str]) -> str:
    """The levels that all paths share; the first path if they share none."""
    split = [path.split(".") for path in paths]
    shared = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared) or paths[0]


def _names(paths: list[str]) -> list[str]:
    """Each path as short as it is unique: the first levels, then only the last of these."""
    heads = [
        _head(path, [p for j, p in enumerate(paths) if j != i]) for i, path in enumerate(paths)
    ]
    tails = [head.rsplit(".", 1)[-1] for head in heads]
    short = [
        tail if not tail.isdigit() and tails.count(tail) == 1 else head
        for head, tail in zip(heads, tails, strict=True)
    ]
    # A layer that is used again has the path of its first use.
    again = [short[:place].count(name) for place, name in enumerate(short)]
    return [f"{n} ({k + 1})" if k else n for n, k in zip(short, again, strict=True)]


def _head(path: str, others: Sequence[str]) -> str:
    parts = path.split(".")
    for count in range(1, len(parts) + 1):
        head = ".".join(parts[:count])
        if not any(other == head or other.startswith(head + ".") for other in others):
            return head
    return path
