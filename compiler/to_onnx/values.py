"""What is written: nodes, initialisers and their names, collected until the model is whole."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from compiler.weights.table import Array
from segdsl.analysis.sizes import SizeSet, in_words
from segdsl.symbolic import Size
from segdsl.types import DType, Feature

TYPES: dict[DType, ir.DataType] = {
    "f16": ir.DataType.FLOAT16,
    "bf16": ir.DataType.BFLOAT16,
    "f32": ir.DataType.FLOAT,
    "f64": ir.DataType.DOUBLE,
    "u8": ir.DataType.UINT8,
    "i64": ir.DataType.INT64,
    "bool": ir.DataType.BOOL,
}
"""ONNX's element types."""


_PLAIN = frozenset({
    ir.AttributeType.INT, ir.AttributeType.INTS, ir.AttributeType.FLOAT,
    ir.AttributeType.FLOATS, ir.AttributeType.STRING, ir.AttributeType.STRINGS,
})  # fmt: skip
"""Types of attributes whose values can be compared."""


class Values:
    """Values and nodes of one model, in the order they are made; names are given at the end.

    Constants with equal bits are one initialiser, and so are weights with one path; what no node
    reads is not written.

    Attributes:
        accepted: the accepted sizes, which shorten dimension formulas.
        nodes: the nodes so far, operands first.
        weights: the initialisers that are weights, not constants.
        single: nodes that compute in f32 in files of half precision too.
    """

    def __init__(self, accepted: Mapping[str, SizeSet]) -> None:
        self.accepted = accepted
        self.nodes: list[ir.Node] = []
        self.weights: set[ir.Value] = set()
        self.single: set[ir.Node] = set()
        self._stems: dict[ir.Value, str] = {}
        self._wanted: dict[ir.Value, str] = {}
        self._node_names: dict[ir.Node, str] = {}
        self._initialisers: dict[object, ir.Value] = {}
        self._dims: dict[Size, int | str] = {}
        self._joined: dict[tuple[ir.Value, ...], ir.Value] = {}
        self._sizes: dict[tuple[ir.Value, int, int], ir.Value] = {}

    def value(self, shape: Sequence[Size], dtype: DType, stem: str) -> ir.Value:
        """A new value without a producer; `stem` is the name of the node it belongs to."""
        made = ir.Value(
            shape=ir.Shape(list(map(self.dim, shape))), type=ir.TensorType(TYPES[dtype])
        )
        self._stems[made] = stem
        return made

    def dim(self, size: Size) -> int | str:
        """A size as ONNX states it: a number, or the formula's text."""
        if isinstance(size, int):
            return size
        if size not in self._dims:
            self._dims[size] = in_words(size, self.accepted)
        return self._dims[size]

    def add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        results: Sequence[Feature],
        stem: str,
        attributes: Mapping[str, object],
    ) -> list[ir.Value]:
        """A new node; answers its results. A trailing `_` of an attribute's name is left out."""
        outputs = [self.value(feature.shape, feature.dtype, stem) for feature in results]
        made = [_attribute(name.rstrip("_"), value) for name, value in attributes.items()]
        self.nodes.append(ir.Node("", op_type, inputs, made, outputs=outputs))
        return outputs

    def keep_single(self, start: int) -> None:
        """Leave the nodes from place `start` on in f32, whatever the file's precision."""
        self.single.update(self.nodes[start:])

    def loop(
        self,
        turns: ir.Value,
        state: ir.Value,
        feature: Feature,
        stem: str,
        body: Callable[[ir.Value], ir.Value],
    ) -> ir.Value:
        """A Loop that turns `state` (of type `feature`) into another one, `turns` times.

        The body may read what stands before the loop; what it makes ends with its turn.
        """
        outer, sizes, joined = self.nodes, dict(self._sizes), dict(self._joined)
        self.nodes = []
        turn, going = self.value((), "i64", stem), self.value((), "bool", stem)
        before = self.value(feature.shape, feature.dtype, stem)
        after = body(before)
        (on,) = self.add("Identity", [going], [Feature((), "bool")], stem, {})
        graph = ir.Graph([turn, going, before], [on, after], nodes=self.nodes, name=f"{stem}/turn")
        self.nodes, self._sizes, self._joined = outer, sizes, joined
        result = self.value(feature.shape, feature.dtype, stem)
        self.nodes.append(
            ir.Node(
                "", "Loop", [turns, None, state], [ir.AttrGraph("body", graph)], outputs=[result]
            )
        )
        return result

    def constant(self, array: Array) -> ir.Value:
        """An initialiser with these numbers."""
        key = (array.dtype.str, array.shape, array.tobytes())
        return self._initialiser(key, _tensor(array), "constant")

    def weight(
        self, path: str, shape: tuple[int, ...], dtype: DType, make: Callable[[], Array]
    ) -> ir.Value:
        """The initialiser of a weight; another form of it (`[C]` as `[C, 1, 1]`) is another one.

        `make` computes it, each time that it is read.
        """
        lazy = ir.LazyTensor(lambda: _tensor(make()), TYPES[dtype], ir.Shape(shape))
        made = self._initialiser((path, shape), lazy, path)
        self.weights.add(made)
        return made

    def reshaped(self, value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
        """The initialiser that holds another one's array in another shape."""
        tensor = value.const_value
        assert tensor is not None
        lazy = ir.LazyTensor(
            lambda: _tensor(tensor.numpy().reshape(shape)), tensor.dtype, ir.Shape(shape)
        )
        made = self._initialiser((value, shape), lazy, self._wanted[value])
        self.weights.add(made)
        return made

    def narrowed(
        self, value: ir.Value, to: ir.DataType, narrow: Callable[[str, Array], Array]
    ) -> ir.Value:
        """The initialiser that holds another one's array in a narrower type.

        `narrow` gets the array with its name, each time that it is read.
        """
        tensor, name = value.const_value, self._wanted[value]
        assert tensor is not None
        lazy = ir.LazyTensor(
            lambda: _tensor(narrow(name, tensor.numpy())), to, ir.Shape(tensor.shape.numpy())
        )
        return self._initialiser((value, to), lazy, name)

    def cast(self, value: ir.Value, to: ir.DataType) -> ir.Value:
        """The value in another type, under a helper's name."""
        made = ir.Value(shape=value.shape, type=ir.TensorType(to))
        self._stems[made] = self._stems[value]
        self.nodes.append(
            ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(to))], outputs=[made])
        )
        return made

    def _initialiser(self, key: object, tensor: ir.TensorProtocol, stem: str) -> ir.Value:
        if key not in self._initialisers:
            shape, kind = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
            made = ir.Value(shape=shape, type=kind, const_value=tensor)
            self._initialisers[key] = made
            self._wanted[made] = stem
        return self._initialisers[key]

    def sizes(self, of: ir.Value, start: int, stop: int, stem: str) -> ir.Value:
        """The sizes of axes `start` to `stop` (exclusive) of a value, as an i64 vector.

        There is one Shape node per value, and one Slice per stretch of it.
        """
        rank = len(of.shape or ())
        if (start, stop) == (0, rank):
            key = (of, 0, rank)
            if key not in self._sizes:
                (self._sizes[key],) = self.add("Shape", [of], [Feature((rank,), "i64")], stem, {})
            return self._sizes[key]
        if (of, start, stop) not in self._sizes:
            whole = self.sizes(of, 0, rank, stem)
            bounds = [self.constant(np.array([n])) for n in (start, stop, 0)]
            feature = Feature((stop - start,), "i64")
            (self._sizes[of, start, stop],) = self.add(
                "Slice", [whole, *bounds], [feature], stem, {}
            )
        return self._sizes[of, start, stop]

    def join(self, parts: Sequence[ir.Value], stem: str) -> ir.Value:
        """Vectors of whole numbers, one behind the other; equal parts are joined once."""
        key = tuple(parts)
        if key not in self._joined:
            count = sum(_length(part) for part in parts)
            feature = Feature((count,), "i64")
            (self._joined[key],) = self.add("Concat", parts, [feature], stem, {"axis": 0})
        return self._joined[key]

    def claim(self, value: ir.Value, name: str, node_name: str) -> None:
        """Name the result of an operator and the node that makes it; the first claim holds."""
        producer = value.producer()
        if producer is not None:
            self._wanted.setdefault(value, name)
            self._node_names.setdefault(producer, node_name)

    def prune(self, outputs: Iterable[ir.Value]) -> None:
        """Leave out nodes that no output needs, as a map of which only the size was asked."""
        needed = set(outputs)
        kept = []
        for node in reversed(self.nodes):
            if any(value in needed for value in node.outputs):
                kept.append(node)
                needed.update(_reads(node))
        self.nodes = kept[::-1]

    def merge_equal(self, named: Container[ir.Value]) -> None:
        """One node where several compute the same from the same values.

        Graph passes merge equal operators; this merges the small nodes that lowerings write for
        sizes and positions. Nodes whose results are in `named` stay, as do those with bodies.
        """
        first: dict[object, ir.Node] = {}
        kept = []
        for node in self.nodes:
            key = _identity(node)
            same = first.setdefault(key, node) if key is not None else node
            if same is node or any(value in named for value in node.outputs):
                kept.append(node)
                continue
            for old, new in zip(node.outputs, same.outputs, strict=True):
                for user, place in tuple(old.uses()):
                    user.replace_input_with(place, new)
        self.nodes = kept

    def keep_pads_apart(self) -> None:
        """Give a Pad before a pool an explicit list of axes, which changes nothing by itself.

        ONNX Runtime (1.31) works a Pad without axes into the pool that reads it: zeros become
        minus infinity before a max pool, and pads from the kernel's size on do not load.
        """
        padded = {node.outputs[0]: node for node in self.nodes if node.op_type == "Pad"}
        pools = [node for node in self.nodes if node.op_type in ("MaxPool", "AveragePool")]
        for value in (value for pool in pools for value in pool.inputs):
            pad = padded.get(value) if value is not None else None
            if pad is not None and len(pad.inputs) < 4:
                pad.resize_inputs(4)
                pad.replace_input_with(3, self.constant(np.arange(4, dtype=np.int64)))

    def used(self) -> list[ir.Value]:
        """The initialisers that some node reads, in order."""
        read = {value for node in self.nodes for value in _reads(node)}
        return [value for value in self._initialisers.values() if value in read]

    def finish(self, borders: Mapping[ir.Value, str]) -> None:
        """Give every value and node a unique name; values of the borders have theirs already.

        A helper of an operator is called after it, as `up/Shape`.
        """
        taken = set(borders.values())
        for value, name in borders.items():
            value.name = name
        for initialiser in self.used():
            initialiser.name = _free(self._wanted[initialiser], taken)
        names: set[str] = set(self._node_names.values())
        for node in _flat(self.nodes):
            for graph in bodies(node):
                for value in graph.inputs:
                    value.name = _free(f"{self._stems[value]}/state", taken)
            helper = f"{self._stems[node.outputs[0]]}/{node.op_type}"
            for value in node.outputs:
                if value not in borders:
                    value.name = _free(self._wanted.get(value, helper), taken)
            claimed = self._node_names.get(node)
            node.name = _free(helper, names) if claimed is None else claimed


