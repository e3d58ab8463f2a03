"""The arrays of a node: those of the table, or what a pass says is to be computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from compiler.weights.table import Array
from segdsl.analysis.params import tensor_path
from segdsl.ir import Folded, Node
from segdsl.ops.conv import Conv, ConvTranspose
from segdsl.types import Feature

Wide = NDArray[np.float64]


def node_arrays(
    node: Node, inputs: Sequence[Feature], weights: Mapping[str, Array]
) -> dict[str, Array]:
    """The arrays that the node's operator needs, by tensor name, in the operator's order.

    A folded norm is worked in here: in float64, rounded once to the convolution's element type.
    With s = gamma / sqrt(var + eps) the weight is w*s and the bias (b - mean)*s + beta.

    Raises:
        KeyError: an array is not in the table.
    """
    if node.path is None:
        return {}
    if node.folded is not None:
        return _folded(node.op, node.path, node.folded, weights)
    names = node.op.params(*inputs)
    return {name: weights[tensor_path(node.path, name)] for name in names}


def _folded(
    op: object, path: str, folded: Folded, weights: Mapping[str, Array]
) -> dict[str, Array]:
    if not isinstance(op, Conv | ConvTranspose):
        raise TypeError(f"a norm is folded into {op}, which is no convolution")
    weight = weights[tensor_path(path, "weight")]

    def norm(tensor: str) -> Wide:
        return np.asarray(weights[tensor_path(folded.path, tensor)], np.float64)

    with np.errstate(all="ignore"):  # a variance of 0 without eps gives inf, as in torch
        gamma = norm("weight") if folded.norm.affine else 1.0
        scale = gamma / np.sqrt(norm("running_var") + folded.norm.eps)
        bias = -norm("running_mean")
        if folded.bias:
            bias = bias + np.asarray(weights[tensor_path(path, "bias")], np.float64)
        bias = bias * scale
        bias = bias + norm("bias") if folded.norm.affine else bias
        scaled = _scaled(op, weight, scale)
        return {"weight": scaled.astype(weight.dtype), "bias": bias.astype(weight.dtype)}


def _scaled(op: Conv | ConvTranspose, weight: Array, scale: Wide) -> Wide:
    """Every output channel of the weight times its scale.

    Output channels are axis 0 of a convolution, and axis 1 of a transposed one, group by group.
    """
    wide: Wide = np.asarray(weight, np.float64)
    if isinstance(op, Conv):
        return wide * scale.reshape(-1, 1, 1, 1)
    inputs, outputs, *window = wide.shape
    grouped = wide.reshape(op.groups, inputs // op.groups, outputs, *window)
    return (grouped * scale.reshape(op.groups, 1, outputs, 1, 1)).reshape(wide.shape)
