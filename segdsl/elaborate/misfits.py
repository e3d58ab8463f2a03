"""Initialisers that cannot fill their arrays, found before there are any arrays."""

from __future__ import annotations

from collections.abc import Iterator

from segdsl.diagnostics import Diagnostic
from segdsl.elaborate.builder import Builder
from segdsl.infer import at_user
from segdsl.ir import Node
from segdsl.types import Param

DIAGONAL = frozenset({"bilinear", "identity"})
"""Initialisers that fill the channel diagonal, or the one channel of every group."""


def misfits(builder: Builder) -> Iterator[Diagnostic]:
    """E5005 for every weight whose initialiser needs other channels, once per path."""
    seen: set[str] = set()
    for name in builder.graph:
        node = builder.graph[name]
        if node.path is None or node.path in seen:
            continue
        seen.add(node.path)
        inputs = tuple(builder.types[value] for value in builder.graph.operands(name))
        for param in node.op.params(*inputs).values():
            if not _fits(param):
                yield at_user(_misfit(node, param), node.scope)


def _fits(param: Param) -> bool:
    if param.init.name == "eye":
        return len(param.shape) == 2 and param.shape[0] == param.shape[1]
    if param.init.name not in DIAGONAL or len(param.shape) < 2:
        return param.init.name not in DIAGONAL
    first, second = param.shape[:2]
    return first == second or second == 1


def _misfit(node: Node, param: Param) -> Diagnostic:
    span = node.parts.get("init", node.parts.get("bias_init", node.span))
    name = param.init.name
    message = f"{name} initialisation needs a kernel of two axes or more"
    if len(param.shape) > 1:
        first, second = param.shape[:2]
        message = (
            f"{name} initialisation needs equal channels: this kernel has {first} and {second}"
        )
    notes = (f"the kernel of `{node.path}` is {list(param.shape)}",)
    return Diagnostic("E5005", message, span, notes=notes)
