"""Deformable sampling in ONNX: GridSample everywhere, DeformConv where a later opset is asked for.

DCNv3 is never a DeformConv: its mask mixes the points, and no kernel does. GridSample's position
g names the pixel ((g + 1)*size - 1)/2, so pixel p is written as (2p + 1)/size - 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.lower import emit
from compiler.to_onnx.opsets import DEFORM_CONV, GRID_SAMPLE
from compiler.to_onnx.site import Site
from segdsl.ops.deform import CenterFeatureScale, Dcnv3Core, DeformConv
from segdsl.symbolic import Size
from segdsl.types import HEIGHT, WIDTH, Axis, Feature

AXES: tuple[Axis, Axis] = (HEIGHT, WIDTH)
SAMPLING = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": 0}


@emit.register
def dcnv3_core(
    op: Dcnv3Core, site: Site, x: ir.Value, offset: ir.Value, mask: ir.Value
) -> ir.Value:
    """Groups join the batch, so that one GridSample takes them all."""
    n, _, rows, columns = site.y.shape
    groups, points = op.groups, len(op.points)
    parts = n * groups
    each = site.x.channels // groups
    values = _grouped(site, x, groups, each)
    moved = _moved(site, offset, groups, points, op.offset_limit, op.offset_scale)
    first = [[op.places(axis)[p[axis]] for p in op.points] for axis in AXES]
    grid = _grid(site, x, moved, (parts, rows, columns), first, op.stride, (1, 0))
    flat = Feature((parts, each, points * rows, columns))
    taken = site.add("GridSample", values, grid, to=flat, given=SAMPLING)
    split = Feature((parts, each, points, rows * columns))
    taken = site.reshape(taken, split, 0, each, points, -1)
    weights = Feature((parts, 1, points, rows * columns))
    shape = site.join(site.ints(-1, 1, points), _count(site, offset))
    weight = site.add("Reshape", mask, shape, to=weights)
    if op.softmax:
        weight = site.add("Softmax", weight, to=weights, axis=2)
    mixed = site.add("Mul", taken, weight, to=split)
    summed = site.add(
        "ReduceSum", mixed, site.ints(2), to=Feature((parts, each, rows * columns)), keepdims=0
    )
    return _unflat(site, summed, offset, site.x.channels)


@emit.register
def deform_conv(
    op: DeformConv, site: Site, x: ir.Value, offset: ir.Value, *mask: ir.Value
) -> ir.Value:
    """The points of a kernel as GridSamples, then the kernel as a convolution with its size."""
    if site.pinned(DEFORM_CONV):
        return _native(op, site, x, offset, mask)
    n, _, rows, columns = site.y.shape
    taps, parts = op.kernel[0] * op.kernel[1], n * op.offset_groups
    each = site.x.channels // op.offset_groups
    values = _grouped(site, x, op.offset_groups, each)
    moved = _moved(site, offset, op.offset_groups, taps, op.offset_limit, 1.0)
    windows = [op.nominal(axis) for axis in AXES]
    first = [
        [Fraction(k * w.dilation - w.before) for k in _indices(op, axis)]
        for axis, w in zip(AXES, windows, strict=True)
    ]
    grid = _grid(site, x, moved, (parts, rows, columns), first, op.stride, (0, 1))
    flat = Feature((parts, each, taps * rows, columns))
    taken = site.add("GridSample", values, grid, to=flat, given=SAMPLING)
    split = Feature((parts, each, taps, rows * columns))
    taken = site.reshape(taken, split, 0, each, taps, -1)
    if mask:
        shape = site.join(site.ints(-1, 1, taps), _count(site, offset))
        weight = site.add("Reshape", mask[0], shape, to=Feature((parts, 1, *split.shape[2:])))
        taken = site.add("Mul", taken, weight, to=split)
    if op.offset_groups > 1:
        cells = Feature((n, site.x.channels, taps, rows * columns))
        shape = site.join(site.ints(-1, site.x.channels, taps), _count(site, offset))
        taken = site.add("Reshape", taken, shape, to=cells)
    group = site.x.channels // op.groups
    arrays = [site.weight("weight", (op.out, group, taps, 1))]
    arrays += [site.weight("bias")] if op.bias else []
    result = Feature((n, op.out, 1, rows * columns))
    mixed = site.add("Conv", taken, *arrays, to=result, kernel_shape=[taps, 1], group=op.groups)
    return _unflat(site, mixed, offset, op.out)


def _native(
    op: DeformConv, site: Site, x: ir.Value, offset: ir.Value, mask: tuple[ir.Value, ...]
) -> ir.Value:
    """DeformConv: in ONNX Runtime's CPU package from 1.25 on, in TensorRT from 10.1."""
    if op.offset_limit is not None:
        ends = (site.number(-op.offset_limit), site.number(op.offset_limit))
        offset = site.add("Clip", offset, *ends, to=site.types[1])
    bias = site.weight("bias") if op.bias else None
    return site.add(
        "DeformConv",
        x,
        site.weight("weight"),
        offset,
        *([bias, *mask] if mask else [bias] if bias is not None else []),
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.sides,
        dilations=op.dilation,
        group=op.groups,
        offset_group=op.offset_groups,
    )


