"""The arrays of a node: those of the table, or what a pass says is to be computed from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from compiler.weights.table import Array
from segdsl.analysis.params import tensor_path
from segdsl.ir import Folded, Node
from segdsl.ops.conv import Conv, ConvTranspose
from segdsl.ops.deform import DeformConv

Wide = NDArray[np.float64]


def node_array(node: Node, tensor: str, weights: Mapping[str, Array]) -> Array:
    """An array that the node's operator needs.

    A folded norm is worked in here: in float64, rounded once to the convolution's element type.
    With s = gamma / sqrt(var + eps) the weight is w*s and the bias (b - mean)*s + beta.

    Raises:
        KeyError: an array is not in the table.
    """
    path = node.path or ""
    if node.folded is None:
        return weights[tensor_path(path, tensor)]
    if not isinstance(node.op, Conv | ConvTranspose | DeformConv):
        raise TypeError(f"a norm is folded into {node.op}, which is no convolution")
    weight = weights[tensor_path(path, "weight")]
    with np.errstate(all="ignore"):  # a variance of 0 without eps gives inf, as in torch
        scale = _scale(node.folded, weights)
        if tensor == "weight":
            return _scaled(node.op, weight, scale)
        own = _wide(weights, path, "bias") if node.folded.bias else 0.0
        bias = (own - _wide(weights, node.folded.path, "running_mean")) * scale
        beta = _wide(weights, node.folded.path, "bias") if node.folded.norm.affine else 0.0
        return (bias + beta).astype(weight.dtype)


def _wide(weights: Mapping[str, Array], path: str, tensor: str) -> Wide:
    return np.asarray(weights[tensor_path(path, tensor)], np.float64)


def _scale(folded: Folded, weights: Mapping[str, Array]) -> Wide:
    """The factor of each channel: gamma / sqrt(var + eps)."""
    gamma = _wide(weights, folded.path, "weight") if folded.norm.affine else 1.0
    scale: Wide = gamma / np.sqrt(_wide(weights, folded.path, "running_var") + folded.norm.eps)
    return scale


BLOCK = 1 << 16
"""Numbers that are wide at a time: a whole weight would take twice its memory, beside it."""


def _scaled(op: Conv | ConvTranspose | DeformConv, weight: Array, scale: Wide) -> Array:
    """Every output channel of the weight times its scale, rounded to the weight's element type.

    Output channels are axis 0 of a convolution, and axis 1 of a transposed one, group by group.
    """
    scaled = np.empty_like(weight, order="C")
    factor = _factor(op, weight.shape, scale)
    rows = max(1, BLOCK // max(1, scaled[:1].size))
    for start in range(0, len(weight), rows):
        part = slice(start, start + rows)
        scaled[part] = weight[part].astype(np.float64) * factor[part]
    return scaled


def _factor(op: Conv | ConvTranspose | DeformConv, shape: tuple[int, ...], scale: Wide) -> Wide:
    """The scales, so shaped that they are stretched over a weight."""
    if not isinstance(op, ConvTranspose):
        return scale.reshape(-1, 1, 1, 1)
    inputs, outputs = shape[:2]
    grouped = np.repeat(scale.reshape(op.groups, outputs), inputs // op.groups, axis=0)
    return grouped[:, :, None, None]
