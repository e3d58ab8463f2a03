"""The sampling of DCNv3 as one kernel: every `dcnv3_core` of a graph becomes one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.passes.rebuild import rebuilt
from segdsl.ir import Graph
from segdsl.ops.base import Op
from segdsl.ops.deform import Dcnv3Core
from segdsl.taps import Taps
from segdsl.types import Axis, Feature, Requirement

MOST_POINTS = 49
"""The kernels unroll the points (kernels.dcnv3)."""


@dataclass(frozen=True)
class DeformableSampling(Op):
    """The weighted points of DCNv3, with the softmax of their masks.

    Attributes:
        core: the operator that it stands for.
    """

    name: ClassVar[str] = "deformable_sampling"
    operands: ClassVar[tuple[str, ...]] = ("x", "offset", "mask")
    internal: ClassVar[bool] = True

    core: Dcnv3Core

    def infer(self, *inputs: Feature) -> Feature:
        return self.core.infer(*inputs)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        return self.core.requirements(*inputs)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return self.core.taps(slot, axis, *inputs)

    def macs(self, *inputs: Feature) -> int:
        return self.core.macs(*inputs)


def fuse_sampling(graph: Graph) -> Graph:
    """The graph with the samplings that the kernel can take; the same object if there is none."""
    nodes = {
        node.name: replace(node, op=DeformableSampling(node.op))
        for node in graph.nodes()
        if isinstance(node.op, Dcnv3Core) and not no_kernel(node.op)
    }
    return rebuilt(graph, nodes=nodes) if nodes else graph


def no_kernel(op: Dcnv3Core) -> str:
    """Why the kernel cannot take a sampling at all, or ""."""
    if len(op.points) > MOST_POINTS:
        return f"no template: {len(op.points)} points; the most is {MOST_POINTS}"
    return ""
