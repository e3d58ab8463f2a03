"""Cases of the convolution kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compiler.to_triton.gate.case import Case, Loads
from compiler.to_triton.kernels.common import ACTIVATIONS, AMD_STAGES
from compiler.to_triton.kernels.conv import CONFIGS, WITH_RESIDUAL, conv_kernel


def cases(arch: str) -> Iterator[Case]:
    """Every tile in bf16, with and without a residual; fp16, tf32 and ieee fp32 with one tile."""
    found = [case(name) for name in CONFIGS]
    found += [case(name, residual=True) for name in CONFIGS if name in WITH_RESIDUAL]
    found.append(case("m64n128w4", dtype="fp16", residual=True))
    # wgmma wants the second operand of tf32 with the reduction innermost: single words are copied.
    found.append(replace(case("m64n64w4", dtype="fp32", precision="tf32", bk=32), loads=Loads.ANY))
    found.append(case("m64n128w4", kernel=1, stride=2))
    found += [case(name, kernel=1, image=True) for name in ("m64n128w4", "m128n128w8")]
    shallow = arch.startswith("gfx")
    for one in found:
        yield replace(one, stages=min(one.stages, AMD_STAGES)) if shallow else one


def case(
    config: str,
    *,
    dtype: str = "bf16",
    residual: bool = False,
    image: bool = False,
    precision: str = "ieee",
    kernel: int = 3,
    stride: int = 1,
    bk: int = 0,
    unaligned: bool = False,
) -> Case:
    """A 512-channel convolution with dilation 2, as in the last stages of a dilated ResNet."""
    tile = CONFIGS[config]
    words = [config, dtype if precision == "ieee" else precision, f"{kernel}x{kernel}"]
    words += [f"s{stride}"] * (stride > 1) + ["image"] * image + ["residual"] * residual
    pad = kernel // 2 * 2
    return Case(
        name=" ".join(["conv", *words]),
        kernel=conv_kernel,
        pointers={
            "X": dtype, "Weight": dtype, "Y": dtype, "Bias": "fp32",
            "ImageBias": dtype if image else None,
            "Residual": dtype if residual else None,
        },
        constants={
            "C": 512, "K": max(tile.bn, 256), "R": kernel, "S": kernel,
            "STRIDE_H": stride, "STRIDE_W": stride, "PAD_H": pad, "PAD_W": pad,
            "DIL_H": 2, "DIL_W": 2,
            "ACT": ACTIVATIONS["none" if residual else "relu"],
            "AFTER": ACTIVATIONS["relu" if residual else "none"],
            "PRECISION": precision,
            "BM": tile.bm, "BN": tile.bn, "BK": bk or tile.bk, "GROUP": tile.group,
        },
        integers=("x_pixel", "y_pixel", "r_pixel"),
        floats=("slope",),
        warps=tile.warps,
        stages=tile.stages,
        unaligned=unaligned,
    )  # fmt: skip
