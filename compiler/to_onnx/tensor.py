"""Matrix products, reshapes and patches in ONNX."""

from __future__ import annotations

import onnx_ir as ir

from compiler.to_onnx.combine import END, padded
from compiler.to_onnx.lower import emit
from compiler.to_onnx.site import Site
from segdsl.ops.tensor import Flatten, Fold, Matmul, Permute, Reshape, Unfold
from segdsl.ops.window import out_size
from segdsl.symbolic import Size
from segdsl.types import Feature


@emit.register
def matmul(op: Matmul, site: Site, a: ir.Value, b: ir.Value) -> ir.Value:
    return site.add("MatMul", a, b)


@emit.register
def reshape(op: Reshape, site: Site, x: ir.Value, *like: ir.Value) -> ir.Value:
    """ONNX's 0 and -1 mean what ours mean; the sizes of `like` are read when the network runs."""
    if site.x.shape == site.y.shape:
        return x
    if not like:
        return site.reshape(x, site.y, *op.shape)
    rows, columns = site.types[1].shape[2:]
    if isinstance(rows, int) and isinstance(columns, int):
        return site.reshape(x, site.y, *op.shape, rows, columns)
    sizes = site.join(site.ints(*op.shape), site.sizes(like[0], 2, 4))
    return site.add("Reshape", x, sizes)


@emit.register
def permute(op: Permute, site: Site, x: ir.Value) -> ir.Value:
    if op.order == tuple(range(len(op.order))):
        return x
    return site.add("Transpose", x, perm=op.order)


@emit.register
def flatten(op: Flatten, site: Site, x: ir.Value) -> ir.Value:
    """A Reshape: 0 keeps the axes before, -1 is the merged one, the axes after are stated."""
    first, last = op.span(site.x.rank)
    if first == last:
        return x
    kept, after = [0] * first, site.x.shape[last + 1 :]
    numbers = [size for size in after if isinstance(size, int)]
    if len(numbers) == len(after):
        return site.reshape(x, site.y, *kept, -1, *numbers)
    rest = site.size_vector(after, x, range(last + 1, site.x.rank))
    return site.add("Reshape", x, site.join(site.ints(*kept, -1), rest))


@emit.register
def unfold(op: Unfold, site: Site, x: ir.Value) -> ir.Value:
    """One strided slice per tap, stacked: an element of a patch is a slice of the padded map."""
    n, channels = site.x.batch, site.x.channels
    height, width = (out_size(site.x.spatial(a), op.patch_window(a)) for a in (0, 1))
    top, left, bottom, right = op.sides
    wide = site.x.with_spatial(site.x.height + top + bottom, site.x.width + left + right)
    x = padded(site, x, op.sides, "zeros", 0.0, wide)
    taps = [
        _tap(op, site, strip, 1, j, Feature((n, channels, height, width)))
        for strip in (
            _tap(op, site, x, 0, i, wide.with_spatial(height, wide.width))
            for i in range(op.kernel.height)
        )
        for j in range(op.kernel.width)
    ]
    count = len(taps)
    if count == 1:
        return site.reshape(taps[0], site.y, 0, 0, -1)
    stacked = site.add("Concat", *taps, to=Feature((n, count * channels, height, width)), axis=1)
    by_tap = Feature((n, count, channels, height * width))
    split = site.reshape(stacked, by_tap, 0, count, channels, -1)
    by_channel = Feature((n, channels, count, height * width))
    turned = site.add("Transpose", split, to=by_channel, perm=[0, 2, 1, 3])
    return site.reshape(turned, site.y, 0, count * channels, -1)


def _tap(op: Unfold, site: Site, x: ir.Value, axis: int, tap: int, to: Feature) -> ir.Value:
    """What one row or column of the kernel sees. The end is counted from behind: no size needed."""
    kernel, stride, dilation = op.kernel[axis], op.stride[axis], op.dilation[axis]
    if kernel == 1 and stride == 1:
        return x
    end = -(kernel - 1 - tap) * dilation or END
    numbers = (tap * dilation, end, 2 + axis, stride)
    return site.add("Slice", x, *(site.ints(k) for k in numbers), to=to)


@emit.register
def fold(op: Fold, site: Site, x: ir.Value, *like: ir.Value) -> ir.Value:
    size: tuple[Size, ...] = site.y.shape[2:]
    image = site.size_vector(size, like[0] if like else x, (2, 3))
    options = {"strides": op.stride, "pads": op.sides, "dilations": op.dilation}
    return site.add("Col2Im", x, image, site.ints(*op.kernel), given=options)
