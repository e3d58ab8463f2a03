"""The lattices of some terms side by side, as the lattice kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PIECE = 64
"""Pixels that one row of a splat adds up, one after the other."""


@dataclass(frozen=True)
class Mesh:
    """Lattices of some terms side by side, with V vertices around P pixels.

    Attributes:
        bounds: int32 [pieces + 1]: where the parts of each piece of a vertex begin.
        pixels: int32 [P J]: of each part; `shares` likewise.
        pieces: int32 [V + 1]: where the pieces of each vertex begin; None where each has one.
        neighbours: int32 [axes, V, 2]: before and after along each axis, -1 for none.
        corners: int32 [P, J]: the vertices around each pixel; `weights` likewise.
    """

    bounds: Tensor
    pixels: Tensor
    shares: Tensor
    pieces: Tensor | None
    neighbours: Tensor
    corners: Tensor
    weights: Tensor

    @property
    def tensors(self) -> tuple[Any, ...]:
        """All of it, in the order of the operands."""
        return (self.bounds, self.pixels, self.shares, self.pieces, self.neighbours,
                self.corners, self.weights)  # fmt: skip


def neighbours_of(blur: Tensor) -> Tensor:
    """The two neighbours [V, 2] of each vertex in a matrix of the library's lattice."""
    begin, columns = blur.crow_indices(), blur.col_indices().int()
    count, begin = begin.diff(), begin[:-1].long()
    columns = torch.nn.functional.pad(columns, (0, 2), value=-1)
    one = torch.where(count > 0, columns[begin], -1)
    two = torch.where(count > 1, columns[begin + 1], -1)
    return torch.stack([one, two], 1).int()


def cut(starts: Tensor) -> tuple[Tensor, Tensor | None]:
    """`bounds` and `pieces` of a mesh: rows from starts[v] to starts[v + 1] in runs of PIECE."""
    long = starts.long()
    counts = long.diff()
    runs = (counts + PIECE - 1).div(PIECE, rounding_mode="floor").clamp_(min=1)
    if bool((runs == 1).all()):
        return starts.int(), None
    pieces = torch.nn.functional.pad(runs.cumsum(0), (1, 0))
    row = torch.repeat_interleave(runs)
    inner = torch.arange(len(row), device=starts.device) - pieces[row]
    bounds = torch.cat([long[row] + inner * PIECE, long[-1:]])
    return bounds.int(), pieces.int()


def mesh_of(
    lattices: Sequence[Any], pre: Sequence[Tensor | None], post: Sequence[Tensor | float]
) -> Mesh:
    """The mesh of lattices of the library.

    Args:
        lattices: over the same P pixels.
        pre: factors [P] of each at the sender, or None.
        post: factors [P] of each at the receiver, or a number; weights are part of them.
    """
    most = max(len(lattice.blurs) for lattice in lattices)
    starts, pixels, shares, sides, corners, weights = [], [], [], [], [], []
    vertices = parts = 0
    for lattice, before, after in zip(lattices, pre, post, strict=True):
        axes, own = len(lattice.blurs), len(lattice.starts) - 1
        alpha = 1 / (1 + 2 ** -(axes - 1.0))
        starts.append(lattice.starts[:-1] + parts)
        pixels.append(lattice.pixels)
        factor = None if before is None else before.index_select(0, lattice.pixels)
        shares.append(lattice.shares if factor is None else lattice.shares * factor)
        pairs = torch.stack([neighbours_of(blur) for blur in lattice.blurs])
        pairs = torch.where(pairs >= 0, pairs + vertices, pairs)
        sides.append(torch.nn.functional.pad(pairs, (0, 0, 0, 0, 0, most - axes), value=-1))
        corners.append(lattice.corners.view(-1, axes) + vertices)
        scaled = lattice.weights.view(-1, axes) * alpha
        weights.append(scaled * (after[:, None] if isinstance(after, Tensor) else after))
        vertices, parts = vertices + own, parts + len(lattice.pixels)
    ends = starts[0].new_full((1,), parts)
    bounds, pieces = cut(torch.cat([*starts, ends]))
    return Mesh(
        bounds, torch.cat(pixels), torch.cat(shares), pieces, torch.cat(sides, 1).contiguous(),
        torch.cat(corners, 1).contiguous(), torch.cat(weights, 1).contiguous(),
    )  # fmt: skip
