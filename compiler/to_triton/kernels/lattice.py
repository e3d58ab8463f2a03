"""One iteration of a mean field on permutohedral lattices: splat, blur along each axis, slice.

    values[v] = sum over the pixels i around vertex v of share[v, i] * q[i]
    values[v] = values[v] + (values[before] + values[after]) / 2, for one axis after the other
    p[i]      = sum over the corners v of the simplex around i of weight[i, v] * values[v]
    x[i]      = anchor[i] + matrix p[i]
    result    = x, softmax(x) or log_softmax(x) over the classes

The lattices of several terms lie side by side as one: the vertices of the second are numbered after
those of the first, and a vertex has itself alone along the axes that its lattice lacks. So an
iteration is one splat, as many blurs as the longest feature vector has axes, and one slice,
whatever the number of terms. Factors of norms and weights are part of shares and weights.

Nothing is added up by atomics: each vertex gathers its pixels in their order, in pieces of at most
some of them, since one vertex may have all the pixels of a plain picture. Everything is float32.
Adams, Baek & Davis 2010; the vertices are those of `compiler.crf`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .common import NAMESPACE
from .field import (
    EPILOGUES,
    MOST_CLASSES,
    MOST_MIXED,
    check_kinds,
    check_rows,
    ended,
    finished,
    stride,
)

MOST_CORNERS = 32
"""Corners of all terms at one pixel: the slice is unrolled over them."""


@triton.jit
def splat_kernel(
    Q, Bounds, Pixels, Shares, Values, R,
    S: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    """Sums of rows: Values [R, S], the r-th from Bounds[r] to Bounds[r + 1].

    Q [P, S] is gathered by Pixels and weighted by Shares; without them (None) the rows of Q are
    the parts themselves. AHEAD of them are read at a time.
    """
    row = tl.program_id(0) * BR + tl.arange(0, BR)
    real = row < R
    classes = tl.arange(0, BC)
    begin = tl.load(Bounds + row, mask=real, other=0)
    count = tl.load(Bounds + row + 1, mask=real, other=0) - begin
    acc = tl.zeros((BR, BC), dtype=tl.float32)
    for start in tl.range(0, tl.max(count, axis=0), AHEAD):
        for ahead in tl.static_range(AHEAD):
            at = start + ahead
            here = at < count
            source = begin + at
            share = tl.where(here, 1.0, 0.0)
            if Pixels is not None:
                share = tl.load(Shares + source, mask=here, other=0.0)
                source = tl.load(Pixels + source, mask=here, other=0)
            q = tl.load(Q + (source * S)[:, None] + classes[None, :],
                        mask=here[:, None] & (classes < S)[None, :], other=0.0)  # fmt: skip
            acc += share[:, None] * q
    tl.store(Values + (row * S)[:, None] + classes[None, :], acc,
             mask=real[:, None] & (classes < S)[None, :])  # fmt: skip


@triton.jit
def blur_kernel(
    Values, Neighbours, Out, R, axis,
    S: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """One axis: Values, Out [R, S]; Neighbours [axes, R, 2], -1 where there is none."""
    row = tl.program_id(0) * BR + tl.arange(0, BR)
    real = row < R
    classes = tl.arange(0, BC)
    kept = (classes < S)[None, :]
    pair = Neighbours + (axis * R + row) * 2
    before = tl.load(pair, mask=real, other=-1)
    after = tl.load(pair + 1, mask=real, other=-1)
    own = tl.load(Values + (row * S)[:, None] + classes[None, :],
                  mask=real[:, None] & kept, other=0.0)  # fmt: skip
    one = tl.load(Values + (before * S)[:, None] + classes[None, :],
                  mask=(before >= 0)[:, None] & kept, other=0.0)  # fmt: skip
    two = tl.load(Values + (after * S)[:, None] + classes[None, :],
                  mask=(after >= 0)[:, None] & kept, other=0.0)  # fmt: skip
    tl.store(Out + (row * S)[:, None] + classes[None, :], own + 0.5 * (one + two),
             mask=real[:, None] & kept)  # fmt: skip


@triton.jit
def slice_kernel(
    Values, Corners, Weights, Anchor, Matrix, Out, P,
    C: tl.constexpr, S: tl.constexpr, J: tl.constexpr, EPILOGUE: tl.constexpr,
    BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Values [vertices, S] at the J corners of each pixel; Corners, Weights [P, J].

    Anchor [P, S] and Matrix [C, C] may be None; Out is [P, S].
    """
    pixel = tl.program_id(0) * BR + tl.arange(0, BR)
    real = pixel < P
    classes = tl.arange(0, BC)
    kept = real[:, None] & (classes < S)[None, :]
    acc = tl.zeros((BR, BC), dtype=tl.float32)
    for j in tl.static_range(J):
        corner = tl.load(Corners + pixel * J + j, mask=real, other=0)
        weight = tl.load(Weights + pixel * J + j, mask=real, other=0.0)
        value = tl.load(Values + (corner * S)[:, None] + classes[None, :], mask=kept, other=0.0)
        acc += weight[:, None] * value
    at = (pixel * S)[:, None] + classes[None, :]
    tl.store(Out + at, finished(acc, at, kept, classes, Anchor, Matrix, C, EPILOGUE), mask=kept)


