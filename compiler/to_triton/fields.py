"""Mean fields: each method has its kernels, which take every field that passes a message.

    x -> mean_field([...], method=window)    =>   the same, by the kernel of windows
    x -> mean_field([...], method=lattice)   =>   the same, by those of lattices
    x -> mean_field([...], method=exact)     =>   the same, by the kernel over all pairs

Non-goals: gradients, which stay with the library at the call, and exact fields whose terms know
places alone: their kernels are separable, and two small products of matrices are all there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from compiler.passes.rebuild import rebuilt
from segdsl.ir import Graph
from segdsl.ops.crf import MeanField
from segdsl.types import Feature


@dataclass(frozen=True)
class KernelField(MeanField):
    """A mean field by kernels.

    It keeps its name: the emitted file carries the library, where the router may send a call.
    """

    internal: ClassVar[bool] = True
    kernel: ClassVar[str]
    """The file of its kernels."""
    call: ClassVar[str]
    """The function that computes it, which the kernels' package has."""
    library: ClassVar[tuple[str, ...]] = ("mean_field", "unary_scores", "features")
    """What that function needs of the text of the library in the emitted file."""

    def kernel_macs(self, *inputs: Feature) -> int:
        """The multiply-accumulates that the kernels can take."""
        return self.macs(*inputs)


@dataclass(frozen=True)
class WindowField(KernelField):
    """A mean field over windows."""

    kernel: ClassVar[str] = "window_filter"
    call: ClassVar[str] = "window_field"


@dataclass(frozen=True)
class LatticeField(KernelField):
    """A mean field on permutohedral lattices, which the library builds."""

    kernel: ClassVar[str] = "lattice"
    call: ClassVar[str] = "lattice_field"
    library: ClassVar[tuple[str, ...]] = (*KernelField.library, "lattice_of")


@dataclass(frozen=True)
class DenseField(KernelField):
    """A mean field over all pairs of pixels."""

    kernel: ClassVar[str] = "dense_crf"
    call: ClassVar[str] = "dense_field"

    def kernel_macs(self, *inputs: Feature) -> int:
        """Those of the terms with a guide: the others are products of matrices."""
        guided = replace(self, terms=tuple(term for term in self.terms if term.guide is not None))
        return guided.macs(*inputs)


METHODS: Mapping[str, type[KernelField]] = {
    "window": WindowField,
    "lattice": LatticeField,
    "exact": DenseField,
}


def fuse_fields(graph: Graph) -> Graph:
    """The graph with the fields that kernels can take; the same object if there is none."""
    nodes = {
        node.name: replace(node, op=_by_kernel(node.op))
        for node in graph.nodes()
        if isinstance(node.op, MeanField) and not no_kernel(node.op)
    }
    return rebuilt(graph, nodes=nodes) if nodes else graph


def _by_kernel(op: MeanField) -> KernelField:
    return METHODS[op.method](**{field.name: getattr(op, field.name) for field in fields(op)})


def no_kernel(op: MeanField) -> str:
    """Why no kernel can take a field at all, or ""."""
    if not op.terms or not op.iterations:
        return "no arithmetic: no message is passed"
    if op.method == "exact" and all(term.guide is None for term in op.terms):
        return "no template: terms of the place alone are separable"
    if op.method == "exact" and op.start != "softmax":
        return f"no template: start={op.start}"
    return ""
