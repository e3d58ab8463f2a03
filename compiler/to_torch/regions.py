"""Which block instances become modules of their own, and in which order their parts are called.

A region is the net or an instance that becomes a class. Instances that cannot be one (they add no
level to the weight paths, share a level with others, or would close a cycle) dissolve into the
region around them.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from compiler.to_torch.names import can_be_part
from segdsl.ir import Graph, Instance, Node, Value
from segdsl.ops.ports import Input, Output, Weight

MAX_LEVELS = 40
"""Modules nested deeper are dissolved: Python and torch both recurse over modules."""


@dataclass(eq=False)
class Region:
    """The net (`instance` is None) or an instance with a class of its own.

    `items` are its nodes and the regions directly inside it, in the order in which they are called.
    """

    instance: Instance | None
    path: str
    parent: Region | None
    items: list[str | Region] = field(default_factory=list["str | Region"])

    @property
    def level(self) -> int:
        """How many regions are around it."""
        count, region = 0, self.parent
        while region is not None:
            count, region = count + 1, region.parent
        return count

    def regions(self) -> Iterator[Region]:
        """The regions directly inside."""
        return (item for item in self.items if isinstance(item, Region))

    def deep_nodes(self) -> list[str]:
        """All nodes inside, in the order of calls."""
        found: list[str] = []
        stack: list[str | Region] = [self]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                found.append(item)
            else:
                stack.extend(reversed(item.items))
        return found


class CycleError(Exception):
    """Regions depend on each other in a circle; `instances` are to be dissolved."""

    def __init__(self, instances: AbstractSet[Instance]) -> None:
        super().__init__("regions depend on each other")
        self.instances = instances


def instances(node: Node) -> list[Instance]:
    """The instances around a node, outermost first."""
    return [frame for frame in node.scope if isinstance(frame, Instance)]


def live_nodes(graph: Graph) -> frozenset[str]:
    """The nodes that some output needs."""
    found: set[str] = set(graph.outputs)
    stack = list(found)
    while stack:
        for value in graph.operands(stack.pop()):
            if value.node not in found:
                found.add(value.node)
                stack.append(value.node)
    return frozenset(found)


@dataclass(eq=False)
class _Raw:
    """An instance before it is known whether it becomes a region."""

    instance: Instance
    arrays: int = 0
    below: int = 0
    live: int = 0
    nodes: int = 0
    nested: bool = False


def build(
    graph: Graph, live: AbstractSet[str], dissolved: AbstractSet[Instance], *, flat: bool = False
) -> Region:
    """The tree of regions of a graph, every region's items in calling order.

    Args:
        graph: the network.
        live: the nodes that some output needs.
        dissolved: instances that must not be regions.
        flat: whether no instance is a region.

    Raises:
        CycleError: some regions cannot be called one after the other.
    """
    root = Region(None, "", None)
    kept = frozenset[Instance]() if flat else _kept(graph, live, dissolved)
    regions: dict[Instance, Region] = {}
    for node in graph.nodes():
        region = root
        # What a net takes and gives is at its own border, wherever a builder put the node.
        inside = kept and not isinstance(node.op, Input | Output)
        for instance in instances(node) if inside else ():
            if instance not in kept:
                continue
            if instance not in regions:
                regions[instance] = Region(instance, instance.path, region)
                region.items.append(regions[instance])
            region = regions[instance]
        region.items.append(node.name)
    if regions:
        for region in (root, *regions.values()):
            _schedule(graph, region)
    return root


def _kept(
    graph: Graph, live: AbstractSet[str], dissolved: AbstractSet[Instance]
) -> frozenset[Instance]:
    raw = _survey(graph, live)
    users = _path_users(graph)
    shared: Counter[str] = Counter()
    for entry in raw.values():
        if not entry.nested:
            shared[entry.instance.path] += entry.below
    kept: set[Instance] = set()
    for instance, entry in raw.items():
        fits = entry.nodes >= 2 and entry.live > 0 and not entry.nested and instance.path != ""
        alone = entry.below == entry.arrays and shared[instance.path] == users[instance.path]
        if fits and alone and instance not in dissolved and _can_be_named(entry):
            kept.add(instance)
    return _levelled(graph, kept - _different_parts(graph, kept))


def _can_be_named(entry: _Raw) -> bool:
    """Without arrays a path is no key: an impossible one only dissolves the instance."""
    return entry.arrays > 0 or all(map(can_be_part, entry.instance.path.split(".")))


def _different_parts(graph: Graph, kept: AbstractSet[Instance]) -> set[Instance]:
    """Instances on one path that do not own the same arrays: parts of one container."""
    shared = Counter(instance.path for instance in kept)
    paths: dict[Instance, set[str]] = {i: set() for i in kept if shared[i.path] > 1}
    for node in graph.nodes() if paths else ():
        for instance in instances(node):
            if instance in paths and node.path is not None:
                paths[instance].add(node.path)
    together: dict[str, set[str]] = {}
    for instance, own in paths.items():
        together.setdefault(instance.path, set()).update(own)
    torn = {i.path for i, own in paths.items() if own != together[i.path]}
    return {instance for instance in paths if instance.path in torn}


def _survey(graph: Graph, live: AbstractSet[str]) -> dict[Instance, _Raw]:
    raw: dict[Instance, _Raw] = {}
    for node in graph.nodes():
        if isinstance(node.op, Input | Output):
            continue
        paths: set[str] = set()
        for instance in instances(node):
            entry = raw.setdefault(instance, _Raw(instance))
            entry.nodes += 1
            entry.live += node.name in live and not isinstance(node.op, Weight)
            entry.nested |= instance.path in paths
            paths.add(instance.path)
            if node.path is not None:
                entry.arrays += 1
                entry.below += node.path.startswith(instance.path + ".")
    return raw


def _path_users(graph: Graph) -> Counter[str]:
    """How many nodes own arrays at or below each path."""
    users: Counter[str] = Counter()
    for node in graph.nodes():
        if node.path is None:
            continue
        parts = node.path.split(".")
        for end in range(1, len(parts) + 1):
            users[".".join(parts[:end])] += 1
    return users


def _levelled(graph: Graph, kept: set[Instance]) -> frozenset[Instance]:
    """Without instances below too many others, or not on a path below the one around."""
    result = set(kept)
    for node in graph.nodes():
        around: list[Instance] = []
        for instance in instances(node):
            if instance not in result:
                continue
            outer = around[-1].path + "." if around else ""
            if len(around) >= MAX_LEVELS or not instance.path.startswith(outer):
                result.discard(instance)
            else:
                around.append(instance)
    return frozenset(result)


def _schedule(graph: Graph, region: Region) -> None:
    """Put the items in an order in which each is called after what it reads; ties by first node."""
    owner: dict[str, int] = {}
    for place, item in enumerate(region.items):
        for name in [item] if isinstance(item, str) else item.deep_nodes():
            owner[name] = place
    needs: list[set[int]] = [set() for _ in region.items]
    for name, place in owner.items():
        for value in graph.operands(name):
            source = owner.get(value.node)
            if source is not None and source != place:
                needs[place].add(source)
    region.items[:] = [region.items[i] for i in _order(needs, region)]


def _order(needs: list[set[int]], region: Region) -> list[int]:
    users: list[list[int]] = [[] for _ in needs]
    for place, sources in enumerate(needs):
        for source in sources:
            users[source].append(place)
    waiting = [len(sources) for sources in needs]
    ready = [place for place, count in enumerate(waiting) if count == 0]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        place = heapq.heappop(ready)
        order.append(place)
        for user in users[place]:
            waiting[user] -= 1
            if waiting[user] == 0:
                heapq.heappush(ready, user)
    if len(order) < len(needs):
        stuck = set(range(len(needs))) - set(order)
        items = [region.items[i] for i in stuck]
        raise CycleError(
            {i.instance for i in items if isinstance(i, Region) and i.instance is not None}
        )
    return order


def random_order(graph: Graph, names: list[str]) -> list[str]:
    """Those of the nodes that draw random numbers, in the given order."""
    return [name for name in names if graph[name].op.random]


def inputs_of(
    graph: Graph, region: Region, inside: AbstractSet[str], live: AbstractSet[str]
) -> list[tuple[str, Value]]:
    """The values that a region reads from outside, by port, in declared order."""
    used: dict[Value, None] = {}
    for name in region.deep_nodes():
        for value in graph.operands(name) if name in live else ():
            if value.node not in inside:
                used.setdefault(value)
    return _named(graph, region, used, outputs=False)


def outputs_of(
    graph: Graph, region: Region, inside: AbstractSet[str], live: AbstractSet[str]
) -> list[tuple[str, Value]]:
    """The values of a region that somebody outside needs, with the names of its ports."""
    used: dict[Value, None] = {}
    for name in region.deep_nodes():
        for use in sorted(graph.users(name), key=lambda use: use.port):
            if use.node not in inside and use.node in live:
                used.setdefault(Value(name, use.port))
    return _named(graph, region, used, outputs=True)


def _named(
    graph: Graph, region: Region, used: dict[Value, None], *, outputs: bool
) -> list[tuple[str, Value]]:
    ports = graph.ports.get(region.instance) if region.instance is not None else None
    found: list[tuple[str, Value]] = []
    rest = dict(used)
    for port, value in (ports.outputs if outputs else ports.inputs) if ports is not None else ():
        many = not isinstance(value, Value)
        for i, one in enumerate(value if many else (value,)):
            if one in rest:
                del rest[one]
                found.append((f"{port}{i}" if many else port, one))
    return found + [("", value) for value in rest]
