"""Cases of the kernel of the pyramid's branches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compiler.to_triton.gate.case import Case, Loads
from compiler.to_triton.kernels.aspp import CONFIGS, aspp_kernel
from compiler.to_triton.kernels.common import ACTIVATIONS, AMD_STAGES


def cases(arch: str) -> Iterator[Case]:
    """Every tile in bf16; fp16 and tf32 with one."""
    found = [case(name) for name in CONFIGS]
    found.append(case("m64n128w4", dtype="fp16"))
    # As in the convolution: tf32 wants single words.
    found.append(replace(case("m64n64w4", dtype="fp32", precision="tf32"), loads=Loads.ANY))
    shallow = arch.startswith("gfx")
    for one in found:
        yield replace(one, stages=min(one.stages, AMD_STAGES)) if shallow else one


def case(config: str, *, dtype: str = "bf16", precision: str = "ieee") -> Case:
    """The pyramid of DeepLabV3: 2048 channels, branches of 256."""
    tile = CONFIGS[config]
    return Case(
        name=f"aspp {config} {dtype if precision == 'ieee' else precision}",
        kernel=aspp_kernel,
        pointers={"X": dtype, "Weight": dtype, "Y": dtype, "Bias": "fp32", "Table": "i32"},
        constants={
            "C": 2048, "K": 256, "ACT": ACTIVATIONS["relu"], "PRECISION": precision,
            "BM": tile.bm, "BN": tile.bn, "BK": 32 if dtype == "fp32" else tile.bk,
        },
        integers=("x_pixel", "y_pixel"),
        floats=("slope",),
        warps=tile.warps,
        stages=tile.stages,
    )  # fmt: skip
