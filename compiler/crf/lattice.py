"""The kernel by a permutohedral lattice (Adams, Baek & Davis 2010): linear time, approximate.

The steps are those of the library `pydensecrf` to the last rounding, so that its numbers come out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compiler.crf.keys import KeyLevel, found, numbered

CHUNK = 1 << 16
"""Pixels whose simplices are found at a time."""

FARTHEST = 1 << 24
"""Lattice cells from the origin: beyond, float32 features are coarser than the cells."""


MOST_CORNERS = (1 << 31) - 1
"""Corners of all pixels together: sparse matrices count them in int32."""


class Simplices(NamedTuple):
    """The simplices around some pixels."""

    weights: Tensor
    """[d + 1, pixels]: barycentric, of the vertex of each remainder."""
    numbers: Tensor
    """[pixels]: which of the simplices below."""
    origins: Tensor
    """int32 [d, simplices]: the vertex of remainder 0, in units of d + 1."""
    ranks: Tensor
    """int32 [d, simplices]: the order of the coordinates within the simplex."""


class Lattice(NamedTuple):
    """Vertices around the pixels of a batch, P in all, and how values go there and back."""

    corners: Tensor
    """int32 [P (d + 1)]: the vertices of each pixel."""
    weights: Tensor
    """[P (d + 1)]: barycentric, of each of them."""
    pixels: Tensor
    """int32 [P (d + 1)]: the pixels of each vertex, one vertex after the other."""
    shares: Tensor
    """[P (d + 1)]: `weights` in the order of `pixels`."""
    starts: Tensor
    """int32 [vertices + 1]: where the pixels of each vertex begin."""
    blurs: list[Tensor]
    """For each axis half the sum of the two neighbours, as a sparse matrix."""


class LatticeStep(NamedTuple):
    """A lattice as matrices, with the scales of a norm in their values."""

    splat: Tensor
    blurs: list[Tensor]
    slice: Tensor


class LatticeSum(torch.autograd.Function):
    """The sum of some lattice filters of q [P, C]; the adjoint filters have the axes reversed."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, steps: list[LatticeStep], adjoints: list[LatticeStep]
    ) -> Tensor:
        ctx.steps = steps, adjoints
        return lattice_into(torch.zeros_like(q), q, steps)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        steps, adjoints = ctx.steps
        return lattice_message(g.contiguous(), adjoints, steps), None, None


lattice_message: Callable[..., Tensor] = LatticeSum.apply


def lattice_into(
    out: Tensor, q: Tensor, steps: Sequence[LatticeStep], scratch: Tensor | None = None
) -> Tensor:
    """Adds the filtered q [P, C] to `out`, in place.

    `scratch`, from `lattice_scratch`, spares the many calls of an inference new memory.
    """
    room = lattice_scratch(q, steps) if scratch is None else scratch
    for splat, blurs, slice in steps:
        values, spare = room[:, : len(splat)].unbind()
        torch.mm(splat, q, out=values)
        for blur in blurs:
            torch.addmm(values, blur, values, out=spare)
            values, spare = spare, values
        out.addmm_(slice, values)
    return out


def lattice_scratch(q: Tensor, steps: Sequence[LatticeStep]) -> Tensor:
    """Memory for the values at the vertices of any of the lattices, twice."""
    return q.new_empty(2, max(len(step.splat) for step in steps), q.shape[1])


def lattice_step(
    lattice: Lattice, pre: Tensor | None, post: Tensor | None, weight: float = 1.0
) -> LatticeStep:
    """The filter weight post K pre; the scales are [P] or `None`."""
    axes = len(lattice.blurs)
    pixels, vertices = len(lattice.corners) // axes, len(lattice.starts) - 1
    alpha = 1 / (1 + 2 ** -(axes - 1.0))
    shares, weights = lattice.shares, lattice.weights * (alpha * weight)
    if pre is not None:
        shares = shares * pre.index_select(0, lattice.pixels)
    if post is not None:
        weights = (weights.view(pixels, axes) * post[:, None]).flatten()
    rows = torch.arange(pixels + 1, dtype=torch.int32, device=lattice.corners.device) * axes
    return LatticeStep(
        sparse_rows(lattice.starts, lattice.pixels, shares, pixels),
        lattice.blurs,
        sparse_rows(rows, lattice.corners, weights, vertices),
    )


def reversed_step(step: LatticeStep) -> LatticeStep:
    """The same filter with its axes in the other order."""
    return step._replace(blurs=step.blurs[::-1])


def sparse_rows(starts: Tensor, columns: Tensor, values: Tensor, width: int) -> Tensor:
    """A sparse matrix by rows."""
    size = len(starts) - 1, width
    with warnings.catch_warnings():  # "beta state": these products are tested
        warnings.simplefilter("ignore")
        return torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)


def lattice_of(f: Tensor) -> Lattice:
    """The lattice of the features [N, d, P]; the images of a batch do not touch.

    Raises:
        ValueError: Too many pixels, or a feature too far from 0 for its precision.
    """
    most, pixels = MOST_CORNERS // (f.shape[1] + 1), f[:, 0].numel()
    if pixels > most:
        raise ValueError(
            f"a lattice of {f.shape[1]} dimensions holds {most:,} pixels, not {pixels:,}:"
            " split the batch or the picture"
        )
    top = max(abs(float(end)) for end in f.aminmax())
    if not top * (f.shape[1] + 1) < FARTHEST:
        raise ValueError(
            f"the largest feature (a guide over its sigma, a place over `sxy`) is {top:g},"
            f" beyond the {FARTHEST // (f.shape[1] + 1):,} that a lattice of"
            f" {f.shape[1]} dimensions resolves: raise the sigmas"
        )
    chunks = [simplices_of(part) for image in f for part in torch.split(image, CHUNK, 1)]
    images = [number for number, image in enumerate(f) for _ in torch.split(image, CHUNK, 1)]
    keys = torch.cat(
        [vertex_keys(part, image) for part, image in zip(chunks, images, strict=True)], 2
    )
    levels, numbers = numbered(keys.flatten(1), pad=f.shape[1] + 1)
    return assembled(chunks, numbers.int().view(keys.shape[1:]), keys.flatten(1), levels)


