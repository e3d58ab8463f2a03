"""The graph: operators on edges of values, on networkx.

The only module that touches networkx attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx

from segdsl.ops.base import Op
from segdsl.ops.norm import BatchNorm
from segdsl.ops.ports import Input, Output, Weight
from segdsl.source import NOWHERE, Span

if TYPE_CHECKING:
    MultiDiGraph = nx.MultiDiGraph[str]
else:
    MultiDiGraph = nx.MultiDiGraph

Const = int | float | bool | str | None | tuple["Const", ...]
"""A compile-time value; lists are tuples."""


class Value(NamedTuple):
    """One result of a node: what flows on an edge."""

    node: str
    port: int = 0


@dataclass(frozen=True, eq=False)
class Instance:
    """One use of a block. Compared by identity: two uses of one block are two instances.

    `path` is the full weight path of the instance ("" adds no level); `args` are the compile-time
    parameters with their values, defaults included, in declared order; `span` is the call and
    `definition` the block's name where it is defined. `written` is where the arguments stand, if
    that is not the call: the declaration of a layer.
    """

    block: str
    path: str
    args: tuple[tuple[str, Const], ...]
    span: Span
    definition: Span
    written: Span | None = None


@dataclass(frozen=True)
class Turn:
    """One turn of a `repeat` or `for`.

    Turns with equal scope prefix and equal `span` are one loop.
    """

    index: int
    count: int
    span: Span


Scope = tuple[Instance | Turn, ...]
"""Where a node came from, outermost first."""


@dataclass(frozen=True)
class Ports:
    """The values that an instance was given and gave.

    By declared port name (lists of maps as tuples).
    """

    inputs: tuple[tuple[str, Value | tuple[Value, ...]], ...]
    outputs: tuple[tuple[str, Value | tuple[Value, ...]], ...]


@dataclass(frozen=True)
class Folded:
    """A batch norm that a pass worked into the convolution before it.

    The node's operator then has a bias. Its arrays are in no file: they are those of the
    convolution at the node's path, scaled and shifted by the norm's, which
    `compiler.weights.folding` computes. `path` and `norm` are the norm's; `bias` says whether the
    convolution has a bias of its own.
    """

    path: str
    norm: BatchNorm
    bias: bool


@dataclass(frozen=True)
class Node:
    """One operator in the graph. Provenance is no part of equality.

    `path` is the weight path that owns its arrays (None: it has none); nodes with equal path share
    them. `folded` is the batch norm that was worked into them, in graphs that a pass made.
    `label` is the writer's own word for the result: the binding, the tap, or the operator's name.
    `parts` maps an attribute name or an operand slot to its place in the text.
    """

    name: str
    op: Op
    path: str | None = None
    label: str = field(default="", compare=False)
    span: Span = field(default=NOWHERE, compare=False)
    parts: Mapping[str | int, Span] = field(default_factory=dict[str | int, Span], compare=False)
    scope: Scope = field(default=(), compare=False)
    folded: Folded | None = None


class Use(NamedTuple):
    """One consumer of a node: operand `slot` of `node` reads result `port`."""

    node: str
    slot: int
    port: int


class GraphError(Exception):
    """The graph was built or rewritten wrongly: a bug in segdsl, never the user's fault."""


