"""Levels of U-Net: a map at half the size, or one that was enlarged already, beside its skip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.case import Case, Operands
from compiler.to_triton.kernels import merge_conv
from compiler.to_triton.kernels.merge_conv import Geometry, MergeConfig, Packed


@dataclass(frozen=True)
class Shape:
    """A 3x3 convolution over `a` channels of a map and `b` of its skip, which has the size.

    `doubled`: whether the first map has half the size.
    """

    n: int
    a: int
    b: int
    h: int
    w: int
    k: int
    doubled: bool = True

    @property
    def call(self) -> Geometry:
        """The convolution: it keeps the size, and a ReLU follows."""
        return Geometry([self.h, self.w], [3, 3], [1, 1], [1, 1], [1, 1], "relu")


SHAPES = (
    Shape(1, 64, 64, 512, 512, 64),
    Shape(1, 64, 32, 512, 512, 32),
    Shape(1, 128, 128, 256, 256, 128),
    Shape(1, 512, 256, 32, 32, 256),
    Shape(1, 256, 128, 64, 64, 128),
    Shape(8, 128, 64, 128, 128, 64),
    Shape(1, 32, 0, 512, 512, 16),
    Shape(1, 64, 64, 512, 512, 64, doubled=False),
    Shape(1, 512, 512, 64, 64, 512, doubled=False),
)
DTYPES = ("bfloat16", "float16")


def cases() -> list[Case]:
    """Every level in half precision."""
    return [case(shape, dtype) for shape in SHAPES for dtype in DTYPES]


def case(shape: Shape, dtype: str) -> Case:
    """One level in one dtype; repeated pixels need no products of their own."""
    size = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    pixels = shape.n * shape.h * shape.w
    taps = 4 if shape.doubled else 9
    read = shape.a * pixels // (4 if shape.doubled else 1) + shape.b * pixels
    operands = make(shape, dtype, "meta", 0)

    def plain(given: Operands) -> Tensor:
        return merge_conv.reference(*_maps(given), given["weight"], given["bias"], None, shape.call)

    return Case(
        kernel="merge_conv",
        key=merge_conv.key(*_maps(operands), shape.k, None, shape.call),
        dtype=dtype,
        flops=2 * pixels * shape.k * 9 * (shape.a + shape.b),
        useful=2 * pixels * shape.k * (taps * shape.a + 9 * shape.b),
        moved=size * (read + shape.k * (pixels + 9 * (shape.a + shape.b))),
        configs=_configs(shape),
        make=lambda device, seed: make(shape, dtype, device, seed),
        launch=lambda given, config: _launch(shape, given, config),
        reference=plain,
        baselines={
            "cudnn": plain,
            "compile": torch.compile(plain, mode="max-autotune-no-cudagraphs"),
        },
    )


def _configs(shape: Shape) -> dict[str, MergeConfig]:
    return {name: c for name, c in merge_conv.CONFIGS.items() if shape.doubled or not c.fold}


def _maps(given: Operands) -> tuple[Tensor, Tensor | None]:
    return given["a"], given["b"]


def _launch(shape: Shape, given: Operands, config: MergeConfig) -> Tensor:
    weight, packed = given["weight"], Packed(*given["packed"])
    y: Tensor = merge_conv.launch(
        *_maps(given), weight, packed, given["bias"], None, shape.call, config=config
    )
    return y


def make(shape: Shape, dtype: str, device: str, seed: int) -> Operands:
    """Random operands; never zeros, which a GPU computes faster."""
    if device != "meta":
        torch.manual_seed(seed)
    like: dict[str, Any] = {"dtype": getattr(torch, dtype), "device": device}
    last = torch.channels_last
    small = [n // 2 if shape.doubled else n for n in (shape.h, shape.w)]
    weight = torch.randn(shape.k, shape.a + shape.b, 3, 3, **like)
    weight = (weight / (9 * (shape.a + shape.b)) ** 0.5).contiguous(memory_format=last)
    packed = merge_conv.pack(weight, shape.a, folded=shape.doubled)
    b = torch.randn(shape.n, shape.b, shape.h, shape.w, **like) if shape.b else None
    return {
        "a": torch.randn(shape.n, shape.a, *small, **like).contiguous(memory_format=last),
        "b": None if b is None else b.contiguous(memory_format=last),
        "weight": weight,
        "packed": [packed.a, packed.folded, packed.b],
        "bias": torch.randn(shape.k, **like),
    }


def small() -> Case:
    """A case for the interpreter."""
    return case(Shape(2, 32, 16, 6, 10, 24), "float32")
