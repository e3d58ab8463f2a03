"""Cases of the convolution over two maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compiler.to_triton.gate.case import Case
from compiler.to_triton.kernels.common import ACTIVATIONS, AMD_STAGES
from compiler.to_triton.kernels.merge_tiles import CONFIGS, FORMS, merge_conv_kernel


def cases(arch: str) -> Iterator[Case]:
    """Every tile, enlarging or by phases, with a residual: without one registers are left over.

    The other two forms read the first map as the enlarging one does, by other coordinates.
    """
    shallow = arch.startswith("gfx")
    for name in CONFIGS:
        one = case(name, dtype="fp16" if name == "fold m128n64w4" else "bf16")
        yield replace(one, stages=min(one.stages, AMD_STAGES)) if shallow else one


def case(config: str, *, dtype: str = "bf16") -> Case:
    """A level of a U-Net: two maps of 128 channels, the first at half the size."""
    tile = CONFIGS[config]
    form = "fold" if tile.fold else "nearest"
    return Case(
        name=f"merge {config.removeprefix('fold ')} {dtype} {form} residual",
        kernel=merge_conv_kernel,
        pointers={
            "A": dtype, "B": dtype, "WeightA": dtype, "WeightB": dtype, "Y": dtype,
            "Bias": "fp32", "Residual": dtype,
        },
        constants={
            "CA": 128, "CB": 128, "K": tile.bn, "R": 3, "S": 3, "STRIDE_H": 1, "STRIDE_W": 1,
            "PAD_H": 1, "PAD_W": 1, "DIL_H": 1, "DIL_W": 1, "FORM": FORMS[form],
            "ACT": ACTIVATIONS["none"], "AFTER": ACTIVATIONS["relu"], "PRECISION": "ieee",
            "BM": tile.bm, "BN": tile.bn, "BK": tile.bk, "GROUP": tile.group,
        },
        integers=("a_pixel", "b_pixel", "y_pixel", "r_pixel"),
        floats=("scale_h", "scale_w", "slope"),
        warps=tile.warps,
        stages=tile.stages,
    )  # fmt: skip
