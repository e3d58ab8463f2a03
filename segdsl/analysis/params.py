"""The arrays of a network: the state_dict, before any array exists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from segdsl.analysis.shapes import Shapes, shapes
from segdsl.ir import Graph, Node
from segdsl.source import Span
from segdsl.types import Feature, Param

Params = dict[str, Param]


@dataclass
class _Module:
    """A level of the path tree: its own tensors.

    And the levels below in order of first appearance.
    """

    tensors: dict[str, Param] = field(default_factory=dict[str, Param])
    children: dict[str, _Module] = field(default_factory=dict[str, "_Module"])


def params(graph: Graph, table: Shapes | None = None) -> Params:
    """Every array of the network by full path, in state_dict order.

    That is the order of a module tree whose levels are made when first met: parameters of a level,
    then its buffers, then the levels below. A level is met where a `layer` declares it or a node
    owns it. Nodes that share a path share its arrays.
    """
    table = shapes(graph) if table is None else table
    root = _Module()
    for node in _by_path(graph):
        inputs = tuple(table[value] for value in graph.operands(node.name))
        for path, param in node_params(node, inputs).items():
            _put(root, path, param)
    return dict(_walk(root))


def _by_path(graph: Graph) -> Iterable[Node]:
    """The nodes in the order in which the source names their paths."""
    if not graph.path_order:
        return graph.nodes()
    rank = {path: i for i, path in enumerate(graph.path_order)}
    return sorted(graph.nodes(), key=lambda node: rank.get(node.path or "", len(rank)))


def node_params(node: Node, inputs: Sequence[Feature]) -> Params:
    """The arrays of a file that a node is computed from, by full path.

    A node with a folded norm needs the convolution's arrays and the norm's.
    """
    if node.path is None:
        return {}
    own = node.op.params(*inputs)
    found = {tensor_path(node.path, tensor): param for tensor, param in own.items()}
    if node.folded is not None:
        if not node.folded.bias:
            del found[tensor_path(node.path, "bias")]
        result = node.op.infer(*inputs)
        norm = node.folded.norm.params(*(result if isinstance(result, tuple) else (result,)))
        found |= {tensor_path(node.folded.path, tensor): param for tensor, param in norm.items()}
    return found


def tensor_path(path: str, tensor: str) -> str:
    """The full name of a tensor of the node that owns `path`."""
    return ".".join(part for part in (path, tensor) if part)


def _put(root: _Module, path: str, param: Param) -> None:
    *levels, leaf = path.split(".")
    module = root
    for level in levels:
        module = module.children.setdefault(level, _Module())
    module.tensors.setdefault(leaf, param)


def _walk(root: _Module) -> Iterator[tuple[str, Param]]:
    stack: list[tuple[str, _Module]] = [("", root)]
    while stack:
        prefix, module = stack.pop()
        ordered = sorted(module.tensors.items(), key=lambda item: not item[1].learned)
        for leaf, param in ordered:
            yield prefix + leaf, param
        stack.extend(
            (f"{prefix}{name}.", child) for name, child in reversed(module.children.items())
        )


def owners(graph: Graph) -> dict[str, Span]:
    """Where in the text the owner of each array stands."""
    table = shapes(graph)
    found: dict[str, Span] = {}
    for node in graph.nodes():
        inputs = tuple(table[value] for value in graph.operands(node.name))
        for path in node_params(node, inputs):
            found.setdefault(path, node.span)
    return found


def count(table: Params) -> int:
    """Learned numbers in the table: trained or frozen parameters, no buffers."""
    return sum(param.count for param in table.values() if param.learned)
