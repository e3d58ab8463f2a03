"""Deformable sampling in float64 from its equations, one point at a time, with its gradients.

Shares nothing with `compiler`: no code, no layout, no library. Sources: arXiv:1703.06211,
arXiv:1811.11168 (deformable convolution); arXiv:2211.05778 (DCNv3), whose point (i, j) of output
(y, x) lies at column `x*stride - pad + c + (i*dilation - c + dx)*scale` with dx scaled too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

from segdsl.ops.deform import Dcnv3Core, DeformConv

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Corner:
    """A pixel beside a point: its share in the value, and how that changes with the point."""

    row: int
    column: int
    share: float
    by_y: float
    by_x: float


def corners(y: float, x: float, height: int, width: int) -> Iterator[Corner]:
    """The pixels that a point reads; none where it lies a pixel or more outside of the map."""
    if not (-1 < y < height and -1 < x < width):
        return
    top, left = floor(y), floor(x)
    for row, up, dy in ((top, top + 1 - y, -1.0), (top + 1, y - top, 1.0)):
        for column, along, dx in ((left, left + 1 - x, -1.0), (left + 1, x - left, 1.0)):
            if 0 <= row < height and 0 <= column < width:
                yield Corner(row, column, up * along, dy * along, up * dx)


def clamped(value: float, limit: float | None) -> tuple[float, float]:
    """An offset within its limit, and its derivative."""
    if limit is None or -limit <= value <= limit:
        return value, 1.0
    return (limit if value > 0 else -limit), 0.0


@dataclass
class Gradients:
    """The gradients of everything that has one."""

    x: Array
    offset: Array
    mask: Array | None
    weight: Array | None = None
    bias: Array | None = None


def dcnv3(
    op: Dcnv3Core, x: Array, offset: Array, mask: Array, out_gradient: Array | None = None
) -> tuple[Array, Gradients]:
    """The result of `op`, and the gradients for a gradient of the result (ones if not given)."""
    n, channels, height, width = x.shape
    rows, columns = offset.shape[2:]
    each = channels // op.groups
    points = [
        (i, j)
        for i in range(op.kernel[1])
        for j in range(op.kernel[0])
        if not (op.remove_center and (i, j) == (op.kernel[1] // 2, op.kernel[0] // 2))
    ]
    scale, (dil_y, dil_x) = op.offset_scale, op.dilation
    c_y, c_x = dil_y * (op.kernel[0] - 1) // 2, dil_x * (op.kernel[1] - 1) // 2
    result = np.zeros((n, channels, rows, columns))
    grad = np.ones_like(result) if out_gradient is None else out_gradient
    to = Gradients(np.zeros_like(x), np.zeros_like(offset), np.zeros_like(mask))
    assert to.mask is not None
    for b, g, oy, ox in np.ndindex(n, op.groups, rows, columns):
        own = slice(g * each, (g + 1) * each)
        first = g * len(points)
        logits = mask[b, first : first + len(points), oy, ox]
        share = np.exp(logits - logits.max()) if op.softmax else logits
        share = share / share.sum() if op.softmax else share
        upstream = grad[b, own, oy, ox]
        to_share = np.zeros(len(points))
        for p, (i, j) in enumerate(points):
            at = 2 * (first + p)
            dx, kx = clamped(offset[b, at, oy, ox] * scale, op.offset_limit)
            dy, ky = clamped(offset[b, at + 1, oy, ox] * scale, op.offset_limit)
            px = ox * op.stride[1] - op.sides.left + c_x + (i * dil_x - c_x) * scale + dx
            py = oy * op.stride[0] - op.sides.top + c_y + (j * dil_y - c_y) * scale + dy
            for corner in corners(py, px, height, width):
                value = x[b, own, corner.row, corner.column]
                pull = float(upstream @ value)
                result[b, own, oy, ox] += share[p] * corner.share * value
                to_share[p] += corner.share * pull
                to.offset[b, at, oy, ox] += share[p] * corner.by_x * pull * scale * kx
                to.offset[b, at + 1, oy, ox] += share[p] * corner.by_y * pull * scale * ky
                to.x[b, own, corner.row, corner.column] += share[p] * corner.share * upstream
        if op.softmax:
            to_share = share * (to_share - float(share @ to_share))
        to.mask[b, first : first + len(points), oy, ox] = to_share
    return result, to


def deform_conv(
    op: DeformConv,
    x: Array,
    offset: Array,
    mask: Array | None,
    weight: Array,
    bias: Array | None,
    out_gradient: Array | None = None,
) -> tuple[Array, Gradients]:
    """The result of `op`, and the gradients for a gradient of the result (ones if not given)."""
    n, channels, height, width = x.shape
    rows, columns = offset.shape[2:]
    each, per_group = channels // op.offset_groups, channels // op.groups
    out_group = op.out // op.groups
    result = np.zeros((n, op.out, rows, columns))
    if bias is not None:
        result += bias[None, :, None, None]
    grad = np.ones_like(result) if out_gradient is None else out_gradient
    to = Gradients(
        np.zeros_like(x),
        np.zeros_like(offset),
        None if mask is None else np.zeros_like(mask),
        np.zeros_like(weight),
        None if bias is None else grad.sum((0, 2, 3)),
    )
    assert to.weight is not None
    taps = op.kernel[0] * op.kernel[1]
    for b, oy, ox, j, i, channel in np.ndindex(n, rows, columns, *op.kernel, channels):
        at = (channel // each) * taps + j * op.kernel[1] + i
        group, inner = divmod(channel, per_group)
        own = slice(group * out_group, (group + 1) * out_group)
        dy, ky = clamped(offset[b, 2 * at, oy, ox], op.offset_limit)
        dx, kx = clamped(offset[b, 2 * at + 1, oy, ox], op.offset_limit)
        py = oy * op.stride[0] - op.sides.top + j * op.dilation[0] + dy
        px = ox * op.stride[1] - op.sides.left + i * op.dilation[1] + dx
        factor = 1.0 if mask is None else float(mask[b, at, oy, ox])
        kernel = weight[own, inner, j, i]
        pull = float(grad[b, own, oy, ox] @ kernel)
        for corner in corners(py, px, height, width):
            value = float(x[b, channel, corner.row, corner.column])
            result[b, own, oy, ox] += kernel * factor * corner.share * value
            to.weight[own, inner, j, i] += grad[b, own, oy, ox] * factor * corner.share * value
            to.x[b, channel, corner.row, corner.column] += pull * factor * corner.share
            to.offset[b, 2 * at, oy, ox] += pull * factor * value * corner.by_y * ky
            to.offset[b, 2 * at + 1, oy, ox] += pull * factor * value * corner.by_x * kx
            if to.mask is not None:
                to.mask[b, at, oy, ox] += pull * corner.share * value
    return result, to