def _indices(op: DeformConv, axis: Axis) -> list[int]:
    """The row (or column) of each point in the kernel, row by row."""
    rows, columns = op.kernel
    return [(j, i)[axis] for j in range(rows) for i in range(columns)]


def spell_modes(nodes: Iterable[ir.Node], opset: int) -> None:
    """Name the mode as the opset of the finished file does, which any operator may raise."""
    if opset >= GRID_SAMPLE:
        for node in nodes:
            if node.op_type == "GridSample":
                node.attributes["mode"] = ir.AttrString("mode", "linear")


def _grouped(site: Site, x: ir.Value, groups: int, each: int) -> ir.Value:
    """[N, C, H, W] as [N * groups, C / groups, H, W]."""
    if groups == 1:
        return x
    n, _, height, width = site.x.shape
    shape = site.join(site.ints(-1, each), site.sizes(x, 2, 4))
    return site.add("Reshape", x, shape, to=Feature((n * groups, each, height, width)))


def _moved(
    site: Site, offset: ir.Value, groups: int, points: int, limit: float | None, scale: float
) -> ir.Value:
    """The offsets in pixels as [N * groups, points, 2, rows, columns]."""
    n, _, rows, columns = site.types[1].shape
    if scale != 1:
        offset = site.add("Mul", offset, site.number(scale), to=site.types[1])
    if limit is not None:
        ends = (site.number(-limit), site.number(limit))
        offset = site.add("Clip", offset, *ends, to=site.types[1])
    shape = site.join(site.ints(-1, points, 2), site.sizes(offset, 2, 4))
    return site.add("Reshape", offset, shape, to=Feature((n * groups, points, 2, rows, columns)))


def _grid(
    site: Site,
    x: ir.Value,
    moved: ir.Value,
    sizes: tuple[Size, Size, Size],
    first: list[list[Fraction]],
    stride: tuple[int, int],
    order: tuple[int, int],
) -> ir.Value:
    """GridSample's grid, [parts, points * rows, columns, 2] with the column first.

    `first` is where each point lies for output 0, by axis; `order` is where an axis stands among
    the coordinates of the offset map.
    """
    parts, rows, columns = sizes
    points = len(first[0])
    whole = Feature((parts, points, 1, rows, columns))
    lines = []
    for axis in (WIDTH, HEIGHT):
        start, stop = order[axis], order[axis] + 1
        own = site.add("Slice", moved, site.ints(start), site.ints(stop), site.ints(2), to=whole)
        place = _places(site, moved, axis, sizes[1 + axis], first[axis], stride[axis])
        at = site.add("Add", own, place, to=whole)
        lines.append(_normalised(site, x, axis, at, whole))
    both = Feature((parts, points, 2, rows, columns))
    pair = site.add("Concat", *lines, to=both, axis=2)
    last = Feature((parts, points, rows, columns, 2))
    pair = site.add("Transpose", pair, to=last, perm=[0, 1, 3, 4, 2])
    shape = site.join(site.ints(0, -1), site.sizes(moved, 4, 5), site.ints(2))
    return site.add("Reshape", pair, shape, to=Feature((parts, points * rows, columns, 2)))


