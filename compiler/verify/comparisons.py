"""The four things that are verified: targets, a foreign file, other weights, another network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from typing import Literal

import numpy as np

from compiler.verify.compare import Gate
from compiler.verify.engine import Comparison, Make
from compiler.verify.inputs import IMAGES, Bounds, Image, accepted_sizes, cases
from compiler.verify.matching import match_inputs, match_outputs
from compiler.verify.ports import free_symbol, ports
from compiler.verify.report import Report, Row
from compiler.verify.runners import RUNNERS, Ran, Runner, Subject, check_targets, reference
from compiler.verify.stages import at_inference, inference_names, stages
from compiler.weights.fitting import fitting_weights
from compiler.weights.init import initialise
from compiler.weights.table import Array, Weights
from segdsl.analysis.params import owners, params
from segdsl.analysis.shapes import shapes
from segdsl.analysis.sizes import SizeSet
from segdsl.ir import Graph, Value

Arrays = Weights | str | PathLike[str] | None


@dataclass(frozen=True)
class Options:
    """What all comparisons have in common.

    Attributes:
        sizes: heights and widths; () chooses two, see `compiler.verify.inputs.cases`.
        batches: batch sizes; () is 1 and 2.
        images: kinds of pictures.
        every: a row for every result of every node, instead of the named stages.
        seed: of the noise, and of arrays that are initialised.
        init: how arrays are initialised that are not given: `fixture` keeps deep networks in a
            range where errors show, `own` is what the program says.
        gate: what is judged.
        inputs: our names of inputs and theirs, where another file or network has others.
        outputs: the same of outputs.
    """

    sizes: Sequence[tuple[int, int]] = ()
    batches: Sequence[int] = ()
    images: Sequence[Image] = IMAGES
    every: bool = False
    seed: int = 0
    init: Literal["fixture", "own"] = "fixture"
    gate: Gate = field(default_factory=Gate)
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    outputs: Mapping[str, str] = field(default_factory=dict[str, str])


def against_targets(
    graph: Graph, weights: Arrays, targets: Sequence[str], options: Options
) -> Report:
    """Targets beside float64 torch on the network as written.

    Raises:
        SegError: an unknown target (E6022), weights that do not fit, a size that is not accepted
            (E3014), or a runtime that refuses the network (E6027).
    """
    check_targets(targets)
    arrays = fitted(graph, weights, options)
    others = {name: _maker(RUNNERS[name], graph, arrays) for name in targets}
    return _report(graph, arrays, others, options, "float64 torch")


def against_file(graph: Graph, weights: Arrays, path: str, options: Options) -> Report:
    """An ONNX file that others made beside float64 torch; outputs only.

    The sizes that the file states are taken.

    Raises:
        SegError: as `against_targets`, and E6023 to E6026 for what the file is.
    """
    from compiler.verify.foreign import ForeignRunner

    names = tuple(inference_names(graph))
    runner = ForeignRunner(path, graph, names, inputs=options.inputs, outputs=options.outputs)
    runner.check_results(graph, options.gate)
    arrays = fitted(graph, weights, options)
    others: dict[str, Make] = {fspath(path): lambda every: runner}
    bounds = Bounds(fixed=runner.fixed(graph))
    return _report(graph, arrays, others, options, "float64 torch", bounds, outputs_only=True)


def against_weights(graph: Graph, weights: Arrays, other: Arrays, options: Options) -> Report:
    """One network with two sets of weights, both in float64.

    Raises:
        SegError: as `against_targets`.
    """
    first, second = fitted(graph, weights, options), fitted(graph, other, options)
    others: dict[str, Make] = {"the other weights": _maker(reference, graph, second)}
    return _report(graph, first, others, options, "the first weights")


def against_graph(
    graph: Graph, weights: Arrays, other: Graph, other_weights: Arrays, options: Options
) -> Report:
    """Two networks in float64: their outputs, and their stages of equal names.

    Arrays that are not given come from the same seed: those of equal path and shape are equal.

    Raises:
        SegError: as `against_targets`, and E6024 to E6026 if the networks' ports differ.
    """
    first, second = fitted(graph, weights, options), fitted(other, other_weights, options)
    whose = f"`{other.source or other.name}`"
    found = match_inputs(ports(graph), ports(other), options.inputs, whose)
    renamed = {ours: port.name for ours, port in found.items()}
    names = list(inference_names(graph))
    outputs = match_outputs(names, list(inference_names(other)), options.outputs, whose)

    def make(every: bool) -> Runner:
        shared = {stage.name for stage in stages(at_inference(graph), every=every)}
        own = tuple(s for s in stages(at_inference(other), every=every) if s.name in shared)
        known = frozenset(stage.name for stage in own)
        return _Renamed(reference(Subject(other, second, own)), known, renamed, outputs)

    bounds = Bounds(sets=_sizes_of(graph, other, renamed))
    name = other.source or other.name
    return _report(graph, first, {name: make}, options, graph.source or graph.name, bounds)


def fitted(graph: Graph, weights: Arrays, options: Options) -> Weights:
    """The arrays that are given, or initialised ones."""
    table = params(graph)
    if weights is None:
        return initialise(table, options.seed, style=options.init, owners=owners(graph))
    return fitting_weights(graph, table, weights)


def _maker(make: Callable[[Subject], Runner], graph: Graph, arrays: Weights) -> Make:
    def made(every: bool) -> Runner:
        return make(Subject(graph, arrays, stages(at_inference(graph), every=every)))

    return made


def _report(
    graph: Graph,
    arrays: Weights,
    others: Mapping[str, Make],
    options: Options,
    name: str,
    bounds: Bounds | None = None,
    *,
    outputs_only: bool = False,
) -> Report:
    chosen = cases(
        graph, at=options.sizes, batches=options.batches, images=options.images, bounds=bounds
    )
    comparison = Comparison(
        graph,
        _maker(reference, graph, arrays),
        others,
        options.gate,
        options.seed,
        outputs_only,
    )
    looked = comparison.found(chosen, every=options.every)
    departures = comparison.departures(
        looked.rows, every=options.every, notes=lambda row: _broken(arrays, row)
    )
    found = tuple(departures)
    rows, ways = looked.rows, looked.ways
    return Report(graph.name, graph.source, name, options.gate, chosen, rows, found, ways)


def _broken(arrays: Weights, row: Row) -> tuple[str, ...]:
    """The arrays of a node that are themselves not finite."""
    path = row.node.path
    if path is None or row.figures.verdict != "nan":
        return ()
    own = [name for name in arrays if name == path or name.startswith(f"{path}.")]
    bad = [name for name in own if not np.isfinite(arrays[name]).all()]
    return tuple(f"the weight `{name}` holds NaN or infinity" for name in bad)


class _Renamed:
    """Another network, called by our names."""

    def __init__(
        self,
        runner: Runner,
        known: frozenset[str],
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
    ) -> None:
        self._runner = runner
        self._known = known
        self._inputs = inputs
        self._outputs = outputs

    def run(self, inputs: Mapping[str, Array], stages: Sequence[str]) -> Ran:
        """The stages that it has."""
        fed = {self._inputs[name]: array for name, array in inputs.items()}
        ran = self._runner.run(fed, [name for name in stages if name in self._known])
        named = {ours: ran.outputs[theirs] for ours, theirs in self._outputs.items()}
        return replace(ran, outputs=named)


def _sizes_of(graph: Graph, other: Graph, renamed: Mapping[str, str]) -> dict[str, SizeSet]:
    """What the other network accepts, by our symbols."""
    ours, theirs, known = shapes(graph), shapes(other), accepted_sizes(other)
    found: dict[str, SizeSet] = {}
    for left, right in renamed.items():
        pairs = zip(ours[Value(left)].shape, theirs[Value(right)].shape, strict=True)
        for mine, its in pairs:
            symbol, another = free_symbol(mine), free_symbol(its)
            if symbol is not None and another is not None:
                found.setdefault(symbol, known[another])
    return found
