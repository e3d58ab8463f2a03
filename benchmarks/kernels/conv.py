"""Convolutions of DeepLabV3 and FCN: dilated 3x3, 1x1, with and without a residual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernels.case import Case, Operands
from compiler.to_triton.kernels import conv
from compiler.to_triton.kernels.common import INTERPRETED


@dataclass(frozen=True)
class Shape:
    """A convolution that keeps the size, with a ReLU, and a residual before it if asked."""

    n: int
    c: int
    h: int
    w: int
    k: int
    kernel: int = 3
    dilation: int = 1
    residual: bool = False


SHAPES = (
    Shape(1, 256, 65, 65, 256, dilation=2),
    Shape(1, 512, 65, 65, 512, dilation=4),
    Shape(8, 512, 65, 65, 512, dilation=4),
    Shape(1, 256, 128, 256, 256, dilation=2),
    Shape(1, 512, 128, 256, 512, dilation=4),
    Shape(1, 1024, 65, 65, 256, kernel=1),
    Shape(1, 1024, 128, 256, 256, kernel=1),
    Shape(1, 256, 65, 65, 1024, kernel=1, residual=True),
    Shape(1, 256, 128, 256, 1024, kernel=1, residual=True),
    Shape(1, 512, 128, 256, 2048, kernel=1, residual=True),
    Shape(1, 64, 128, 128, 64),
    Shape(1, 1280, 65, 65, 256, kernel=1),
)
DTYPES = ("bfloat16", "float16")


def cases() -> list[Case]:
    """Every shape in half precision, the first in float32 too."""
    found = [case(shape, dtype) for shape in SHAPES for dtype in DTYPES]
    return [*found, case(SHAPES[0], "float32")]


def case(shape: Shape, dtype: str) -> Case:
    """One shape in one dtype."""
    size = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    pixels = shape.n * shape.h * shape.w
    flops = 2 * pixels * shape.c * shape.k * shape.kernel**2
    maps = shape.c + shape.k * (2 if shape.residual else 1)
    operands = make(shape, dtype, "meta", 0)
    names = conv.WITH_RESIDUAL if shape.residual else frozenset(conv.CONFIGS)
    return Case(
        kernel="conv",
        key=conv.key(operands["x"], operands["weight"], operands["residual"], _numbers(shape)),
        dtype=dtype,
        flops=flops,
        useful=flops,
        moved=size * (pixels * maps + shape.c * shape.k * shape.kernel**2),
        configs={name: tile for name, tile in conv.CONFIGS.items() if name in names},
        make=lambda device, seed: make(shape, dtype, device, seed),
        launch=lambda given, config: _launch(shape, given, config),
        reference=lambda given: _reference(shape, given),
        baselines=_baselines(shape),
    )


def _numbers(shape: Shape) -> list[list[int]]:
    pad = shape.dilation * (shape.kernel // 2)
    return [[1, 1], [pad, pad], [shape.dilation, shape.dilation]]


def _rest(shape: Shape) -> tuple[Any, ...]:
    acts = ("none", "relu") if shape.residual else ("relu", "none")
    return (*_numbers(shape), *acts, 0.0)


def make(shape: Shape, dtype: str, device: str, seed: int) -> Operands:
    """Random operands; never zeros, which a GPU computes faster."""
    if device != "meta":
        torch.manual_seed(seed)
    like: dict[str, Any] = {"dtype": getattr(torch, dtype), "device": device}
    x = torch.randn(shape.n, shape.c, shape.h, shape.w, **like)
    weight = torch.randn(shape.k, shape.c, shape.kernel, shape.kernel, **like)
    weight = weight / (shape.c * shape.kernel**2) ** 0.5
    residual = torch.randn(shape.n, shape.k, shape.h, shape.w, **like)
    last = torch.channels_last
    return {
        "x": x.contiguous(memory_format=last),
        "weight": weight.contiguous(memory_format=last),
        "packed": conv.pack(weight),
        "bias": torch.randn(shape.k, **like),
        "residual": residual.contiguous(memory_format=last) if shape.residual else None,
    }


def _launch(shape: Shape, given: Operands, config: Any) -> Tensor:
    kernel = [shape.kernel, shape.kernel]
    operands = (given["x"], given["packed"], given["bias"], given["residual"], kernel)
    y: Tensor = conv.launch(*operands, *_rest(shape), config=config)
    return y


def _reference(shape: Shape, given: Operands) -> Tensor:
    operands = (given["x"], given["weight"], given["bias"], given["residual"])
    y: Tensor = conv.reference(*operands, *_rest(shape))
    return y


def _baselines(shape: Shape) -> dict[str, Any]:
    stride, pad, dilation = _numbers(shape)

    def fused(given: Operands) -> Tensor:
        """The fused convolutions of cuDNN that torch exposes."""
        x, weight, bias = given["x"], given["weight"], given["bias"]
        if shape.residual:
            y: Tensor = torch.cudnn_convolution_add_relu(
                x, weight, given["residual"], 1.0, bias, stride, pad, dilation, 1
            )
            return y
        z: Tensor = torch.cudnn_convolution_relu(x, weight, bias, stride, pad, dilation, 1)
        return z

    def eager(given: Operands) -> Tensor:
        y = F.conv2d(given["x"], given["weight"], given["bias"], stride, pad, dilation)
        y = y if given["residual"] is None else y.add_(given["residual"])
        return F.relu_(y)

    compiled = torch.compile(
        lambda given: _reference(shape, given), mode="max-autotune-no-cudagraphs"
    )
    return {"cudnn": eager, "cudnn_fused": fused, "compile": compiled}


def small() -> Case:
    """A case for the interpreter."""
    assert INTERPRETED
    return case(Shape(1, 32, 5, 7, 24, dilation=2), "float32")
