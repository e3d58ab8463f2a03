"""An iteration of a mean field on two lattices, with the settings of pydensecrf and of DeepLab."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels import scene
from benchmarks.kernels.case import Case, Operands
from benchmarks.kernels.scene import Shape
from compiler.crf.lattice import lattice_into, lattice_of, lattice_step
from compiler.to_triton.kernels import lattice
from compiler.to_triton.kernels.field import rows_of, stride
from compiler.to_triton.kernels.lattice_mesh import mesh_of

SHAPES = (
    Shape(1, 21, 512, 512),
    Shape(1, 21, 500, 334, 1.0, 67.0, 3.0),
    Shape(8, 21, 65, 65, 1.0, 67.0, 3.0),
    Shape(1, 150, 512, 512),
)
AXES = (3, 6)
"""Of the gaussian and of the bilateral lattice, one more than they have features."""
CORNERS = sum(AXES)
MESH = ("bounds", "pixels", "shares", "pieces", "neighbours", "corners", "weights")


def cases() -> list[Case]:
    """Every map; the arithmetic is float32."""
    return [case(shape) for shape in SHAPES]


def case(shape: Shape) -> Case:
    """One map: what the picture decides, the vertices and their blurs, is not counted."""
    parts, row = shape.pixels * CORNERS, 4 * stride(shape.classes)
    work = 2 * 2 * parts * shape.classes

    rest: Any = (None, shape.classes, "proba")

    def whole(given: Operands) -> Tensor:
        return _map(shape, lattice.reference(*_operands(given), *rest))

    return Case(
        kernel="lattice",
        key=lattice.key(shape.logits(), AXES, matrix=False),
        dtype="float32",
        flops=work,
        useful=work,
        moved=3 * shape.pixels * row + 2 * 8 * parts,
        configs=lattice.CONFIGS,
        make=lambda device, seed: make(shape, device, seed),
        launch=lambda given, config: _map(
            shape, lattice.launch(*_operands(given), *rest, config=config)
        ),
        reference=whole,
        baselines={
            "library": lambda given: _library(shape, given),
            "compile": torch.compile(whole, mode="max-autotune-no-cudagraphs"),
        },
        gathered=2 * parts * row,
        exponentials=shape.pixels * shape.classes,
        matrix=False,
    )


def _operands(given: Operands) -> list[Any]:
    return [given[name] for name in ("q", "anchor", *MESH)]


def _map(shape: Shape, rows: Tensor) -> Tensor:
    return rows.view(shape.n, shape.h, shape.w, -1)


def _library(shape: Shape, given: Operands) -> Tensor:
    """Of `compiler.crf`: products of sparse matrices, which are made once, not here."""
    x = lattice_into(given["anchor"].clone(), given["q"], given["steps"])
    return _map(shape, torch.softmax(x[:, : shape.classes], 1))


def make(shape: Shape, device: str, seed: int) -> Operands:
    """Random scores and a picture; factors as a norm has them, drawn freely."""
    if device == "meta":
        return _empty(shape)
    torch.manual_seed(seed)
    anchor = scene.scores(shape, device)
    lattices = [lattice_of(f.flatten(2)) for f in scene.maps(shape, device)]
    scales = [0.1 + torch.rand(shape.pixels, device=device) for _ in range(4)]
    mesh = mesh_of(lattices, scales[:2], scales[2:])
    steps = tuple(
        lattice_step(each, pre, post)
        for each, pre, post in zip(lattices, scales[:2], scales[2:], strict=True)
    )
    rows = {"q": rows_of(anchor.softmax(1)), "anchor": rows_of(anchor)}
    return {**rows, **dict(zip(MESH, mesh.tensors, strict=True)), "steps": steps}


def _empty(shape: Shape) -> Operands:
    """Operands without values, with as many vertices as pixels."""
    count, parts = shape.pixels, shape.pixels * CORNERS
    sizes = {"q": (count, stride(shape.classes)), "anchor": (count, stride(shape.classes)),
             "shares": (parts,), "weights": (count, CORNERS)}  # fmt: skip
    places = {"bounds": (count + 1,), "pixels": (parts,), "corners": (count, CORNERS),
              "neighbours": (max(AXES), count, 2)}  # fmt: skip
    found: dict[str, Any] = {
        name: torch.empty(size, device="meta") for name, size in sizes.items()
    } | {name: torch.empty(size, dtype=torch.int32, device="meta") for name, size in places.items()}
    return {**found, "pieces": None, "steps": ()}


def small() -> Case:
    """A case for the interpreter."""
    return case(Shape(1, 5, 4, 5))
