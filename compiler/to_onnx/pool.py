"""Pooling and its undoing in ONNX.

`ceil_mode` is written only where nothing else will do. Below opset 22 shape inference computes
other sizes than runtimes do, and torch's rule for the last window (it starts inside the map or the
padding before it) is stated from 22 on. Where the size is known, padding the end does the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.combine import padded
from compiler.to_onnx.lower import emit
from compiler.to_onnx.site import Site, static
from segdsl.ops.pool import AdaptiveAvgPool, AvgPool, GlobalAvgPool, MaxPool, MaxUnpool
from segdsl.ops.window import out_size
from segdsl.symbolic import Size
from segdsl.types import HEIGHT, WIDTH, Axis, Feature, Window

AXES: tuple[Axis, Axis] = (HEIGHT, WIDTH)
EXACT_CEIL = 22
"""From this opset on `ceil_mode` is defined as torch defines it."""


@dataclass(frozen=True)
class _Rounding:
    """How the number of windows is reached: four pads and no ceil_mode, or ceil_mode.

    `grown` says that pads beyond the operator's own stand in for the rounding.
    """

    pads: tuple[int, int, int, int]
    ceil: bool = False
    grown: bool = False


def _rounding(op: MaxPool | AvgPool, site: Site) -> _Rounding:
    top, left, bottom, right = op.sides
    own = (top, left, bottom, right)
    if not op.ceil or all(_idle(op.window(a), site.x.spatial(a), site) for a in AXES):
        return _Rounding(own)
    below, beside = (_end(op.window(a), site.x.spatial(a), site.y.spatial(a)) for a in AXES)
    if below is None or beside is None:
        site.need(site.node, EXACT_CEIL, "`ceil=true` where the size of the map is not known")
        return _Rounding(own, ceil=True)
    if below >= op.kernel.height or beside >= op.kernel.width:
        # Runtimes refuse pads that are not smaller than the (undilated) kernel.
        site.need(site.node, EXACT_CEIL, "`ceil=true` with this dilation")
        return _Rounding(own, ceil=True)
    return _Rounding((top, left, below, beside), grown=True)


def _idle(window: Window, size: Size, site: Site) -> bool:
    """Whether rounding up changes nothing, for every accepted input."""
    return site.always_equal(out_size(size, window), out_size(size, window, ceil=True))


def _end(window: Window, size: Size, out: Size) -> int | None:
    """The padding after the map with which `out` windows fit, rounded down."""
    known = static(size, out)
    if known is None:
        return None
    n, m = known
    return max(0, (m - 1) * window.stride + window.extent - n - window.before)


def _window(op: MaxPool | AvgPool, rounding: _Rounding) -> dict[str, object]:
    ceil = {"ceil_mode": 1} if rounding.ceil else {}
    return {"kernel_shape": op.kernel, "strides": op.step, "pads": rounding.pads, **ceil}


@emit.register
def max_pool(op: MaxPool, site: Site, x: ir.Value) -> ir.Value | tuple[ir.Value, ...]:
    """ONNX counts indices over the whole tensor, torch in each plane: the rest modulo h*w."""
    options = _window(op, _rounding(op, site))
    if max(op.dilation) > 1:
        options["dilations"] = op.dilation
    if not op.indices:
        return site.add("MaxPool", x, given=options)
    y, places = site.add_all("MaxPool", x, given=options)
    return y, site.add("Mod", places, _plane(site, x, site.x), to=site.results[1])


def _plane(site: Site, x: ir.Value, feature: Feature) -> ir.Value:
    """Pixels of a map."""
    known = static(feature.height, feature.width)
    if known is not None:
        return site.ints(known[0] * known[1])
    return _product(site, site.sizes(x, 2, 4))


def _product(site: Site, vector: ir.Value) -> ir.Value:
    return site.whole("ReduceProd", vector, site.ints(0), shape=(1,))


@emit.register
def avg_pool(op: AvgPool, site: Site, x: ir.Value) -> ir.Value:
    """What lies beyond the padding is never in the divisor; the padding is if the author says so.

    Pads that stand in for rounding must stay out of it, so the operator's own become a Pad.
    """
    rounding, counted = _rounding(op, site), op.count_include_pad and any(op.sides)
    options = _window(op, rounding)
    if counted and rounding.grown:
        top, left, below, beside = rounding.pads
        sides = op.sides
        size = (site.x.height + top + sides.bottom, site.x.width + left + sides.right)
        x = padded(site, x, sides, "zeros", 0.0, site.x.with_spatial(*size))
        options["pads"] = (0, 0, max(0, below - sides.bottom), max(0, beside - sides.right))
    elif counted:
        options["count_include_pad"] = 1
    return site.add("AveragePool", x, given=options)


@emit.register
def global_avg_pool(op: GlobalAvgPool, site: Site, x: ir.Value) -> ir.Value:
    return site.add("GlobalAveragePool", x)


@emit.register
def adaptive_avg_pool(op: AdaptiveAvgPool, site: Site, x: ir.Value) -> ir.Value:
    """A pool where bins divide the size, else a product with a matrix of bins per axis."""
    if op.bins == (1, 1):
        return site.add("GlobalAveragePool", x)
    feature, window = site.x, [1, 1]
    for axis in AXES:
        size = feature.spatial(axis)
        if isinstance(size, int) and size % op.bins[axis] == 0:
            window[axis] = size // op.bins[axis]
    if max(window) > 1:
        feature = _at(feature, 0, feature.height if window[0] == 1 else op.bins[0])
        feature = _at(feature, 1, feature.width if window[1] == 1 else op.bins[1])
        x = site.add("AveragePool", x, to=feature, kernel_shape=window, strides=window)
    for axis in AXES:
        if feature.spatial(axis) != op.bins[axis]:
            feature, x = _pooled(site, x, feature, axis, op.bins[axis])
    return x


def _at(feature: Feature, axis: Axis, size: Size) -> Feature:
    return feature.with_spatial(*((size, feature.width), (feature.height, size))[axis])


def _pooled(
    site: Site, x: ir.Value, feature: Feature, axis: Axis, bins: int
) -> tuple[Feature, ir.Value]:
    """The means of the bins along one axis."""
    to, size = _at(feature, axis, bins), feature.spatial(axis)
    if bins == 1:
        return to, site.add("ReduceMean", x, site.ints(2 + axis), to=to, keepdims=1)
    if isinstance(size, int):
        matrix = site.array(_bins(size, bins) if axis == 0 else _bins(size, bins).T)
    else:
        matrix = _computed_bins(site, x, axis, size, bins)
        if axis == 1:
            matrix = site.add("Transpose", matrix, to=Feature((size, bins)), perm=[1, 0])
    pair = (matrix, x) if axis == 0 else (x, matrix)
    return to, site.add("MatMul", *pair, to=to)


def _bins(size: int, bins: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """`[bins, size]`: 1/n in the n columns of each bin, from floor(y*n/m) to ceil((y + 1)*n/m)."""
    matrix = np.zeros((bins, size), np.float32)
    for y in range(bins):
        start, stop = y * size // bins, -(-(y + 1) * size // bins)
        matrix[y, start:stop] = 1.0 / (stop - start)
    return matrix


def _computed_bins(site: Site, x: ir.Value, axis: Axis, size: Size, bins: int) -> ir.Value:
    """The same matrix for a size that is known when the network runs."""
    n = site.sizes(x, 2 + axis, 3 + axis)
    scalar = site.whole("Squeeze", n, site.ints(0), shape=())
    numbers = np.arange(bins, dtype=np.int64).reshape(bins, 1)
    column, full = (bins, 1), (bins, size)
    scaled = site.whole("Mul", site.array(numbers), n, shape=column)
    start = site.whole("Div", scaled, site.ints(bins), shape=column)
    scaled = site.whole("Mul", site.array(numbers + 1), n, shape=column)
    raised = site.whole("Add", scaled, site.ints(bins - 1), shape=column)
    stop = site.whole("Div", raised, site.ints(bins), shape=column)
    zero, one = (site.array(np.array(k, np.int64)) for k in (0, 1))
    place = site.whole("Range", zero, scalar, one, shape=(size,))
    after = site.add("GreaterOrEqual", place, start, to=Feature(full, "bool"))
    before = site.add("Less", place, stop, to=Feature(full, "bool"))
    inside = site.cast(site.add("And", after, before, to=Feature(full, "bool")), full)
    count = site.cast(site.whole("Sub", stop, start, shape=column), column)
    return site.add("Div", inside, count, to=Feature(full))


@emit.register
def max_unpool(
    op: MaxUnpool, site: Site, x: ir.Value, places: ir.Value, *like: ir.Value
) -> ir.Value:
    """Values scattered into planes of zeros.

    ONNX's own MaxUnpool means indices over the whole tensor, so it is wrong for more than one plane
    unless the result has the size of the pool's input.
    """
    n, channels, height, width = site.y.shape
    flat = Feature((n, channels, site.x.height * site.x.width))
    rows = site.reshape(x, flat, 0, 0, -1)
    index = site.reshape(places, Feature(flat.shape, "i64"), 0, 0, -1)
    space, planes = _space(op, site, x, like), Feature((n, channels, height * width))
    lead = site.size_vector((n, site.x.channels), x, (0, 1))
    plane, shape = static(height, width), static(*planes.shape)
    area = site.ints(plane[0] * plane[1]) if plane else _product(site, space)
    if shape:
        blank = site.array(np.zeros(shape, np.float32))
    else:
        blank = site.add("Expand", site.number(0.0), site.join(lead, area), to=planes)
    filled = site.add("ScatterElements", blank, index, rows, to=planes, axis=2)
    return site.add("Reshape", filled, site.join(lead, space))


def _space(op: MaxUnpool, site: Site, x: ir.Value, like: tuple[ir.Value, ...]) -> ir.Value:
    """Rows and columns of the result."""
    known = static(site.y.height, site.y.width)
    if known is not None:
        return site.ints(*known)
    if like:
        return site.sizes(like[0], 2, 4)
    windows = [op.pool_window(axis) for axis in AXES]
    steps = site.ints(*(w.stride for w in windows))
    rest = site.ints(*(w.extent - w.stride - w.before - w.after for w in windows))
    grown = site.whole("Mul", site.sizes(x, 2, 4), steps, shape=(2,))
    return site.whole("Add", grown, rest, shape=(2,))
