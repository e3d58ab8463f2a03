"""Cases of the mean field's lattice kernels."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.to_triton.gate.case import Case, Loads
from compiler.to_triton.kernels.field import stride
from compiler.to_triton.kernels.lattice import (
    CONFIGS,
    blur_kernel,
    sizes_of,
    slice_kernel,
    splat_kernel,
)


def cases(arch: str) -> Iterator[Case]:
    """Each kernel with the rows that VOC has; the slice with many classes, and with a matrix."""
    yield splat("r64a4w4", 21)
    yield splat("r16a8w2", 21)
    yield blur("r64a4w4", 21)
    yield slices("r64a4w4", 21)
    yield slices("r32a4w4", 60)
    yield slices("r8a4w4", 150)
    yield slices("r64a4w4", 21, matrix=True)


def splat(config: str, classes: int) -> Case:
    """Pixels to vertices."""
    chosen = CONFIGS[config]
    return Case(
        name=f"lattice splat {config} {classes} classes",
        kernel=splat_kernel,
        pointers={
            "Q": "fp32", "Bounds": "i32", "Pixels": "i32", "Shares": "fp32", "Values": "fp32",
        },
        constants={**sizes_of(stride(classes), chosen), "AHEAD": chosen.ahead},
        warps=chosen.warps,
        matrix=False,
        loads=Loads.VECTOR,
    )  # fmt: skip


def blur(config: str, classes: int) -> Case:
    """One axis."""
    return Case(
        name=f"lattice blur {config} {classes} classes",
        kernel=blur_kernel,
        pointers={"Values": "fp32", "Neighbours": "i32", "Out": "fp32"},
        constants={**sizes_of(stride(classes), CONFIGS[config])},
        warps=CONFIGS[config].warps,
        matrix=False,
        loads=Loads.VECTOR,
    )


def slices(config: str, classes: int, *, matrix: bool = False) -> Case:
    """A gaussian and a bilateral term of an RGB picture: three and six corners."""
    return Case(
        name=f"lattice slice {config} {classes} classes" + " matrix" * matrix,
        kernel=slice_kernel,
        pointers={
            "Values": "fp32", "Corners": "i32", "Weights": "fp32", "Anchor": "fp32",
            "Matrix": "fp32" if matrix else None, "Out": "fp32",
        },
        constants={**sizes_of(stride(classes), CONFIGS[config]), "C": classes, "J": 9,
                   "EPILOGUE": 1},
        warps=CONFIGS[config].warps,
        matrix=False,
        loads=Loads.VECTOR,
    )  # fmt: skip
