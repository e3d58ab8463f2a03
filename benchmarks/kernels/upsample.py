"""Labels from low-resolution scores: Cityscapes, VOC, ADE20K."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.case import Case, Operands
from compiler.to_triton.kernels import upsample


@dataclass(frozen=True)
class Shape:
    """A score map, and the size of the labels."""

    n: int
    classes: int
    small: tuple[int, int]
    large: tuple[int, int]


SHAPES = (
    Shape(1, 19, (128, 256), (1024, 2048)),
    Shape(8, 21, (65, 65), (513, 513)),
    Shape(8, 150, (128, 128), (512, 512)),
)
DTYPES = ("bfloat16", "float16", "float32")
LABEL = 8
"""Bytes of an int64 label."""


def cases() -> list[Case]:
    """Every map in every dtype."""
    return [case(shape, dtype) for shape in SHAPES for dtype in DTYPES]


def case(shape: Shape, dtype: str) -> Case:
    """One map in one dtype; 4 multiply-accumulates for every score."""
    kind = getattr(torch, dtype)
    size, large = torch.empty(0, dtype=kind).element_size(), list(shape.large)
    pixels = shape.n * shape.large[0] * shape.large[1]
    scores = shape.n * shape.classes * shape.small[0] * shape.small[1]

    def whole(given: Operands) -> Tensor:
        y: Tensor = upsample.reference(given["x"], large, False, torch.int64)
        return y

    return Case(
        kernel="upsample_argmax",
        key=upsample.key(make(shape, dtype, "meta", 0)["x"], large),
        dtype=dtype,
        flops=8 * pixels * shape.classes,
        useful=8 * pixels * shape.classes,
        moved=scores * size + pixels * LABEL,
        configs=upsample.CONFIGS,
        make=lambda device, seed: make(shape, dtype, device, seed),
        launch=lambda given, config: upsample.launch(
            given["x"], large, False, torch.int64, config=config
        ),
        reference=whole,
        baselines={
            "eager": whole,
            "compile": torch.compile(whole, mode="max-autotune-no-cudagraphs"),
        },
        exact=True,
    )


def make(shape: Shape, dtype: str, device: str, seed: int) -> Operands:
    """Random scores."""
    if device != "meta":
        torch.manual_seed(seed)
    like: dict[str, Any] = {"dtype": getattr(torch, dtype), "device": device}
    x = torch.randn(shape.n, shape.classes, *shape.small, **like)
    return {"x": x.contiguous(memory_format=torch.channels_last)}


def small() -> Case:
    """A case for the interpreter."""
    return case(Shape(2, 11, (5, 6), (17, 19)), "float32")
