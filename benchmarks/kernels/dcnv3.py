"""DCNv3's sampling in the stages of InternImage-T at 512x2048."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.case import Case, Operands
from compiler.to_triton.kernels import dcnv3, dcnv3_backward
from compiler.to_triton.kernels.dcnv3_sampling import Sampling, key
from compiler.to_triton.kernels.dcnv3_tiles import CONFIGS

TAPS = 9
CORNERS = 4
STEPS = 64
WITHIN = ((-2, 2), (7, 58))
"""Whole pixels that a point is moved by, and further steps."""
STEP = 256
"""Images that the published extension takes at once."""


@dataclass(frozen=True)
class Shape:
    """A map, its groups of channels, and whether offsets and masks are slices of one map."""

    n: int
    c: int
    h: int
    w: int
    groups: int
    slices: bool = True
    scale: float = 1.0

    @property
    def how(self) -> Sampling:
        """3x3 points that keep the size, as everywhere in InternImage."""
        pairs = ([3, 3], [1, 1], [1, 1], [1, 1])
        return Sampling(self.groups, *pairs, self.scale, True, False, None)

    @property
    def pixels(self) -> int:
        """Of the batch."""
        return self.n * self.h * self.w


STAGES = (
    Shape(1, 64, 128, 512, 4),
    Shape(1, 128, 64, 256, 8),
    Shape(1, 256, 32, 128, 16),
    Shape(1, 512, 16, 64, 32),
)
"""Of InternImage-T at 512x2048, as its whole layer calls the sampling."""

OTHERS = (Shape(1, 64, 128, 512, 4, slices=False), Shape(64, 128, 56, 56, 4, False, 2.0))
"""The same with maps of their own, and what the authors of DCNv4 time."""

DTYPES = ("bfloat16", "float16")


def cases() -> list[Case]:
    """Every shape in half precision, the first in float32 too."""
    found = [case(shape, dtype) for shape in (*STAGES, *OTHERS) for dtype in DTYPES]
    return [*found, case(STAGES[0], "float32")]


def case(shape: Shape, dtype: str, backward: bool = False) -> Case:
    """One map in one dtype: five multiply-accumulates for each channel and point.

    The gradients take twice as many, read the corners again and add to them in float32.
    """
    size = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    operands = make(shape, dtype, "meta", 0)
    work = 2 * 5 * shape.pixels * shape.c * TAPS * (2 if backward else 1)
    maps = shape.pixels * (2 * shape.c + 3 * shape.groups * TAPS)
    corners = shape.pixels * shape.c * TAPS * CORNERS
    moved = size * maps
    if backward:  # the gradient of x is float32 until it is whole
        moved = size * (2 * maps - shape.pixels * shape.c) + 8 * shape.pixels * shape.c
    return Case(
        kernel="dcnv3_backward" if backward else "dcnv3",
        key=key(*_maps(operands), shape.how, backward=backward),
        dtype=dtype,
        flops=work,
        useful=work,
        moved=moved,
        configs=CONFIGS,
        make=lambda device, seed: make(shape, dtype, device, seed),
        launch=lambda given, config: _launch(shape, given, config, backward),
        reference=lambda given: _reference(shape, given, backward),
        baselines=_baselines(shape, backward),
        gathered=corners * (size + 4 if backward else size),
        exponentials=shape.pixels * shape.groups * TAPS,
        matrix=False,
        atomic=backward,
    )


def make(shape: Shape, dtype: str, device: str, seed: int) -> Operands:
    """Random maps.

    Points lie up to two pixels from their places, and never near a line of pixels: there the
    gradients of bilinear interpolation jump. Distances are in steps of 1/64, so that places are
    exact in float32 far from the edge too, and kernels alone are judged.
    """
    if device != "meta":
        torch.manual_seed(seed)
    like: dict[str, Any] = {"dtype": getattr(torch, dtype), "device": device}
    n, h, w, points = shape.n, shape.h, shape.w, shape.groups * TAPS
    wide = torch.zeros(n, h, w, 8 * -(-3 * points // 8) if shape.slices else 3 * points, **like)
    moved = [torch.randint(a, b, (n, h, w, 2 * points), device=device) for a, b in WITHIN]
    wide[..., : 2 * points] = (moved[0] + moved[1] / STEPS).to(wide.dtype)
    wide[..., 2 * points : 3 * points] = torch.randn(n, h, w, points, **like)
    both = wide.permute(0, 3, 1, 2)
    offset, mask = both[:, : 2 * points], both[:, 2 * points : 3 * points]
    if not shape.slices:
        offset, mask = (m.contiguous(memory_format=torch.channels_last) for m in (offset, mask))
    x, grad = (torch.randn(n, h, w, shape.c, **like).permute(0, 3, 1, 2) for _ in range(2))
    return {"x": x, "offset": offset, "mask": mask, "grad": grad}


def _maps(given: Operands) -> tuple[Tensor, Tensor, Tensor]:
    return given["x"], given["offset"], given["mask"]


def _launch(shape: Shape, given: Operands, config: Any, backward: bool) -> Any:
    if not backward:
        return dcnv3.launch(*_maps(given), shape.how, config=config)
    maps = _maps(given)
    return dcnv3_backward.launch_backward(given["grad"], *maps, shape.how, True, config=config)


def _reference(shape: Shape, given: Operands, backward: bool) -> Any:
    if not backward:
        return dcnv3.reference(*_maps(given), shape.how)
    return dcnv3_backward.reference_backward(given["grad"], *_maps(given), shape.how, True)


def _baselines(shape: Shape, backward: bool) -> dict[str, Any]:
    def eager(given: Operands) -> Any:
        return _reference(shape, given, backward)

    def official(given: Operands) -> Any:
        """The extension of OpenGVLab/InternImage, where it is installed, and the softmax."""
        extension = import_module("DCNv3")
        x, offset, mask, grad = (
            given[n].permute(0, 2, 3, 1) for n in ("x", "offset", "mask", "grad")
        )
        shares = mask.unflatten(3, (shape.groups, TAPS)).softmax(-1).flatten(3)
        numbers = [3, 3, 1, 1, 1, 1, 1, 1, shape.groups, shape.c // shape.groups, shape.scale]
        maps = [x, offset.contiguous(), shares]
        if backward:
            return extension.dcnv3_backward(*maps, *numbers, grad, STEP, False)
        return extension.dcnv3_forward(*maps, *numbers, STEP, False)

    compiled = torch.compile(eager, mode="max-autotune-no-cudagraphs")
    return {"eager": eager, "compile": compiled, "official": official}


def small() -> Case:
    """A case for the interpreter."""
    return case(Shape(1, 12, 4, 5, 3), "float32")