def simplices_of(f: Tensor) -> Simplices:
    """The simplices around the pixels of f [d, P], each different one once."""
    elevated = elevate(f)
    axes = len(elevated)
    origins = torch.round(elevated * (1 / axes))
    rest = elevated - origins * axes
    ranks = torch.zeros_like(rest, dtype=torch.int16)
    for i in range(axes):
        for j in range(i + 1, axes):
            behind = rest[i] < rest[j]
            ranks[i] += behind
            ranks[j] += ~behind
    origins = origins.int()
    ranks += origins.sum(0, dtype=torch.int16)
    turns = (ranks < 0).to(torch.int8) - (ranks >= axes).to(torch.int8)
    ranks += turns * axes
    origins += turns
    weights = barycentric((elevated - origins * axes) * (1 / axes), ranks)
    keys = torch.cat([origins[:-1], ranks[:-1].int()])
    levels, numbers = numbered(keys)
    some = numbers.new_empty(len(levels[-1].codes))
    keys = keys[:, some.scatter_(0, numbers, torch.arange(len(numbers), device=f.device))]
    return Simplices(weights, numbers, *keys.chunk(2))


def elevate(f: Tensor) -> Tensor:
    """[d + 1, P]: features [d, P] on the plane where coordinates sum to 0, a cell being d + 1."""
    d = len(f)
    total = torch.zeros_like(f[0])
    rows = [total] * (d + 1)
    # Rounded twice, as there: one unit in the last place moves pixels to other simplices.
    spread = float(torch.tensor(math.sqrt(2 / 3) * (d + 1), dtype=f.dtype))
    for axis in range(d, 0, -1):
        factor = spread * (1 / math.sqrt(axis * (axis + 1)))
        scaled = f[axis - 1] * torch.tensor(factor, dtype=f.dtype, device=f.device)
        rows[axis] = total - axis * scaled
        total = total + scaled
    rows[0] = total
    return torch.stack(rows)


def barycentric(rest: Tensor, ranks: Tensor) -> Tensor:
    """The weights [d + 1, P] of the vertices, from coordinates within the simplex."""
    ordered = torch.empty_like(rest).scatter_(0, ranks.long(), rest).flip(0)
    weights = ordered.clone()
    weights[1:] -= ordered[:-1]
    weights[0] += 1 - ordered[-1]
    return weights


def vertex_keys(part: Simplices, image: int) -> Tensor:
    """int32 [1 + d, d + 1, simplices]: the image and the coordinates of each vertex."""
    d, count = part.origins.shape
    keys = part.origins.new_full((1 + d, d + 1, count), image)
    for k in range(d + 1):
        keys[1:, k] = part.origins * (d + 1) + k - (d + 1) * (part.ranks > d - k)
    return keys


def assembled(
    chunks: list[Simplices], numbers: Tensor, keys: Tensor, levels: list[KeyLevel]
) -> Lattice:
    """The lattice of some simplices, given the numbers [d + 1, simplices] of their vertices."""
    axes, vertices = len(numbers), len(levels[-1].codes)
    parts = torch.split(numbers, [part.origins.shape[1] for part in chunks], 1)
    corners = torch.cat(
        [own[:, part.numbers].T.flatten() for own, part in zip(parts, chunks, strict=True)]
    )
    weights = torch.cat([part.weights.T.flatten() for part in chunks])
    ordered, order = torch.sort(corners, stable=True)
    bounds = torch.arange(vertices + 1, dtype=torch.int32, device=keys.device)
    starts = torch.searchsorted(ordered, bounds, out_int32=True)
    pixels = (order // axes).int()
    some = order.new_empty(vertices)
    flat = numbers.flatten().long()
    keys = keys[:, some.scatter_(0, flat, torch.arange(len(flat), device=keys.device))]
    blurs = [blur_matrix(keys, levels, axis, weights.dtype) for axis in range(axes)]
    return Lattice(corners, weights, pixels, weights[order], starts, blurs)


def blur_matrix(keys: Tensor, levels: list[KeyLevel], axis: int, dtype: torch.dtype) -> Tensor:
    """[vertices, vertices]: 0.5 at the two neighbours along an axis, where they exist."""
    digits, vertices = keys.shape
    moved = keys - 1
    moved[0] += 1
    if axis < digits - 1:
        moved[1 + axis] += digits
    before = found(moved, levels)
    own = torch.arange(vertices, device=keys.device)
    known = before >= 0
    after = torch.full_like(before, -1)
    after[before[known]] = own[known]
    both = torch.stack([before, after], 1)
    counts = (both >= 0).sum(1)
    starts = nn.functional.pad(counts.cumsum(0), [1, 0]).int()
    columns = both[both >= 0].int()
    halves = torch.full(columns.shape, 0.5, dtype=dtype, device=keys.device)
    return sparse_rows(starts, columns, halves, vertices)
