"""An iteration of a mean field over windows, at the sizes of ConvCRF and of whole pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels import scene
from benchmarks.kernels.case import Case, Operands
from benchmarks.kernels.scene import Shape
from compiler.crf.window import window_into, window_kernel
from compiler.to_triton.kernels import window_filter
from compiler.to_triton.kernels.common import channels_last

SHAPES = (
    (Shape(1, 21, 512, 512), 7),
    (Shape(1, 21, 512, 512), 11),
    (Shape(8, 21, 65, 65), 7),
    (Shape(1, 150, 128, 128), 7),
)
TERMS, EACH = 2, 8
"""Terms, and features of each: five of an RGB picture, rounded up."""


def cases() -> list[Case]:
    """Every map and window; the arithmetic is float32."""
    return [case(shape, window) for shape, window in SHAPES]


def case(shape: Shape, window: int) -> Case:
    """One map: distances, kernel values, and the sum over classes, for each offset."""
    offsets, numbers = window * window, 3 * shape.classes + TERMS * (EACH + 2)
    work = 2 * shape.pixels * offsets * (TERMS * (EACH + 1) + shape.classes)

    rest: Any = (None, TERMS, window, True, "proba")

    def whole(given: Operands) -> Tensor:
        return window_filter.reference(*_operands(given), *rest)

    return Case(
        kernel="window_filter",
        key=window_filter.key(shape.logits(), TERMS, EACH, window, matrix=False),
        dtype="float32",
        flops=work,
        useful=work,
        moved=4 * shape.pixels * numbers,
        configs=window_filter.CONFIGS,
        make=lambda device, seed: make(shape, window, device, seed),
        launch=lambda given, config: window_filter.launch(*_operands(given), *rest, config=config),
        reference=whole,
        baselines={
            "library": _library,
            "compile": torch.compile(whole, mode="max-autotune-no-cudagraphs"),
        },
        gathered=4 * shape.pixels * offsets * (shape.classes + TERMS * (EACH + 1)),
        exponentials=shape.pixels * (offsets * TERMS + shape.classes),
        matrix=False,
    )


def _operands(given: Operands) -> list[Any]:
    return [given[name] for name in ("q", "anchor", "feature", "pre", "post")]


def _library(given: Operands) -> Tensor:
    """Of `compiler.crf`: its kernel values, normed and weighted, are computed once, not here."""
    return torch.softmax(window_into(given["anchor"].clone(), given["kernel"], given["q"]), 1)


def make(shape: Shape, window: int, device: str, seed: int) -> Operands:
    """Random scores and a picture; factors as a norm has them, drawn freely."""
    like = torch.empty(0, device=device)
    n, h, w = shape.n, shape.h, shape.w
    if device == "meta":
        size = (shape.classes, shape.classes, TERMS * EACH, TERMS, TERMS, window * window)
        names = ("q", "anchor", "feature", "pre", "post", "kernel")
        return {name: channels_last(n, c, h, w, like) for name, c in zip(names, size, strict=True)}
    torch.manual_seed(seed)
    anchor, maps = scene.scores(shape, device), scene.maps(shape, device)
    pre, post = (0.1 + torch.rand(n, TERMS, h, w, device=device) for _ in range(2))
    kernel = sum(
        window_kernel(f, window, 1, True) * post[:, t : t + 1] * _partners(pre[:, t], window)
        for t, f in enumerate(maps)
    )
    last = torch.channels_last
    return {
        "q": anchor.softmax(1).contiguous(memory_format=last),
        "anchor": anchor.contiguous(memory_format=last),
        "feature": window_filter.packed(maps),
        "pre": pre.contiguous(memory_format=last),
        "post": post.contiguous(memory_format=last),
        "kernel": kernel,
    }


def _partners(factor: Tensor, window: int) -> Tensor:
    """A factor [N, h, w] at each pixel of each window: [N, k k, h, w]."""
    wide = torch.nn.functional.pad(factor, [window // 2] * 4)
    parts = wide.unfold(1, window, 1).unfold(2, window, 1).permute(0, 3, 4, 1, 2)
    return parts.flatten(1, 2)


def small() -> Case:
    """A case for the interpreter."""
    return case(Shape(2, 5, 6, 7), 3)
