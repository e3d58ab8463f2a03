"""An iteration of a mean field over all pairs: one bilateral term.

A picture of 512x512 is not here: one call of the library takes seconds, and hundreds are timed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels import scene
from benchmarks.kernels.case import Case, Operands
from benchmarks.kernels.scene import Shape
from compiler.crf.exact import exact_filter
from compiler.to_triton.kernels import dense_crf
from compiler.to_triton.kernels.feature_tiles import tiles_of
from compiler.to_triton.kernels.field import rows_of, stride

SHAPES = (
    Shape(1, 21, 128, 128),
    Shape(8, 21, 65, 65),
    Shape(1, 21, 240, 320),
    Shape(1, 150, 128, 128),
)
PARTS = {"float32": 2, "float16": 1}
"""Halves of a value, by the dtype of the scores."""

WIDTH = 5
TAIL = 1e-10
"""Pairs below it are left out: so few that no result in float32 shows it."""

TILES = ("feature", "centre", "order", "columns", "starts", "work")


def cases() -> list[Case]:
    """Every map, with values rounded to float32 and to float16."""
    return [case(shape, dtype) for shape in SHAPES for dtype in PARTS]


def case(shape: Shape, dtype: str) -> Case:
    """One map: all pairs are counted; which are skipped depends on the picture."""
    pairs = shape.pixels * shape.h * shape.w
    work = 2 * pairs * (WIDTH + shape.classes)
    configs = {n: c for n, c in dense_crf.CONFIGS.items() if c.parts == PARTS[dtype]}
    size = min(config.tile for config in configs.values())

    def whole(given: Operands) -> Tensor:
        feature, _, order, *_ = given[f"tiles{size}"]
        operands = (given["q"], given["anchor"], feature, order, shape.n, given["pre"])
        rest: Any = (given["post"], None, shape.classes, True, "proba")
        return _map(shape, dense_crf.reference(*operands, *rest))

    def launch(given: Operands, config: Any) -> Tensor:
        tiles, narrow = given[f"tiles{config.tile}"], given[f"narrow{config.tile}"]
        factors = (given["pre"], given["post"], None)
        rest: Any = (shape.n, narrow, shape.classes, True, "proba")
        operands = (given["q"], given["anchor"], *tiles, *factors)
        return _map(shape, dense_crf.launch(*operands, *rest, config=config))

    return Case(
        kernel="dense_crf",
        key=dense_crf.key(shape.logits(dtype), [WIDTH], matrix=False),
        dtype=dtype,
        flops=work,
        useful=work,
        moved=4 * shape.pixels * (3 * stride(shape.classes) + WIDTH + 2),
        configs=configs,
        make=lambda device, seed: make(shape, configs, device, seed),
        launch=launch,
        reference=whole,
        baselines={"library": lambda given: _library(shape, given), "eager": whole},
        exponentials=pairs + shape.pixels * shape.classes,
    )


def _map(shape: Shape, rows: Tensor) -> Tensor:
    return rows.view(shape.n, shape.h, shape.w, -1)


def _library(shape: Shape, given: Operands) -> Tensor:
    """Of `compiler.crf`: tiles of kernel values in memory, one after the other."""
    sent = (given["q"] * given["pre"][:, None]).view(shape.n, shape.h * shape.w, -1)
    message = exact_filter(given["maps"], sent, True, TAIL).flatten(0, 1)
    x = given["anchor"] + message * given["post"][:, None]
    return _map(shape, torch.softmax(x[:, : shape.classes], 1))


def make(shape: Shape, configs: dict[str, Any], device: str, seed: int) -> Operands:
    """Random scores and a picture; factors like those of a norm for so many pixels."""
    sizes = sorted({config.tile for config in configs.values()})
    if device == "meta":
        return _empty(shape, sizes)
    torch.manual_seed(seed)
    anchor, f = scene.scores(shape, device), scene.maps(shape, device)[1].flatten(2)
    factors = [
        (0.1 + torch.rand(shape.pixels, device=device)) / (shape.h * shape.w) ** 0.5
        for _ in range(2)
    ]
    found: dict[str, Any] = {"q": rows_of(anchor.softmax(1)), "anchor": rows_of(anchor)}
    found |= {"pre": factors[0], "post": 10 * factors[1], "maps": f}
    for size in sizes:
        tiles = tiles_of(f.transpose(1, 2), size, TAIL)
        found |= {f"tiles{size}": list(tiles.tensors), f"narrow{size}": tiles.narrow}
    return found


def _empty(shape: Shape, sizes: list[int]) -> Operands:
    """Operands without values, with all pairs of tiles."""
    row, count = stride(shape.classes), shape.pixels
    found: dict[str, Any] = {name: torch.empty(count, row, device="meta") for name in
                             ("q", "anchor")}  # fmt: skip
    found |= {name: torch.empty(count, device="meta") for name in ("pre", "post")}
    found["maps"] = torch.empty(shape.n, WIDTH, shape.h * shape.w, device="meta")
    for size in sizes:
        each = -(-shape.h * shape.w // size)
        tiles = shape.n * each
        shapes = [(tiles * size,), (tiles * each,), (tiles + 1,), (tiles,)]
        floats = [(WIDTH, tiles * size), (tiles, WIDTH)]
        found[f"tiles{size}"] = [torch.empty(s, device="meta") for s in floats] + [
            torch.empty(s, dtype=torch.int32, device="meta") for s in shapes
        ]
        found[f"narrow{size}"] = True
    return found


def small() -> Case:
    """A case for the interpreter."""
    return case(Shape(2, 5, 8, 9), "float32")
