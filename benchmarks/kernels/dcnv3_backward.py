"""The gradients of DCNv3's sampling in two stages of InternImage-T."""

from __future__ import annotations

from benchmarks.kernels.case import Case
from benchmarks.kernels.dcnv3 import DTYPES, STAGES, Shape, case


def cases() -> list[Case]:
    """The first and the longest stage in half precision."""
    shapes = (STAGES[0], STAGES[2])
    return [case(shape, dtype, backward=True) for shape in shapes for dtype in DTYPES]


def small() -> Case:
    """A case for the interpreter."""
    return case(Shape(1, 4, 2, 3, 2, slices=False), "float32", backward=True)
