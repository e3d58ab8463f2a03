"""Cases of DCNv3's sampling and of its gradients."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.to_triton.gate.case import Case, Loads
from compiler.to_triton.kernels.dcnv3 import dcnv3_kernel
from compiler.to_triton.kernels.dcnv3_backward import dcnv3_backward_kernel
from compiler.to_triton.kernels.dcnv3_sampling import Sampling
from compiler.to_triton.kernels.dcnv3_tiles import CONFIGS, constants

INTERN_IMAGE = Sampling(4, [3, 3], [1, 1], [1, 1], [1, 1], 1.0, True, False, None)
"""The first stage of InternImage-T: 4 groups of 16 channels, nine points."""


def cases(arch: str) -> Iterator[Case]:
    """Every tile in bf16, forward and backward; one of them in fp32; one without atomics."""
    yield case("r64c16w4")
    yield case("r128c16w4")
    yield case("r32c32w4", each=32)
    yield case("r64c16w4", dtype="fp32")
    yield case("r64c16w4", backward=True)
    yield case("r32c32w4", backward=True, each=32)
    yield case("r64c16w4", backward=True, atomic=False)


def case(
    config: str, *, dtype: str = "bf16", each: int = 16, backward: bool = False, atomic: bool = True
) -> Case:
    """Four groups of `each` channels."""
    words = ["dcnv3", *["backward"] * backward, config, dtype, f"4x{each}"]
    words += ["no_x"] * (backward and not atomic)
    maps: dict[str, str | None] = {"X": dtype, "Offset": dtype, "Mask": dtype}
    if backward:
        maps |= {"Grad": dtype, "GradX": "fp32" if atomic else None,
                 "GradOffset": dtype, "GradMask": dtype}  # fmt: skip
    else:
        maps["Y"] = dtype
    return Case(
        name=" ".join(words),
        kernel=dcnv3_backward_kernel if backward else dcnv3_kernel,
        pointers=maps,
        constants=dict(constants(each, INTERN_IMAGE, CONFIGS[config])),
        integers=("x_pixel",),
        floats=("scale", "limit"),
        warps=CONFIGS[config].warps,
        matrix=False,
        loads=Loads.VECTOR,
    )
