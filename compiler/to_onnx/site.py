"""Where one operator writes its nodes: what the lowering functions are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.values import TYPES, Values
from compiler.weights.table import Array
from segdsl.analysis.params import tensor_path
from segdsl.analysis.sizes import Condition, Undecidable, solve
from segdsl.claims import first_outside
from segdsl.ir import Node
from segdsl.symbolic import Size, symbols
from segdsl.types import DType, Feature


@dataclass(frozen=True)
class Site:
    """One operator of the network, on its way into the model.

    Attributes:
        node: the operator's node.
        types: of its operands.
        results: their types.
        values: the model so far.
        array_of: gives the operator's arrays by tensor name.
        need: states the smallest opset that has a form of this operator, and why.
        opset: the opset that was asked for; None if there was no such wish.
        unroll: whether iterations are written out instead of a Loop.
        dense: whether kernels over all pairs of pixels are written at any size.
    """

    node: Node
    types: tuple[Feature, ...]
    results: tuple[Feature, ...]
    values: Values
    array_of: Callable[[str], Array]
    need: Callable[[Node, int, str], None]
    opset: int | None = None
    unroll: bool = False
    dense: bool = False

    @property
    def stem(self) -> str:
        """The name of the operator's node in the file."""
        return self.node.name.replace(".", "/")

    @property
    def x(self) -> Feature:
        """The type of the first operand."""
        return self.types[0]

    @property
    def y(self) -> Feature:
        """The type of the first result."""
        return self.results[0]

    def pinned(self, opset: int) -> bool:
        """Whether the operators of `opset` were asked for: only then are they preferred."""
        return self.opset is not None and self.opset >= opset

    def add(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        to: Feature | None = None,
        given: Mapping[str, object] | None = None,
        **attributes: object,
    ) -> ir.Value:
        """A node with one result, of type `to` (that of the operator's first result).

        Its attributes are those of `given` and the others.
        """
        feature = self.y if to is None else to
        every = {**(given or {}), **attributes}
        (result,) = self.values.add(op_type, inputs, [feature], self.stem, every)
        return result

    def add_all(
        self, op_type: str, *inputs: ir.Value, given: Mapping[str, object]
    ) -> list[ir.Value]:
        """A node that makes all results of the operator."""
        return self.values.add(op_type, inputs, self.results, self.stem, given)

    def weight(self, tensor: str, shape: tuple[int, ...] | None = None) -> ir.Value:
        """An array of the operator, in another shape if one is given.

        It is computed when the file is written, so folded arrays are never all in memory.
        """
        param = self.node.op.params(*self.types)[tensor]
        path = tensor_path(self.node.path or "", tensor)
        form = param.shape if shape is None else shape
        return self.values.weight(
            path, form, param.dtype, lambda: self.array_of(tensor).reshape(form)
        )

    def ints(self, *numbers: int) -> ir.Value:
        """A vector of whole numbers."""
        return self.values.constant(np.array(numbers, np.int64))

    def number(self, value: float) -> ir.Value:
        """A single f32."""
        return self.values.constant(np.array(value, np.float32))

    def array(self, array: Array) -> ir.Value:
        """An array that no file holds."""
        return self.values.constant(array)

    def sizes(self, of: ir.Value, start: int, stop: int) -> ir.Value:
        """The sizes of some axes of a value when the network runs, as a vector."""
        return self.values.sizes(of, start, stop, self.stem)

    def whole(self, op_type: str, *inputs: ir.Value, shape: tuple[Size, ...]) -> ir.Value:
        """A node that computes whole numbers."""
        return self.add(op_type, *inputs, to=Feature(shape, "i64"))

    def join(self, *parts: ir.Value) -> ir.Value:
        """Vectors of whole numbers, one behind the other."""
        return self.values.join(parts, self.stem)

    def size_vector(self, shape: Sequence[Size], of: ir.Value, axes: Sequence[int]) -> ir.Value:
        """A shape as a vector: numbers where they are known, else axis `axes[i]` of `of`."""
        parts = self.size_parts(shape, of, axes)
        return parts[0] if len(parts) == 1 else self.join(*parts)

    def size_parts(
        self, shape: Sequence[Size], of: ir.Value, axes: Sequence[int]
    ) -> list[ir.Value]:
        """The same in pieces: numbers in a row are one, and so are axes that follow each other."""
        parts: list[ir.Value] = []
        ends = list(zip(shape, axes, strict=True))
        while ends:
            count = _alike(ends)
            (first, axis), run = ends[0], ends[:count]
            if isinstance(first, int):
                parts.append(self.ints(*(int(str(size)) for size, _ in run)))
            else:
                parts.append(self.sizes(of, axis, axis + count))
            ends = ends[count:]
        return parts

    def reshape(self, x: ir.Value, to: Feature, *sizes: int) -> ir.Value:
        """Other sizes: 0 keeps the size of that axis, one -1 is what remains."""
        return self.add("Reshape", x, self.ints(*sizes), to=to)

    def cast(self, x: ir.Value, shape: tuple[Size, ...], dtype: DType = "f32") -> ir.Value:
        """The values as another element type."""
        return self.add("Cast", x, to=Feature(shape, dtype), to_=TYPES[dtype])

    def always_equal(self, left: Size, right: Size) -> bool:
        """Whether two sizes are equal for every accepted input size, as far as can be proved."""
        if left == right:
            return True
        names = symbols(left) | symbols(right)
        if len(names) != 1:
            return False
        (name,) = names
        known = self.values.accepted.get(name)
        try:
            return known is not None and (
                first_outside(known, solve(name, [Condition(left, "==", right)])) is None
            )
        except Undecidable:
            return False


def _alike(ends: Sequence[tuple[Size, int]]) -> int:
    """How many of the first sizes are numbers, or are formulas of axes that follow each other."""
    start, number, count = ends[0][1], isinstance(ends[0][0], int), 0
    for size, axis in ends:
        if isinstance(size, int) != number or not (number or axis == start + count):
            break
        count += 1
    return count


def static(*sizes: Size) -> list[int] | None:
    """The sizes as numbers; None if one is a formula."""
    known = [size for size in sizes if isinstance(size, int)]
    return known if len(known) == len(sizes) else None
