"""The branches of DeepLabV3's pyramid at the maps of section 5 of the design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.case import Case, Operands
from compiler.to_triton.kernels import aspp


@dataclass(frozen=True)
class Shape:
    """A map, and the rates over it; 0 is the 1x1 branch."""

    n: int
    h: int
    w: int
    rates: tuple[int, ...]
    c: int = 2048
    k: int = 256


SHAPES = (
    Shape(1, 65, 65, (0, 12, 24, 36)),
    Shape(8, 65, 65, (0, 12, 24, 36)),
    Shape(8, 33, 33, (0, 6, 12, 18)),
    Shape(1, 64, 64, (0, 12, 24, 36)),
    Shape(1, 97, 97, (0, 12, 24, 36)),
    Shape(1, 128, 256, (0, 12, 24, 36)),
)
DTYPES = ("bfloat16", "float16")


def cases() -> list[Case]:
    """Every map in half precision."""
    return [case(shape, dtype) for shape in SHAPES for dtype in DTYPES]


def useful_pixels(shape: Shape) -> int:
    """Pairs of a pixel and a tap that lies on the map, over all branches."""
    along = [
        [sum(b.size * b.taps for b in aspp.bands(size, rate)) for size in (shape.h, shape.w)]
        for rate in shape.rates
    ]
    return shape.n * sum(y * x for y, x in along)


def case(shape: Shape, dtype: str) -> Case:
    """One map in one dtype."""
    size = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    pixels = shape.n * shape.h * shape.w
    slots = sum(9 if rate else 1 for rate in shape.rates)
    product = 2 * shape.c * shape.k
    operands = make(shape, dtype, "meta", 0)
    rates = list(shape.rates)

    def dense(given: Operands) -> Tensor:
        weights, bias = given["weights"], given["bias"]
        y: Tensor = aspp.reference(given["x"], weights, bias, rates, "relu", 0.0)
        return y

    return Case(
        kernel="aspp",
        key=aspp.key(operands["x"], shape.k, rates),
        dtype=dtype,
        flops=product * pixels * slots,
        useful=product * useful_pixels(shape),
        moved=size * (pixels * (shape.c + len(rates) * shape.k) + slots * shape.c * shape.k),
        configs=aspp.CONFIGS,
        make=lambda device, seed: make(shape, dtype, device, seed),
        launch=lambda given, config: aspp.launch(
            given["x"], given["packed"], given["bias"], rates, "relu", 0.0, config=config
        ),
        reference=dense,
        baselines={
            "cudnn": dense,
            "compile": torch.compile(dense, mode="max-autotune-no-cudagraphs"),
        },
    )


def make(shape: Shape, dtype: str, device: str, seed: int) -> Operands:
    """Random operands."""
    if device != "meta":
        torch.manual_seed(seed)
    like: dict[str, Any] = {"dtype": getattr(torch, dtype), "device": device}
    last = torch.channels_last
    sizes = [3 if rate else 1 for rate in shape.rates]
    weights = [
        (torch.randn(shape.k, shape.c, s, s, **like) / (shape.c * s * s) ** 0.5).contiguous(
            memory_format=last
        )
        for s in sizes
    ]
    x = torch.randn(shape.n, shape.c, shape.h, shape.w, **like)
    return {
        "x": x.contiguous(memory_format=last),
        "weights": weights,
        "packed": aspp.pack(weights),
        "bias": torch.randn(len(sizes) * shape.k, **like),
    }


def small() -> Case:
    """A case for the interpreter."""
    return case(Shape(2, 5, 7, (0, 2, 6), c=32, k=24), "float32")
