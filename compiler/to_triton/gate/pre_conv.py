"""Cases of the convolution with a norm and an activation before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compiler.to_triton.gate.case import Case, Loads
from compiler.to_triton.kernels.common import ACTIVATIONS, AMD_STAGES
from compiler.to_triton.kernels.pre_conv import CONFIGS, pre_conv_kernel


def cases(arch: str) -> Iterator[Case]:
    """Every tile, one of them in fp16; two maps; channels that fill no block."""
    found = [case(name, dtype="fp16" if name == "m128n64w4" else "bf16") for name in CONFIGS]
    found.append(case("m128n16w4", second=64))
    # Channels are masked one by one: copies are as wide as what divides them.
    found.append(replace(case("m128n16w4", channels=60, growth=12), loads=Loads.ANY))
    shallow = arch.startswith("gfx")
    for one in found:
        yield replace(one, stages=min(one.stages, AMD_STAGES)) if shallow else one


def case(
    config: str, *, dtype: str = "bf16", channels: int = 256, second: int = 0, growth: int = 16
) -> Case:
    """A layer of Tiramisu: 3x3 for the narrow tiles, 1x1 for the wide ones."""
    tile = CONFIGS[config]
    side = 3 if tile.bn == 16 else 1
    k = growth if tile.bn == 16 else tile.bn
    words = ["pre_conv", config, dtype, f"{side}x{side}", str(channels)]
    words += [f"+{second}"] * bool(second)
    return Case(
        name=" ".join(words),
        kernel=pre_conv_kernel,
        pointers={
            "A": dtype, "B": dtype if second else None, "Scale": "fp32", "Shift": "fp32",
            "Weight": dtype, "Y": dtype, "Bias": "fp32",
        },
        constants={
            "CA": channels, "CB": second, "K": k, "KP": -(-k // 16) * 16, "R": side, "S": side,
            "STRIDE_H": 1, "STRIDE_W": 1, "PAD_H": side // 2, "PAD_W": side // 2,
            "DIL_H": 1, "DIL_W": 1, "BEFORE": ACTIVATIONS["relu"], "ACT": ACTIVATIONS["none"],
            "PRECISION": "ieee", "BM": tile.bm, "BN": tile.bn,
            "BK": tile.bk,
        },
        integers=("a_pixel", "b_pixel", "y_pixel"),
        narrow=4 * tile.stages,
        floats=("before_slope", "slope"),
        warps=tile.warps,
        stages=tile.stages,
    )  # fmt: skip