class Graph:
    """A network: nodes in source order, edges from producers to operand slots.

    Iterating yields node names, operands first and otherwise in the order in which they were added,
    which is the order of the source.

    Attributes:
        name: the net's name.
        settings: the net's parameters with the values of this elaboration.
        stages: values that a reader knows by name: bindings and taps of the net, results of blocks.
        ports: the values that crossed the border of each instance when it was elaborated.
        source: the file it came from ("" for a built graph); provenance only.
        doc: the net's doc comment.
        path_order: the weight paths in the order of the state_dict, if that is not the order of the
            nodes: a `layer` has its place where it is declared. Empty: the order of the nodes.
    """

    def __init__(self, name: str, settings: Mapping[str, Const] | None = None) -> None:
        self.name = name
        self.settings: dict[str, Const] = dict(settings or {})
        self.stages: dict[str, Value] = {}
        self.ports: dict[Instance, Ports] = {}
        self.source = ""
        self.doc: tuple[str, ...] = ()
        self.path_order: tuple[str, ...] = ()
        self._graph = MultiDiGraph()
        self._operands: dict[str, tuple[Value, ...]] = {}
        self._ordered = True
        self._order: list[str] | None = None

    def add(self, node: Node, operands: Sequence[Value] = ()) -> Value:
        """Add a node that reads `operands`, slot by slot; answers its first result.

        Raises:
            GraphError: the name is taken or an operand does not exist.
        """
        if node.name in self._graph:
            raise GraphError(f"two nodes are called {node.name!r}")
        self._check_operands(node.name, operands)
        self._graph.add_node(node.name, node=node)
        for slot, value in enumerate(operands):
            self._graph.add_edge(value.node, node.name, key=slot, port=value.port)
        self._operands[node.name] = tuple(operands)
        self._order = None
        return Value(node.name)

    def remove(self, name: str) -> None:
        """Remove a node that nobody uses.

        Raises:
            GraphError: somebody does.
        """
        if self._graph.out_degree(name):
            raise GraphError(f"{name!r} still has users")
        self._graph.remove_node(name)
        del self._operands[name]
        self._order = None

    def replace(self, name: str, node: Node) -> None:
        """Put another node of the same name in place; edges stay."""
        if node.name != name:
            raise GraphError(f"{name!r} cannot become {node.name!r}")
        self._graph.nodes[name]["node"] = node

    def rewire(self, name: str, operands: Sequence[Value]) -> None:
        """Give a node other operands."""
        self._check_operands(name, operands)
        self._graph.remove_edges_from(list(self._graph.in_edges(name, keys=True)))
        for slot, value in enumerate(operands):
            self._graph.add_edge(value.node, name, key=slot, port=value.port)
        self._operands[name] = tuple(operands)
        self._ordered = False
        self._order = None

    def _check_operands(self, name: str, operands: Iterable[Value]) -> None:
        for value in operands:
            if value.node not in self._graph:
                raise GraphError(f"{name!r} reads {value.node!r}, which does not exist")

    def __contains__(self, name: str) -> bool:
        return name in self._graph

    def __getitem__(self, name: str) -> Node:
        node: Node = self._graph.nodes[name]["node"]
        return node

    def __len__(self) -> int:
        return len(self._graph)

    def __iter__(self) -> Iterator[str]:
        if self._order is None:
            self._order = list(self._graph) if self._ordered else self._sorted()
        return iter(self._order)

    def _sorted(self) -> list[str]:
        place = {name: i for i, name in enumerate(self._graph)}
        try:
            return list(nx.lexicographical_topological_sort(self._graph, key=place.__getitem__))
        except nx.NetworkXUnfeasible as error:
            raise GraphError(f"the graph of {self.name!r} has a cycle") from error

    def operands(self, name: str) -> tuple[Value, ...]:
        """What a node reads, slot by slot."""
        return self._operands[name]

    def users(self, name: str) -> list[Use]:
        """Who reads the results of a node."""
        edges: list[tuple[str, str, int, int]]
        edges = list(self._graph.out_edges(name, keys=True, data="port"))
        return [Use(user, slot, port) for _, user, slot, port in edges]

    def nodes(self) -> Iterator[Node]:
        """All nodes, in iteration order."""
        return (self[name] for name in self)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The input nodes, in declared order."""
        return tuple(name for name in self if isinstance(self[name].op, Input))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The output nodes, in declared order."""
        return tuple(name for name in self if isinstance(self[name].op, Output))

    @property
    def view(self) -> MultiDiGraph:
        """A read-only networkx view, for algorithms."""
        view: MultiDiGraph = nx.freeze(self._graph.copy(as_view=True))
        return view

    def blank(self) -> Graph:
        """A graph without nodes that is otherwise this one: what a pass fills."""
        other = Graph(self.name, self.settings)
        other.source, other.doc, other.path_order = self.source, self.doc, self.path_order
        return other

    def copy(self) -> Graph:
        """A graph of its own with the same node objects."""
        other = self.blank()
        other.stages = dict(self.stages)
        other.ports = dict(self.ports)
        other._graph = self._graph.copy()
        other._operands = dict(self._operands)
        other._ordered = self._ordered
        return other

    def map_ops(self, change: Callable[[Node], Op]) -> Graph:
        """A copy in which every node has the operator that `change` answers for it."""
        other = self.copy()
        for node in self.nodes():
            op = change(node)
            if op is not node.op:
                other.replace(node.name, replace(node, op=op))
        return other

    def verify(self) -> None:
        """Check the invariants: slots 0..n-1 once each, arity, existing ports, no cycle.

        Raises:
            GraphError: one does not hold.
        """
        self._sorted()
        for name in self:
            self._verify_node(self[name])

    def _verify_node(self, node: Node) -> None:
        op = node.op
        edges: list[tuple[str, str, int, int]]
        edges = list(self._graph.in_edges(node.name, keys=True, data="port"))
        reads = sorted((slot, Value(producer, port)) for producer, _, slot, port in edges)
        slots = [slot for slot, _ in reads]
        if slots != list(range(len(slots))):
            raise GraphError(f"{node.name!r} has operand slots {slots}")
        if tuple(value for _, value in reads) != self._operands[node.name]:
            raise GraphError(f"the edges of {node.name!r} are not its operands")
        low = 1 if op.variadic else len(op.operands) - op.optional
        free = op.variadic or op.slotted
        if len(slots) < low or (not free and len(slots) > len(op.operands)):
            raise GraphError(f"{op.name} {node.name!r} has {len(slots)} operands")
        for value in self.operands(node.name):
            if value.port >= len(self[value.node].op.results):
                raise GraphError(f"{node.name!r} reads result {value.port} of {value.node!r}")

    def structure(self) -> tuple[object, ...]:
        """What the graph computes, without names and provenance.

        Equal structures are equal networks. A bare weight counts where it is first read, and once
        for its path: it may stand anywhere before, and be read by any number of nodes.
        """
        key = {n.name: f"@{n.path}" if isinstance(n.op, Weight) else n.name for n in self.nodes()}
        place: dict[str, int] = {}
        for name in self:
            for value in self.operands(name):
                place.setdefault(key[value.node], len(place))
            if not isinstance(self[name].op, Weight):
                place.setdefault(name, len(place))
        for name in self:
            place.setdefault(key[name], len(place))
        owner = {key[name]: name for name in self}
        rows: list[object] = [self.name, self.path_order]
        for name in map(owner.__getitem__, place):
            node = self[name]
            reads = tuple((place[key[v.node]], v.port) for v in self.operands(name))
            rows.append((node.op, node.path, node.folded, reads))
        return tuple(rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.structure() == other.structure()

    __hash__ = None  # type: ignore[assignment]