@dataclass(frozen=True)
class LatticeConfig:
    """Rows (vertices or pixels) of a program, parts that a splat reads at a time, warps."""

    rows: int
    ahead: int
    warps: int


CONFIGS: dict[str, LatticeConfig] = {
    "r64a4w4": LatticeConfig(64, 4, 4),
    "r32a4w4": LatticeConfig(32, 4, 4),
    "r16a8w2": LatticeConfig(16, 8, 2),
    "r8a4w4": LatticeConfig(8, 4, 4),
}
"""Rows that may be launched."""


def default_config(classes: int) -> str:
    """Rows for so many classes; what the table of measurements overrules."""
    return "r64a4w4" if classes <= 32 else "r32a4w4" if classes <= 64 else "r8a4w4"


def reference(
    q: Tensor, anchor: Tensor | None, bounds: Tensor, pixels: Tensor, shares: Tensor,
    pieces: Tensor | None, neighbours: Tensor, corners: Tensor, weights: Tensor,
    matrix: Tensor | None, classes: int, epilogue: str,
) -> Tensor:  # fmt: skip
    """The same in plain torch, in the dtype of the operands."""
    vertices = neighbours.shape[1]
    starts = bounds if pieces is None else bounds[pieces.long()]
    owner = torch.repeat_interleave(starts.diff().long(), output_size=len(pixels))
    values = q.new_zeros(vertices, q.shape[1])
    values = values.index_add(0, owner, shares[:, None] * q[pixels.long()])
    for pair in neighbours.long():
        wide = torch.nn.functional.pad(values, (0, 0, 0, 1))
        values = values + 0.5 * (wide[pair[:, 0]] + wide[pair[:, 1]])
    message = torch.zeros_like(q)
    for j in range(corners.shape[1]):
        message += weights[:, j : j + 1] * values[corners[:, j].long()]
    return ended(message, anchor, matrix, classes, epilogue)


def fallback_reason(classes: int, corners: int, pixels: int, *, matrix: bool) -> str:
    """Why the kernels cannot take such a field, or "" where they can.

    Args:
        classes: C.
        corners: of all terms at one pixel; there are no more vertices than pixels times these.
        pixels: N * h * w.
        matrix: whether there is a matrix over the classes.
    """
    if classes > MOST_CLASSES:
        return f"no template: {classes} classes; the most is {MOST_CLASSES}"
    if matrix and classes > MOST_MIXED:
        return f"no template: a matrix of {classes} classes; the most is {MOST_MIXED}"
    if corners > MOST_CORNERS:
        return f"no template: {corners} corners; the most is {MOST_CORNERS}"
    if pixels * corners * 2 >= 2**30 or pixels * stride(classes) >= 2**30:
        return "no template: more than 2^30 elements"
    return ""


def check_shapes(
    q: Tensor, anchor: Tensor | None, bounds: Tensor, pixels: Tensor, shares: Tensor,
    pieces: Tensor | None, neighbours: Tensor, corners: Tensor, weights: Tensor,
    matrix: Tensor | None, classes: int, epilogue: str,
) -> None:  # fmt: skip
    """Refuse operands that do not go together.

    Raises:
        ValueError: sizes that differ, an unknown epilogue.
    """
    check_rows(q, anchor, matrix, classes, epilogue)
    if corners.shape != weights.shape or corners.dim() != 2 or len(corners) != len(q):
        raise ValueError(f"corners {[*corners.shape]}, weights {[*weights.shape]}, {len(q)} pixels")
    if pixels.shape != shares.shape or len(pixels) != corners.numel():
        raise ValueError(f"{len(pixels)} parts, {len(shares)} shares, {corners.numel()} corners")
    if neighbours.dim() != 3 or neighbours.shape[2] != 2:
        raise ValueError(f"neighbours are [axes, vertices, 2], not {[*neighbours.shape]}")
    rows = bounds if pieces is None else pieces
    if len(rows) != neighbours.shape[1] + 1:
        raise ValueError(f"{len(rows) - 1} rows of parts, {neighbours.shape[1]} vertices")


