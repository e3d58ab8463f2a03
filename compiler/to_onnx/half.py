"""Half precision: maps and weights in f16, inputs and outputs as they were.

Numbers that say *where* stay f32: indices and sizes that are worked out when the network runs, the
factors of a resize, and sampling positions with the arithmetic before them. In 11 bits a position
in a picture of 513 pixels would be a quarter of a pixel off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.values import Values
from compiler.weights.table import Array
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.source import Span

HALF, SINGLE = ir.DataType.FLOAT16, ir.DataType.FLOAT
PLACES = {"GridSample": (1,), "DeformConv": (2,)}
"""Operators with inputs that hold positions, and which inputs those are."""

ALWAYS_SINGLE = {"Resize": (1, 2), "GridSample": (1,)}
"""Inputs that stay f32 though the operator works on f16: factors, positions."""

LIGHT = frozenset(
    {"Add", "Sub", "Mul", "Div", "Neg", "Floor", "Clip", "Min", "Max", "Cast", "Reshape", "Expand"}
    | {"Transpose", "Concat", "Slice", "Split", "Squeeze", "Unsqueeze", "Gather", "Tile", "Tanh"}
)
"""Arithmetic and moves: what positions are made of."""

LARGEST = 65_504.0


def halved(
    values: Values, inputs: Sequence[ir.Value], outputs: Mapping[ir.Value, str]
) -> dict[ir.Value, str]:
    """Turn the nodes of `values` to f16; answers what the outputs are afterwards, in order.

    Raises:
        SegError: E6006 a weight or number is beyond what f16 holds.
    """
    return _Halving(values, inputs).run(outputs)


def positions(nodes: Sequence[ir.Node]) -> set[ir.Node]:
    """The nodes that make sampling positions, back to what is more than arithmetic and moves."""
    wanted = {
        value
        for node in nodes
        for slot in PLACES.get(node.op_type, ())
        if slot < len(node.inputs) and (value := node.inputs[slot]) is not None
    }
    found: set[ir.Node] = set()
    for node in reversed(nodes):
        if node.op_type in LIGHT and any(value in wanted for value in node.outputs):
            found.add(node)
            wanted.update(value for value in node.inputs if value is not None)
    return found


class _Halving:
    """One pass over the nodes, operands first; casts are put where the precision changes."""

    def __init__(self, values: Values, inputs: Sequence[ir.Value]) -> None:
        self.values = values
        self.inputs = inputs
        self.half: set[ir.Value] = set()
        self.casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def run(self, outputs: Mapping[ir.Value, str]) -> dict[ir.Value, str]:
        nodes = self.values.nodes
        carried, places = self.carried(nodes), positions(nodes) | self.values.single
        self.values.nodes = []
        for node in nodes:
            made = [value for value in node.outputs if value in carried and value.dtype == SINGLE]
            reads = any(value in self.half for value in node.inputs)
            passes = node.op_type == "Identity" and not reads
            if node not in places and not passes and (made or (reads and not _singles(node))):
                self.turn(node, made)
            else:
                self.leave(node)
        return {self.cast(value, SINGLE): name for value, name in outputs.items()}

    def carried(self, nodes: Sequence[ir.Node]) -> set[ir.Value]:
        """What depends on the numbers of inputs or weights, and not on their sizes alone."""
        found = {*self.inputs, *self.values.weights}
        for node in nodes:
            if node.op_type != "Shape" and any(value in found for value in node.inputs):
                found.update(node.outputs)
        return found

    def turn(self, node: ir.Node, made: Sequence[ir.Value]) -> None:
        """The node on f16."""
        single = ALWAYS_SINGLE.get(node.op_type, ())
        for slot, value in enumerate(node.inputs):
            if value is not None and value.dtype in (SINGLE, HALF):
                node.replace_input_with(slot, self.cast(value, SINGLE if slot in single else HALF))
        if node.op_type == "Cast" and made:
            node.attributes["to"] = ir.AttrInt64("to", int(HALF))
        for value in made:
            value.type = ir.TensorType(HALF)
            self.half.add(value)
        self.values.nodes.append(node)

    def leave(self, node: ir.Node) -> None:
        """The node on f32, whatever it reads."""
        for slot, value in enumerate(node.inputs):
            if value is not None and value in self.half:
                node.replace_input_with(slot, self.cast(value, SINGLE))
        self.values.nodes.append(node)

    def cast(self, value: ir.Value, to: ir.DataType) -> ir.Value:
        """The value in another float type: itself, an array that is written so, or a Cast."""
        if value.dtype == to or value.dtype not in (SINGLE, HALF):
            return value
        if value.const_value is not None:
            return self.values.narrowed(value, HALF, narrow)
        if (value, to) not in self.casts:
            self.casts[value, to] = self.values.cast(value, to)
        return self.casts[value, to]


def _singles(node: ir.Node) -> bool:
    return any(value.dtype == SINGLE for value in node.outputs)


def narrow(name: str, array: Array) -> Array:
    """The array in f16.

    Raises:
        SegError: E6006 a number of it is beyond what f16 holds.
    """
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.array_equal(np.isinf(half), np.isinf(array)):
        worst = float(np.abs(array[np.isfinite(array)]).max())
        message = f"`{name}` holds {worst:g}, and f16 ends at {LARGEST:,.0f}"
        helps = text_helps("leave out `--fp16`")
        raise SegError(Diagnostic("E6006", message, None, helps=helps))
    return half


def no_bf16(span: Span | None = None) -> SegError:
    """Why the target writes no bf16 (E6006)."""
    message = "target `onnx` does not write bf16: ONNX Runtime has no bf16 operators on CPUs"
    helps = text_helps("`--fp16` halves the file, too", "bf16 is for `--target torch`")
    return SegError(Diagnostic("E6006", message, span, helps=helps))
