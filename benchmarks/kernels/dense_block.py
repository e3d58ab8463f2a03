"""Dense blocks of Tiramisu, whole, and the 1x1 convolutions between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.case import Case, Operands
from compiler.to_triton.kernels import dense_block, pre_conv
from compiler.to_triton.kernels.dense_block import Layers
from compiler.to_triton.kernels.pre_conv import CONFIGS, Geometry


@dataclass(frozen=True)
class Shape:
    """A map, and layers of 3x3 that each add `growth` channels; none: a 1x1 of as many."""

    n: int
    c: int
    h: int
    w: int
    layers: int
    growth: int = 16
    keep: bool = True


SHAPES = (
    Shape(1, 256, 360, 480, 4),
    Shape(1, 48, 352, 480, 4),
    Shape(1, 112, 176, 240, 5),
    Shape(4, 192, 88, 120, 7),
    Shape(1, 896, 22, 30, 12, keep=False),
    Shape(1, 656, 11, 15, 15, keep=False),
    Shape(1, 112, 352, 480, 0),
    Shape(1, 464, 44, 60, 0),
)
"""The first is that of the design; the others are levels of FC-DenseNet103."""

DTYPES = ("bfloat16", "float16")


def cases() -> list[Case]:
    """Every shape in half precision."""
    return [case(shape, dtype) for shape in SHAPES for dtype in DTYPES]


def case(shape: Shape, dtype: str) -> Case:
    """One shape in one dtype."""
    return _block(shape, dtype) if shape.layers else _between(shape, dtype)


def _block(shape: Shape, dtype: str) -> Case:
    size = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    pixels = shape.n * shape.h * shape.w
    depths = [shape.c + i * shape.growth for i in range(shape.layers)]
    products = 2 * pixels * 9 * shape.growth * sum(depths)
    copied = 2 * shape.c if shape.keep else 0
    operands = make(shape, dtype, "meta", 0)

    def plain(given: Operands) -> Tensor:
        return dense_block.reference(given["maps"], _layers(shape, given))

    return Case(
        kernel="dense_block",
        key=dense_block.key(operands["maps"], _layers(shape, operands)),
        dtype=dtype,
        flops=products,
        useful=products,
        moved=size * pixels * (sum(depths) + shape.layers * shape.growth + copied),
        configs={name: tile for name, tile in CONFIGS.items() if tile.bn <= 64},
        make=lambda device, seed: make(shape, dtype, device, seed),
        launch=lambda given, config: dense_block.launch(
            given["maps"], _layers(shape, given), config=config
        ),
        reference=plain,
        baselines=_others(plain),
        chain=shape.layers,
    )


def _between(shape: Shape, dtype: str) -> Case:
    size = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    pixels, call = shape.n * shape.h * shape.w, _pointwise(shape)
    products = 2 * pixels * shape.c * shape.c

    def plain(given: Operands) -> Tensor:
        norm = (given["scales"][0], given["shifts"][0])
        return pre_conv.reference(
            given["maps"][0], *norm, given["weights"][0], given["biases"][0], call
        )

    def launch(given: Operands, config: Any) -> Tensor:
        scale, shift, packed = (given[name][0] for name in ("scales", "shifts", "packed"))
        bias = given["biases"][0]
        y: Tensor = pre_conv.launch(given["maps"], scale, shift, packed, bias, call, config=config)
        return y

    return Case(
        kernel="pre_conv",
        key=pre_conv.key(make(shape, dtype, "meta", 0)["maps"][0], call),
        dtype=dtype,
        flops=products,
        useful=products,
        moved=size * (2 * pixels * shape.c + shape.c * shape.c),
        configs={name: tile for name, tile in CONFIGS.items() if tile.bn > 16},
        make=lambda device, seed: make(shape, dtype, device, seed),
        launch=launch,
        reference=plain,
        baselines=_others(plain),
    )


def _others(plain: Any) -> dict[str, Any]:
    compiled = torch.compile(plain, mode="max-autotune-no-cudagraphs")
    return {"cudnn": plain, "compile": compiled}


def _pointwise(shape: Shape) -> Geometry:
    return Geometry(shape.c, [1, 1], [1, 1], [0, 0], [1, 1], "relu")


def _layers(shape: Shape, given: Operands) -> Layers:
    return Layers(
        given["weights"], given["scales"], given["shifts"], given["biases"], given["packed"],
        [1] * shape.layers, shape.keep, "relu", 0.0,
    )  # fmt: skip


def make(shape: Shape, dtype: str, device: str, seed: int) -> Operands:
    """Random operands; a norm that keeps the size of its numbers."""
    if device != "meta":
        torch.manual_seed(seed)
    like: dict[str, Any] = {"dtype": getattr(torch, dtype), "device": device}
    last = torch.channels_last
    depths = [shape.c + i * shape.growth for i in range(max(shape.layers, 1))]
    side, out = (3, shape.growth) if shape.layers else (1, shape.c)
    weights = [
        (torch.randn(out, depth, side, side, **like) / (depth * side * side / 2) ** 0.5).contiguous(
            memory_format=last
        )
        for depth in depths
    ]
    x = torch.randn(shape.n, shape.c, shape.h, shape.w, **like)
    return {
        "maps": [x.contiguous(memory_format=last)],
        "weights": weights,
        "scales": [torch.rand(depth, **like) + 0.5 for depth in depths],
        "shifts": [torch.randn(depth, **like) / 2 for depth in depths],
        "biases": [torch.randn(out, **like) / 4 for _ in depths],
        "packed": dense_block.pack(weights, shape.c, keep=shape.keep),
    }


def small() -> Case:
    """A case for the interpreter."""
    return case(Shape(2, 24, 4, 5, 1, growth=16), "float32")
