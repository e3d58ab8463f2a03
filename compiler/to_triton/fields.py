"""Mean fields over windows: every one whose messages are not on a coarser grid is for the kernel.

    x -> mean_field([...], method=window)   =>   the same, which launches once per iteration

Non-goals: the lattice and the exact kernel, and `blur`, which stay with the library.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

from compiler.passes.rebuild import rebuilt
from segdsl.ir import Graph
from segdsl.ops.crf import MeanField


@dataclass(frozen=True)
class WindowField(MeanField):
    """A mean field over windows, by the kernel.

    It keeps its name: the emitted file carries the library, where the router may send a call.
    """

    internal: ClassVar[bool] = True


def fuse_fields(graph: Graph) -> Graph:
    """The graph with the fields that the kernel can take; the same object if there is none."""
    nodes = {
        node.name: replace(node, op=_windowed(node.op))
        for node in graph.nodes()
        if isinstance(node.op, MeanField) and not no_kernel(node.op)
    }
    return rebuilt(graph, nodes=nodes) if nodes else graph


def _windowed(op: MeanField) -> WindowField:
    return WindowField(**{field.name: getattr(op, field.name) for field in fields(op)})


def no_kernel(op: MeanField) -> str:
    """Why the kernel cannot take a field at all, or ""."""
    if op.method != "window":
        return f"no template: method={op.method}"
    if op.coarseness > 1:
        return f"no template: blur={op.coarseness}"
    if not op.terms or not op.iterations:
        return "no arithmetic: no message is passed"
    return ""
