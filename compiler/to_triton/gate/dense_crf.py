"""Cases of the mean field's kernel over all pairs."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.to_triton.gate.case import Case, Loads
from compiler.to_triton.kernels.common import AMD_STAGES
from compiler.to_triton.kernels.dense_crf import CONFIGS, constants, dense_kernel, pack_kernel

RGB = 5
"""Features of a bilateral term of a picture."""


def cases(arch: str) -> Iterator[Case]:
    """Every tile with the classes that it is for; differences; the packing."""
    yield case(arch, "b64p2w4", 21)
    yield case(arch, "b64p2w8", 150)
    yield case(arch, "b64p1w4", 21)
    yield case(arch, "b64p1w8", 150)
    yield case(arch, "b128p1w8", 21)
    yield case(arch, "b64p2w4", 21, narrow=False)
    yield packing("b64p2w4", 21)


def case(
    arch: str, config: str, classes: int, *, narrow: bool = True
) -> Case:  # fmt: skip
    """A bilateral term, whose matrix product is the one of kernel values and classes."""
    chosen = CONFIGS[config]
    words = ["dense_crf", config, f"{classes} classes"]
    words += ["wide"] * (not narrow)
    return Case(
        name=" ".join(words),
        kernel=dense_kernel,
        pointers={
            "V": "fp16", "Scale": "fp32", "Feature": "fp32", "Centre": "fp32", "Order": "i32",
            "Columns": "i32", "Starts": "i32", "Work": "i32", "Post": "fp32", "Anchor": "fp32",
            "Matrix": None, "Out": "fp32",
        },
        constants=constants(classes, RGB, narrow, True, "proba", chosen),
        integers=("places",),
        warps=chosen.warps,
        stages=min(chosen.stages, AMD_STAGES) if arch.startswith("gfx") else chosen.stages,
        loads=Loads.ANY,
    )  # fmt: skip


def packing(config: str, classes: int) -> Case:
    """Probabilities in the order of the tiles."""
    fixed = constants(classes, RGB, True, True, "proba", CONFIGS[config])
    return Case(
        name=f"dense_crf pack {config} {classes} classes",
        kernel=pack_kernel,
        pointers={"Q": "fp32", "Pre": "fp32", "Order": "i32", "V": "fp16", "Scale": "fp32"},
        constants={name: fixed[name] for name in ("S", "PARTS", "B", "BC")},
        integers=("places",),
        warps=4,
        matrix=False,
        loads=Loads.VECTOR,
    )
