"""What is known when the file is written is written as numbers: sizes, positions, indices.

Lowerings write the arithmetic of sizes once, for free sizes. Where the sizes are numbers, so is
what is computed from them; equal results are one array. Weights are never computed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.values import Values, bodies
from compiler.weights.table import Array

MOST = 1 << 18
"""Numbers of a result that is written; more are left to the runtime, for the file's size."""

Attributes = Mapping[str, ir.Attr]


def fold_constants(values: Values, named: Container[ir.Value]) -> None:
    """Replace every node whose result is known by an initialiser, and leave out what adds nothing.

    Nodes whose results are in `named` stay, as do those that end a body. Shapes are read from the
    types of the values; a stretch of a shape is known where its sizes are, whatever the batch is.
    """
    gone = _folded(values, values.nodes, named)
    values.nodes = [node for node in values.nodes if node not in gone]


def _folded(values: Values, nodes: Iterable[ir.Node], named: Container[ir.Value]) -> set[ir.Node]:
    """Read other values instead of these nodes' results; answers the nodes nobody reads then."""
    gone = set()
    for node in nodes:
        for body in bodies(node):
            body.remove(_folded(values, tuple(body), {*body.outputs}))
        new = None if any(value in named for value in node.outputs) else _instead(values, node)
        if new is None:
            continue
        gone.add(node)
        (old,) = node.outputs
        for user, place in tuple(old.uses()):
            user.replace_input_with(place, new)
    return gone


def _instead(values: Values, node: ir.Node) -> ir.Value | None:
    """What can be read instead of the node's result: an initialiser, or an operand."""
    found = _result(node)
    if found is not None:
        return values.constant(found) if found.size <= MOST else None
    neutral, slots = _NEUTRAL.get(node.op_type, (0.0, ()))
    for slot in slots:
        number, other = _known(node.inputs[slot]), node.inputs[1 - slot]
        if number is None or other is None or other.shape is None or number.size != 1:
            continue
        if number.ndim <= len(other.shape) and number.item() == neutral:
            return other
    return None


_NEUTRAL = {"Mul": (1.0, (0, 1)), "Div": (1.0, (1,)), "Add": (0.0, (0, 1)), "Sub": (0.0, (1,))}
"""Operators with the number that changes nothing, and where it may stand."""


def _result(node: ir.Node) -> Array | None:
    """What a node computes, if that is known."""
    if node.op_type == "Shape":
        return _stretch(node.inputs[0], slice(None))
    if node.op_type == "Slice" and (source := _shape_of(node.inputs[0])) is not None:
        start, stop = (_known(value) for value in node.inputs[1:3])
        if start is None or stop is None or start.size != 1 or len(node.inputs) > 4:
            return None
        return _stretch(source, slice(int(start[0]), int(stop[0])))
    compute = _FORMS.get(node.op_type)
    if compute is None:
        return None
    inputs = [_known(value) for value in node.inputs]
    arrays = [array for array in inputs if array is not None]
    if len(arrays) < len(inputs) or not arrays or _numbers(arrays) > MOST:
        return None
    return compute(arrays, node.attributes)


def _shape_of(value: ir.Value | None) -> ir.Value | None:
    """The value whose shape this is; None if it is no shape."""
    producer = None if value is None else value.producer()
    return producer.inputs[0] if producer is not None and producer.op_type == "Shape" else None


def _stretch(value: ir.Value | None, part: slice) -> Array | None:
    """Some sizes of a value, if all of them are numbers."""
    if value is None or value.shape is None:
        return None
    sizes = [size for size in list(value.shape)[part] if isinstance(size, int)]
    whole = len(sizes) == len(list(value.shape)[part])
    return np.array(sizes, np.int64) if whole else None


def _known(value: ir.Value | None) -> Array | None:
    """The numbers of a constant; None for a weight, which is computed when the file is written."""
    if value is None or isinstance(value.const_value, ir.LazyTensor | None):
        return None
    array: Array = value.const_value.numpy()
    return array


def _numbers(arrays: Sequence[Array]) -> int:
    """At most so many numbers come out of an operator that stretches its operands."""
    try:
        return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    except ValueError:
        return sum(array.size for array in arrays)


def _divided(inputs: Sequence[Array], attributes: Attributes) -> Array | None:
    """Whole numbers are rounded to zero, as in ONNX."""
    left, right = inputs
    if not right.all():
        return None
    if left.dtype.kind == "f":
        quotient: Array = left / right
        return quotient
    whole: Array = np.sign(left) * np.sign(right) * (np.abs(left) // np.abs(right))
    return whole


def _remainder(inputs: Sequence[Array], attributes: Attributes) -> Array | None:
    """That of whole numbers has the sign of the divisor."""
    left, right = inputs
    return np.mod(left, right) if right.all() and "fmod" not in attributes else None


def _cast(inputs: Sequence[Array], attributes: Attributes) -> Array:
    return inputs[0].astype(ir.DataType(attributes["to"].as_int()).numpy())


def _joined(inputs: Sequence[Array], attributes: Attributes) -> Array:
    return np.concatenate(inputs, attributes["axis"].as_int())


def _squeezed(inputs: Sequence[Array], attributes: Attributes) -> Array:
    axes = tuple(int(axis) for axis in inputs[1]) if len(inputs) > 1 else None
    return np.squeeze(inputs[0], axes)


def _reshaped(inputs: Sequence[Array], attributes: Attributes) -> Array:
    """0 keeps the size of its axis."""
    x, sizes = inputs
    return x.reshape([int(n) or x.shape[axis] for axis, n in enumerate(sizes)])


def _counted(inputs: Sequence[Array], attributes: Attributes) -> Array | None:
    if any(one.dtype != np.int64 for one in inputs):
        return None
    start, stop, step = (int(one) for one in inputs)
    if step == 0 or len(range(start, stop, step)) > MOST:
        return None
    return np.array(range(start, stop, step), np.int64)


_FORMS: dict[str, Callable[[Sequence[Array], Attributes], Array | None]] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Div": _divided,
    "Mod": _remainder,
    "Neg": lambda inputs, _: -inputs[0],
    "Floor": lambda inputs, _: np.floor(inputs[0]),
    "Min": lambda inputs, _: np.minimum.reduce(list(np.broadcast_arrays(*inputs))),
    "Max": lambda inputs, _: np.maximum.reduce(list(np.broadcast_arrays(*inputs))),
    "Cast": _cast,
    "Concat": _joined,
    "Squeeze": _squeezed,
    "Reshape": _reshaped,
    "Range": _counted,
}
"""The arithmetic of sizes: what lowerings write between a Shape and its use."""