def _places(
    site: Site, moved: ir.Value, axis: Axis, count: Size, first: list[Fraction], stride: int
) -> ir.Value:
    """Where the points lie while none is moved, [points, 1, rows or 1, columns or 1]."""
    shape = (len(first), 1, 1, 1)
    start = site.array(np.array([float(p) for p in first], np.float32).reshape(shape))
    if isinstance(count, int):
        line = site.array(np.arange(count, dtype=np.float32) * np.float32(stride))
    else:
        # Range wants three single numbers.
        stop = site.add("Squeeze", site.sizes(moved, 3 + axis, 4 + axis), to=Feature((), "i64"))
        zero, one = (site.array(np.array(n, np.int64)) for n in (0, 1))
        steps = site.add("Range", zero, stop, one, to=Feature((count,), "i64"))
        line = site.cast(steps, (count,))
        if stride != 1:
            line = site.add("Mul", line, site.number(stride), to=Feature((count,)))
    if axis == HEIGHT:
        line = site.reshape(line, Feature((count, 1)), -1, 1)
    sides = (count, 1) if axis == HEIGHT else (1, count)
    return site.add("Add", start, line, to=Feature((len(first), 1, *sides)))


def _normalised(site: Site, x: ir.Value, axis: Axis, at: ir.Value, whole: Feature) -> ir.Value:
    """(2*at + 1)/size - 1."""
    size = site.x.spatial(axis)
    twice = site.add("Mul", at, site.number(2.0), to=whole)
    odd = site.add("Add", twice, site.number(1.0), to=whole)
    if isinstance(size, int):
        known: ir.Value = site.number(float(size))
    else:
        known = site.cast(site.sizes(x, 2 + axis, 3 + axis), (1,))
    return site.add("Sub", site.add("Div", odd, known, to=whole), site.number(1.0), to=whole)


def _count(site: Site, offset: ir.Value) -> ir.Value:
    """Pixels of the result, as a vector of one number."""
    rows, columns = site.y.shape[2:]
    if isinstance(rows, int) and isinstance(columns, int):
        return site.ints(rows * columns)
    sizes = [site.sizes(offset, axis, axis + 1) for axis in (2, 3)]
    return site.whole("Mul", *sizes, shape=(1,))


def _unflat(site: Site, x: ir.Value, offset: ir.Value, channels: int) -> ir.Value:
    """Any grouping of [N, channels, rows * columns] as the map that the operator gives."""
    shape = site.join(site.ints(-1, channels), site.sizes(offset, 2, 4))
    return site.add("Reshape", x, shape)


@emit.register
def center_feature_scale(
    op: CenterFeatureScale,
    site: Site,
    x: ir.Value,
    v: ir.Value,
    f: ir.Value,
    weight: ir.Value,
    bias: ir.Value,
) -> ir.Value:
    """A 1x1 convolution with the given arrays; the shares are repeated by a fifth axis."""
    n, _, height, width = site.y.shape
    groups, features = (int(str(size)) for size in site.types[3].shape)
    kernel = site.reshape(weight, Feature((groups, features, 1, 1)), groups, features, 1, 1)
    maps = Feature((n, groups, height, width))
    share = site.add("Conv", f, kernel, bias, to=maps, kernel_shape=[1, 1])
    share = site.add("Sigmoid", share, to=maps)
    each = site.x.channels // groups
    tall = Feature((n, groups, 1, height * width))
    share = site.reshape(share, tall, 0, groups, 1, -1)
    split = Feature((n, groups, each, height * width))
    s, c = (site.reshape(m, split, 0, groups, each, -1) for m in (x, v))
    rest = site.add("Sub", site.number(1.0), share, to=tall)
    mixed = site.add(
        "Add",
        site.add("Mul", s, rest, to=split),
        site.add("Mul", c, share, to=split),
        to=split,
    )
    return site.add("Reshape", mixed, site.size_vector(site.y.shape, x, range(4)))
