"""Class labels instead of scores, as nodes of the file itself.

Of several channels the largest wins, the first of equals. A single channel means class 1 where it
is above 0, or above 1/2 where the program itself ends with a sigmoid. `segdsl run` does the same.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.preprocess import unfit
from compiler.to_onnx.values import TYPES, Values
from segdsl.analysis.shapes import Shapes
from segdsl.ir import Graph, Value
from segdsl.ops.activation import HardSigmoid, Identity, Sigmoid
from segdsl.ops.combine import Crop
from segdsl.ops.ports import Output
from segdsl.ops.regularise import Dropout
from segdsl.ops.resize import Resize
from segdsl.types import DType, Feature

LabelType = Literal["uint8", "int64"]
LABEL_TYPES: tuple[LabelType, ...] = ("uint8", "int64")
DTYPES: dict[LabelType, DType] = {"uint8": "u8", "int64": "i64"}
BYTES = 256
"""Classes that one byte tells apart."""

SUFFIX = "_labels"
"""What the name of an output gets: labels are not its scores."""

_IN_BETWEEN = (Resize, Crop, Dropout, Identity)


def label_names(graph: Graph, table: Shapes, wish: LabelType) -> dict[str, str]:
    """The outputs that become labels: their node, and the name that the labels get.

    Raises:
        SegError: E6005 no output holds scores, or one has more classes than the type holds.
    """
    names = {name: op.label for name in graph.outputs if isinstance(op := graph[name].op, Output)}
    taken, found = set(names.values()), {}
    for node, label in names.items():
        feature = table[Value(node)]
        if feature.rank < 2 or feature.dtype not in ("f32", "f16", "f64"):
            continue
        if wish == "uint8" and feature.channels > BYTES:
            message = f"the output `{label}` has {feature.channels:,} classes; a byte holds {BYTES}"
            raise unfit(message, "write labels of 64 bits: `--argmax int64`")
        name = label + SUFFIX
        while name in taken:
            name += "_"
        taken.add(name)
        found[node] = name
    if not found:
        raise unfit("no output holds scores by class", "leave out `--argmax`")
    return found


def labelled(
    values: Values, graph: Graph, node: str, scores: ir.Value, feature: Feature, wish: LabelType
) -> tuple[ir.Value, Feature]:
    """The labels of an output's scores: its shape without the channels."""
    stem, shape = node.replace(".", "/"), (feature.shape[0], *feature.shape[2:])
    wanted = Feature(shape, DTYPES[wish])
    if feature.channels > 1:
        whole = Feature(shape, "i64")
        options = {"axis": 1, "keepdims": 0}
        (found,) = values.add("ArgMax", [scores], [whole], stem, options)
        if wish == "int64":
            return found, wanted
    else:
        bound = values.constant(np.array(bound_of(graph, node), np.float32))
        axes = values.constant(np.array([1], np.int64))
        (flat,) = values.add("Squeeze", [scores, axes], [Feature(shape)], stem, {})
        (found,) = values.add("Greater", [flat, bound], [Feature(shape, "bool")], stem, {})
    (cast,) = values.add("Cast", [found], [wanted], stem, {"to": TYPES[wanted.dtype]})
    return cast, wanted


def bounds_of(graph: Graph) -> dict[str, float]:
    """By name of every output, above which value a single channel means class 1."""
    return {
        op.label: bound_of(graph, name)
        for name in graph.outputs
        if isinstance(op := graph[name].op, Output)
    }


def bound_of(graph: Graph, node: str) -> float:
    """Above which a single channel means class 1."""
    name = node
    while operands := graph.operands(name):
        name = operands[0].node
        op = graph[name].op
        if not isinstance(op, _IN_BETWEEN):
            return 0.5 if isinstance(op, Sigmoid | HardSigmoid) else 0.0
    return 0.0
