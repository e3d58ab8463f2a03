"""Normalisation in ONNX."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.lower import emit
from compiler.to_onnx.opsets import GROUP_NORM
from compiler.to_onnx.site import Site
from segdsl.ops.norm import BatchNorm, GroupNorm, LayerNorm, Lrn
from segdsl.types import Feature


@emit.register
def bn(op: BatchNorm, site: Site, x: ir.Value) -> ir.Value:
    channels = site.x.channels
    if op.affine:
        affine = [site.weight("weight"), site.weight("bias")]
    else:
        affine = [site.array(np.full(channels, n, np.float32)) for n in (1, 0)]
    statistics = [site.weight("running_mean"), site.weight("running_var")]
    return site.add("BatchNormalization", x, *affine, *statistics, epsilon=float(op.eps))


@emit.register
def layer_norm(op: LayerNorm, site: Site, x: ir.Value) -> ir.Value:
    """LayerNormalization works on the last axis; channels are axis 1."""
    arrays = [site.weight("weight"), site.weight("bias")]
    rank, shape = site.x.rank, site.x.shape
    options = {"axis": -1, "epsilon": float(op.eps)}
    if rank == 2:
        return site.add("LayerNormalization", x, *arrays, given=options)
    moved = Feature((shape[0], *shape[2:], shape[1]))
    there, back = (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))
    last = site.add("Transpose", x, to=moved, perm=there)
    normed = site.add("LayerNormalization", last, *arrays, to=moved, given=options)
    return site.add("Transpose", normed, perm=back)


@emit.register
def group_norm(op: GroupNorm, site: Site, x: ir.Value) -> ir.Value:
    """Groups as channels of an instance norm.

    One node where an opset was asked for that has it.
    """
    if site.pinned(GROUP_NORM):
        options = {"epsilon": float(op.eps), "num_groups": op.groups}
        arrays = site.weight("weight"), site.weight("bias")
        return site.add("GroupNormalization", x, *arrays, given=options)
    n, channels, height, width = site.x.shape
    inner = channels * height * width // op.groups
    grouped = Feature((n, op.groups, inner))
    plain = [site.array(np.full(op.groups, k, np.float32)) for k in (1, 0)]
    flat = site.reshape(x, grouped, 0, op.groups, -1)
    normed = site.add("InstanceNormalization", flat, *plain, to=grouped, epsilon=float(op.eps))
    back = site.add("Reshape", normed, site.size_vector(site.x.shape, x, range(4)))
    each = (site.x.channels, 1, 1)
    scaled = site.add("Mul", back, site.weight("weight", each))
    return site.add("Add", scaled, site.weight("bias", each))


@emit.register
def lrn(op: Lrn, site: Site, x: ir.Value) -> ir.Value:
    """Runtimes refuse LRN of an even size: there the squares are averaged by a pool."""
    if op.size % 2:
        return site.add(
            "LRN", x, size=op.size, alpha=float(op.alpha), beta=float(op.beta), bias=float(op.k)
        )
    n, channels, height, width = site.x.shape
    plane = Feature((n, 1, channels, height * width))
    squares = site.add("Mul", x, x)
    column = site.reshape(squares, plane, 0, 1, site.x.channels, -1)
    mean = site.add(
        "AveragePool",
        column,
        to=plane,
        kernel_shape=[op.size, 1],
        strides=[1, 1],
        pads=[op.size // 2, 0, (op.size - 1) // 2, 0],
        count_include_pad=1,
    )
    back = site.add("Reshape", mean, site.size_vector(site.x.shape, x, range(4)))
    scaled = site.add("Add", site.add("Mul", back, site.number(op.alpha)), site.number(op.k))
    return site.add("Div", x, site.add("Pow", scaled, site.number(op.beta)))