def bodies(node: ir.Node) -> list[ir.Graph]:
    """The graphs inside a node."""
    kind = ir.AttributeType.GRAPH
    return [found.as_graph() for found in node.attributes.values() if found.type == kind]


def _flat(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """Nodes with those inside them, these last."""
    for node in nodes:
        yield node
        for graph in bodies(node):
            yield from _flat(graph)


def _reads(node: ir.Node) -> set[ir.Value]:
    """What a node reads, the nodes inside it included."""
    return {value for inner in _flat([node]) for value in inner.inputs if value is not None}


def _identity(node: ir.Node) -> object:
    """What a node computes and from what; None where that cannot be compared."""
    if any(attr.type not in _PLAIN for attr in node.attributes.values()):
        return None
    settings = tuple(sorted((name, repr(attr.value)) for name, attr in node.attributes.items()))
    return node.domain, node.op_type, tuple(node.inputs), settings, len(node.outputs)


def _tensor(array: Array) -> ir.TensorProtocol:
    return ir.tensor(np.ascontiguousarray(array).reshape(array.shape))


def _length(vector: ir.Value) -> int:
    shape = vector.shape
    assert shape is not None
    return int(str(shape[0]))


def _free(name: str, taken: set[str]) -> str:
    count, free = 2, name
    while free in taken:
        free, count = f"{name}_{count}", count + 1
    taken.add(free)
    return free


def _attribute(name: str, value: object) -> ir.Attr:
    """An attribute; the type follows from the Python type, and lists hold one type."""
    if isinstance(value, bool | int):
        return ir.AttrInt64(name, int(value))
    if isinstance(value, float):
        return ir.AttrFloat32(name, value)
    if isinstance(value, str):
        return ir.AttrString(name, value)
    if isinstance(value, ir.DataType):
        return ir.AttrInt64(name, int(value))
    if isinstance(value, list | tuple):
        return ir.AttrInt64s(name, [int(n) for n in value])
    raise TypeError(f"{type(value).__name__} is no attribute")
