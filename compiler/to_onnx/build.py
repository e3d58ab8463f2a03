"""From a graph to an ONNX model, straight: no tracing, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike

import onnx_ir as ir

from compiler.pipeline import optimize
from compiler.to_onnx import (  # noqa: F401  (each registers its lowerings)
    activation,
    combine,
    conv,
    crf,
    deform,
    elementwise,
    norm,
    pool,
    ports,
    regularise,
    resize,
    tensor,
)
from compiler.to_onnx.fold import fold_constants
from compiler.to_onnx.half import halved, no_bf16
from compiler.to_onnx.labels import LABEL_TYPES, LabelType, label_names, labelled
from compiler.to_onnx.lower import EmissionError, emit
from compiler.to_onnx.metadata import of_borders, properties
from compiler.to_onnx.opsets import LOWEST, check_opset, ir_version
from compiler.to_onnx.preprocess import Preprocessing, WorkedIn, check, prepared, worked_in
from compiler.to_onnx.site import Site
from compiler.to_onnx.values import Values
from compiler.weights.fitting import fitting_weights
from compiler.weights.folding import node_array
from compiler.weights.mapped import Passing
from compiler.weights.table import Array, Weights
from segdsl.analysis.params import params
from segdsl.analysis.shapes import Shapes, shapes
from segdsl.analysis.sizes import SizeSet, Undecidable, sizes
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph, Node, Value
from segdsl.ops.base import Op
from segdsl.ops.conv import Conv
from segdsl.ops.ports import Input, Output
from segdsl.report import input_sizes
from segdsl.symbolic import substitute
from segdsl.version import __version__

RAISED = "segdsl.opset_raised_by"
"""The metadata property that says which operator a later opset than 18 was taken for."""


@dataclass(frozen=True)
class Options:
    """How a network is written; see `compiler.to_onnx`.

    `weights_file` is the file that given arrays came from: its hash goes into the metadata.
    `labels` is the type of the class labels that are written instead of scores; `unroll` writes
    iterations out instead of a Loop, `dense` kernels over all pairs of pixels at any size.
    """

    opset: int | None = None
    size: tuple[int, int] | None = None
    batch: int | None = None
    optimized: bool = True
    class_names: tuple[str, ...] = ()
    weights_file: str | PathLike[str] | None = None
    preprocessing: Preprocessing | None = None
    labels: LabelType | None = None
    half: bool = False
    unroll: bool = False
    dense: bool = False


def build(
    graph: Graph, weights: Weights | str | PathLike[str] | None, options: Options
) -> ir.Model:
    """The model.

    Raises:
        SegError: E3014, E5003, E6001, E6003, E6005, E6006, or what a weights file gives.
    """
    return write(graph, weights, options)[0]


def write(
    graph: Graph, weights: Weights | str | PathLike[str] | None, options: Options
) -> tuple[ir.Model, Mapping[Value, ir.Value]]:
    """The model, and what each value of the graph is in it, as the graph was after its passes.

    Raises:
        SegError: as `build`.
    """
    if options.labels is not None and options.labels not in LABEL_TYPES:
        raise ValueError(f"labels are {' or '.join(LABEL_TYPES)}, not {options.labels!r}")
    check_opset(graph, options.opset)
    _refuse_bf16(graph)
    accepted = _accepted(graph)
    arrays = fitting_weights(graph, params(graph), weights)
    file = weights if isinstance(weights, str | PathLike) else options.weights_file
    about = properties(graph, accepted, file, options.class_names)
    about |= of_borders(graph, options.preprocessing, options.labels, half=options.half)
    chosen = optimize(graph) if options.optimized else graph
    chosen = _at_size(_evaluated(chosen), graph, accepted, options)
    wish, first = options.preprocessing, None
    if wish is not None and not wish.idle:
        first = worked_in(chosen, check(chosen, wish), wish)
        chosen = chosen if first is None else _with_bias(chosen, first.node)
    writer = _Writer(chosen, arrays, accepted, options, first)
    return writer.model(about), writer.written


def _refuse_bf16(graph: Graph) -> None:
    for name in graph.inputs:
        op = graph[name].op
        if isinstance(op, Input) and op.dtype == "bf16":
            raise no_bf16(graph[name].span)


def _with_bias(graph: Graph, name: str) -> Graph:
    def change(node: Node) -> Op:
        if node.name != name or not isinstance(node.op, Conv):
            return node.op
        return replace(node.op, bias=True)

    return graph.map_ops(change)


def _accepted(graph: Graph) -> Mapping[str, SizeSet]:
    """The accepted sizes; none where they cannot be told, as in graphs built by hand."""
    try:
        return sizes(graph)
    except Undecidable:
        return {}


def _evaluated(graph: Graph) -> Graph:
    """Without outputs that exist in training only, whatever passes ran."""
    training = [name for name in graph.outputs if _trains(graph[name].op)]
    if not training:
        return graph
    kept = graph.copy()
    for name in training:
        kept.remove(name)
    return kept


def _trains(op: Op) -> bool:
    return isinstance(op, Output) and op.train


def _at_size(
    chosen: Graph, graph: Graph, accepted: Mapping[str, SizeSet], options: Options
) -> Graph:
    """The graph with the sizes of its inputs fixed, as far as they are given."""
    if options.size is None:
        if options.batch is not None:
            raise ValueError("`batch` needs `size`")
        return chosen
    batch = options.batch if options.batch is not None else _stated_batch(graph)
    fixed = input_sizes(graph, accepted, options.size, batch)
    if options.batch is None:
        fixed = {name: n for name, n in fixed.items() if name not in _batches(graph)}

    def change(node: Node) -> Op:
        op = node.op
        if not isinstance(op, Input):
            return op
        return Input(tuple(substitute(size, fixed) for size in op.shape), op.dtype)

    return chosen.map_ops(change)


def _batch_axes(graph: Graph) -> Iterable[object]:
    for name in graph.inputs:
        op = graph[name].op
        if isinstance(op, Input) and len(op.shape) == 4:
            yield op.shape[0]


def _stated_batch(graph: Graph) -> int:
    return next((n for n in _batch_axes(graph) if isinstance(n, int)), 1)


def _batches(graph: Graph) -> set[str]:
    return {str(n) for n in _batch_axes(graph)}


class _Writer:
    """Writes the operators of one graph, operands first."""

    def __init__(
        self,
        graph: Graph,
        arrays: Weights,
        accepted: Mapping[str, SizeSet],
        options: Options,
        first: WorkedIn | None,
    ) -> None:
        self.graph = graph
        self.arrays = Passing(arrays)
        self.options = options
        self.first = first
        self.table: Shapes = shapes(graph)
        self.values = Values(accepted)
        self.pinned = options.opset
        self.opset = LOWEST if self.pinned is None else self.pinned
        self.why = ""
        self.found: list[Diagnostic] = []
        self.written: dict[Value, ir.Value] = {}

    def model(self, about: Mapping[str, str]) -> ir.Model:
        inputs = [self.input(name) for name in self.graph.inputs]
        for node in self.graph.nodes():
            if not isinstance(node.op, Input):
                self.write(node)
        if self.found:
            raise SegError(*self.found)
        outputs = self.outputs(inputs)
        self.values.prune(outputs)
        named = {*self.written.values(), *outputs, *inputs}
        fold_constants(self.values, named)
        self.values.merge_equal(named)
        self.values.prune(outputs)
        self.values.keep_pads_apart()
        deform.spell_modes(self.values.nodes, self.opset)
        if self.options.half:
            outputs = halved(self.values, inputs, outputs)
        borders = {value: name for name, value in zip(self.graph.inputs, inputs, strict=True)}
        self.values.finish(borders | outputs)
        graph = ir.Graph(
            inputs,
            list(outputs),
            nodes=self.values.nodes,
            initializers=self.values.used(),
            opset_imports={"": self.opset},
            name=self.graph.name,
            doc_string="\n".join(self.graph.doc) or None,
        )
        return ir.Model(
            graph,
            ir_version=ir_version(self.opset),
            producer_name="segdsl",
            producer_version=__version__,
            metadata_props={**about, **({RAISED: self.why} if self.why else {})},
        )

    def input(self, name: str) -> ir.Value:
        feature, wish = self.table[Value(name)], self.options.preprocessing or Preprocessing()
        outer, self.written[Value(name)] = prepared(
            self.values, feature, name, wish, normalise=self.first is None
        )
        return outer

    def array(self, node: Node, name: str) -> Array:
        """An array of an operator, with what was worked into it."""
        if self.first is not None and node.name == self.first.node:
            return self.first.array(node, name, self.arrays)
        return node_array(node, name, self.arrays)

    def write(self, node: Node) -> None:
        """The nodes of one operator, and the names of its results."""
        operands = self.graph.operands(node.name)
        types = tuple(self.table[value] for value in operands)
        values = [Value(node.name, port) for port in range(len(node.op.results))]
        results = tuple(self.table[value] for value in values)
        site = Site(
            node,
            types,
            results,
            self.values,
            lambda name: self.array(node, name),
            self.need,
            self.pinned,
            self.options.unroll,
            self.options.dense,
        )
        found = emit(node.op, site, *(self.written[value] for value in operands))
        made = found if isinstance(found, tuple) else (found,)
        if len(made) != len(values):
            raise EmissionError(f"{node.op.name} gave {len(made)} results, not {len(values)}")
        for port, (value, result) in enumerate(zip(values, made, strict=True)):
            self.written[value] = result
            name = site.stem + (f"/{node.op.results[port]}" if len(values) > 1 else "")
            if not isinstance(node.op, Output) and result not in map(self.written.get, operands):
                self.values.claim(result, name, site.stem if port == 0 else name)

    def need(self, node: Node, opset: int, reason: str) -> None:
        """Raise the opset; where it is pinned lower, this operator cannot be written."""
        if self.pinned is None:
            if opset > self.opset:
                self.opset, self.why = opset, f"`{node.name}`: {reason}"
        elif self.pinned < opset:
            message = f"target `onnx` at opset {self.pinned} cannot express {reason}"
            helps = [f"opset {opset} can: `--opset {opset}`"]
            if not all(map(self.is_fixed, self.graph.inputs)):
                helps.append("fix the size: `--size`")
            found = Diagnostic(
                "E6001", message, node.span, caption=node.op.name, helps=text_helps(*helps)
            )
            self.found.append(found)

    def is_fixed(self, name: str) -> bool:
        """Whether height and width of an input are numbers."""
        return all(isinstance(size, int) for size in self.table[Value(name)].shape[2:])

    def outputs(self, inputs: Sequence[ir.Value]) -> dict[ir.Value, str]:
        """The values of the outputs, in declared order.

        A value can carry one name, so an input, an array or a value that is an output already
        passes through an Identity.
        """
        outputs: dict[ir.Value, str] = {}
        wish = self.options.labels
        labels = {} if wish is None else label_names(self.graph, self.table, wish)
        for name in self.graph.outputs:
            op, feature = self.graph[name].op, self.table[Value(name)]
            assert isinstance(op, Output)
            value, label = self.written[Value(name)], labels.get(name, op.label)
            if wish is not None and name in labels:
                value, feature = labelled(self.values, self.graph, name, value, feature, wish)
            if value in outputs or value.producer() is None:
                (value,) = self.values.add("Identity", [value], [feature], label, {})
            outputs[value] = label
        return outputs
