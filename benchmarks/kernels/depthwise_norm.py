"""What DCNv3's branches begin with, in the stages of InternImage-T at 512x2048."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.case import Case, Operands
from benchmarks.kernels.dcnv3 import STAGES, Shape
from compiler.to_triton.kernels import depthwise_norm as kernel

DTYPES = ("bfloat16", "float16")
SIDES: tuple[list[int], list[int], list[int]] = ([3, 3], [1, 1], [1, 1])
"""Kernel, stride, padding."""
EPS = 1e-6


def cases() -> list[Case]:
    """Every stage in half precision, the first in float32 too."""
    found = [case(shape, dtype) for shape in STAGES for dtype in DTYPES]
    return [*found, case(STAGES[0], "float32")]


def case(shape: Shape, dtype: str) -> Case:
    """One map in one dtype: nine multiply-accumulates for each number, and some for the norm."""
    size = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    numbers = shape.pixels * shape.c

    def plain(given: Operands) -> Tensor:
        call: list[Any] = [*_operands(given, "weight"), *SIDES[1:], EPS, "gelu"]
        return kernel.reference(*call)

    def launch(given: Operands, config: Any) -> Tensor:
        call: list[Any] = [*_operands(given, "packed"), *SIDES, EPS, "gelu"]
        return kernel.launch(*call, config=config)

    return Case(
        kernel="depthwise_norm",
        key=kernel.key(make(shape, dtype, "meta", 0)["x"], *SIDES, "gelu"),
        dtype=dtype,
        flops=2 * 9 * numbers,
        useful=2 * 9 * numbers,
        moved=2 * size * numbers,
        configs=kernel.CONFIGS,
        make=lambda device, seed: make(shape, dtype, device, seed),
        launch=launch,
        reference=plain,
        baselines={
            "eager": plain,
            "compile": torch.compile(plain, mode="max-autotune-no-cudagraphs"),
        },
        gathered=9 * size * numbers,
        exponentials=numbers,
        matrix=False,
    )


def _operands(given: Operands, weight: str) -> tuple[Tensor, ...]:
    return tuple(given[name] for name in ("x", weight, "bias", "scale", "shift"))


def make(shape: Shape, dtype: str, device: str, seed: int) -> Operands:
    """Random operands."""
    if device != "meta":
        torch.manual_seed(seed)
    like: dict[str, Any] = {"dtype": getattr(torch, dtype), "device": device}
    weight = torch.randn(shape.c, 1, 3, 3, **like) / 3
    found = {name: torch.randn(shape.c, **like) for name in ("bias", "scale", "shift")}
    x = torch.randn(shape.n, shape.h, shape.w, shape.c, **like).permute(0, 3, 1, 2)
    weight = weight.contiguous(memory_format=torch.channels_last)
    return {"x": x, "weight": weight, "packed": kernel.pack(weight), **found}


def small() -> Case:
    """A case for the interpreter."""
    return case(Shape(2, 24, 4, 5, 1), "float32")