def launch(
    q: Tensor, anchor: Tensor | None, bounds: Tensor, pixels: Tensor, shares: Tensor,
    pieces: Tensor | None, neighbours: Tensor, corners: Tensor, weights: Tensor,
    matrix: Tensor | None, classes: int, epilogue: str, *, config: LatticeConfig,
) -> Tensor:  # fmt: skip
    """Run the kernels.

    Args:
        q: rows [P, S] of what is filtered.
        anchor: [P, S] that is added to the message, or None.
        bounds: with the next six, a Mesh (lattice_mesh).
        matrix: [C, C] over the message, or None.
        classes: C.
        epilogue: "logits", "proba" or "log_proba".
        config: rows of a program.

    Raises:
        TypeError: an operand of another dtype.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    rest = (pieces, neighbours, corners, weights, matrix, classes, epilogue)
    check_shapes(q, anchor, bounds, pixels, shares, *rest)
    matrix = None if matrix is None else matrix.contiguous()
    check_kinds([q, anchor, shares, weights, matrix], [bounds, pixels, pieces, neighbours, corners])
    count, width = q.shape
    axes, vertices = neighbours.shape[:2]
    reason = fallback_reason(classes, corners.shape[1], count, matrix=matrix is not None)
    if reason or vertices * max(width, 2 * axes) >= 2**30:
        raise ValueError(reason or "no template: more than 2^30 elements")
    values = splatted(q, bounds, pixels, shares, config)
    values = values if pieces is None else splatted(values, pieces, None, None, config)
    spare = torch.empty_like(values)
    sizes = sizes_of(width, config)
    for axis in range(axes):
        blur_kernel[(triton.cdiv(vertices, config.rows),)](
            values, neighbours, spare, vertices, axis, **sizes, num_warps=config.warps
        )
        values, spare = spare, values
    out = torch.empty_like(q)
    slice_kernel[(triton.cdiv(count, config.rows),)](
        values, corners, weights, anchor, matrix, out, count, C=classes, J=corners.shape[1],
        EPILOGUE=EPILOGUES[epilogue], **sizes, num_warps=config.warps,
    )  # fmt: skip
    return out


def sizes_of(width: int, config: LatticeConfig) -> dict[str, int]:
    """The constexpr parameters that all three kernels have, for rows of so many numbers."""
    return {"S": width, "BR": config.rows, "BC": triton.next_power_of_2(width)}


def splatted(
    q: Tensor, bounds: Tensor, pixels: Tensor | None, shares: Tensor | None, config: LatticeConfig
) -> Tensor:
    """Sums of the rows of q between bounds, by the kernel."""
    count, width = len(bounds) - 1, q.shape[1]
    values = q.new_empty(count, width)
    splat_kernel[(triton.cdiv(count, config.rows),)](
        q, bounds, pixels, shares, values, count, **sizes_of(width, config), AHEAD=config.ahead,
        num_warps=config.warps,
    )  # fmt: skip
    return values


@torch.library.custom_op(f"{NAMESPACE}::lattice_filter", mutates_args=())
def lattice_filter(
    q: Tensor, anchor: Tensor | None, bounds: Tensor, pixels: Tensor, shares: Tensor,
    pieces: Tensor | None, neighbours: Tensor, corners: Tensor, weights: Tensor,
    matrix: Tensor | None, classes: int, epilogue: str, config: str,
) -> Tensor:  # fmt: skip
    """One iteration by the kernels with a name of CONFIGS, or, if it is "", in plain torch."""
    rest = (q, anchor, bounds, pixels, shares, pieces, neighbours, corners, weights, matrix,
            classes, epilogue)  # fmt: skip
    check_shapes(*rest)
    return launch(*rest, config=CONFIGS[config]) if config else reference(*rest)


@lattice_filter.register_fake
def _(q, *rest):
    return torch.empty_like(q)


def key(logits: Tensor, axes: Sequence[int], *, matrix: bool) -> str:
    """What a measurement is filed under; the vertices depend on the picture."""
    size = "x".join(map(str, logits.shape))
    tail = " matrix" if matrix else ""
    return f"lattice float32 {size} {'+'.join(map(str, axes))} axes{tail}"
