"""Cases of the depthwise convolution with its norm."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.to_triton.gate.case import Case, Loads
from compiler.to_triton.kernels.depthwise_norm import CONFIGS, constants, depthwise_norm_kernel


def cases(arch: str) -> Iterator[Case]:
    """Widths of InternImage: T's last stage, and S's first, which is no power of two."""
    yield case("k4w4", 512)
    yield case("k8w8", 80)


def case(config: str, channels: int) -> Case:
    """One width in bf16, with GELU."""
    pointers = dict.fromkeys(("X", "Weight", "Bias", "Scale", "Shift", "Y"), "bf16")
    sizes = ([3, 3], [1, 1], [1, 1])
    return Case(
        name=f"depthwise_norm {config} bf16 {channels}",
        kernel=depthwise_norm_kernel,
        pointers=pointers,
        constants=dict(constants(channels, *sizes, "gelu", CONFIGS[config])),
        integers=("x_pixel",),
        floats=("eps",),
        warps=CONFIGS[config].warps,
        matrix=False,
        loads=Loads.VECTOR,
    )
