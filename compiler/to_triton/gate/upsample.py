"""Cases of the kernel that enlarges and takes the best class."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.to_triton.gate.case import Case, Loads
from compiler.to_triton.kernels.upsample import CONFIGS, upsample_argmax_kernel

CITYSCAPES = 19


def cases(arch: str) -> Iterator[Case]:
    """Every block in bf16 with 19 classes, 32 of them in memory."""
    for name, config in CONFIGS.items():
        yield Case(
            name=f"upsample_argmax {name} bf16",
            kernel=upsample_argmax_kernel,
            pointers={"X": "bf16", "Labels": "i64", "Best": None, "Confidence": None},
            constants={"C": CITYSCAPES, "ALIGN": False, "BP": config.bp, "BC": config.bc},
            floats=("scale_h", "scale_w"),
            warps=config.warps,
            matrix=False,
            loads=Loads.ANY,
        )
    config = CONFIGS["p64c16w4"]
    yield Case(
        name="upsample_confidence p64c16w4 bf16",
        kernel=upsample_argmax_kernel,
        pointers={"X": "bf16", "Labels": "i64", "Best": None, "Confidence": "fp32"},
        constants={"C": CITYSCAPES, "ALIGN": False, "BP": config.bp, "BC": config.bc},
        floats=("scale_h", "scale_w"),
        warps=config.warps,
        matrix=False,
        loads=Loads.ANY,
    )
