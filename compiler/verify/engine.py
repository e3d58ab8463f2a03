"""Runs a reference and others on the same inputs and keeps the worst of every stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import numpy as np

from compiler.verify.compare import Gate, compare
from compiler.verify.inputs import Case, arrays
from compiler.verify.report import Departure, Row
from compiler.verify.runners import Ran, Runner
from compiler.verify.stages import Stage, at_inference, inference_names, stages
from compiler.weights.table import Array
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Node

BUDGET = 1 << 29
"""Bytes of float64 stages that are held at once; more are compared in several passes."""

Make = Callable[[bool], Runner]
"""Makes a runner; the argument says whether every node is asked for, not the named stages only."""


@dataclass(frozen=True)
class Found:
    """What a comparison gave: its rows, and what ran for a target where that is not plain."""

    rows: tuple[Row, ...]
    ways: Mapping[str, str]


@dataclass(frozen=True)
class Comparison:
    """A reference network and those who are held against it.

    Attributes:
        graph: the reference's network.
        reference: makes its runner.
        others: by the name under which they are reported.
        gate: what is judged; with the argmax gate outputs only.
        seed: of the noise.
        outputs_only: whether the others have no stages.
    """

    graph: Graph
    reference: Make
    others: Mapping[str, Make]
    gate: Gate
    seed: int
    outputs_only: bool = False

    def found(self, cases: Sequence[Case], *, every: bool) -> Found:
        """The worst comparison of every stage and output with every other."""
        runners = {name: make(every) for name, make in self.others.items()}
        look = _Look(self, self.reference(every), runners)
        chosen = () if self.outputs_only or self.gate.kind == "argmax" else self._stages(every)
        for turn, chunk in enumerate(chunks(self.graph, chosen, cases)):
            for case in cases:
                look.at(case, chunk, outputs=turn == 0)
        return Found(look.sorted(chosen), look.ways)

    def departures(
        self, rows: Sequence[Row], *, every: bool, notes: Callable[[Row], tuple[str, ...]]
    ) -> Iterator[Departure]:
        """The first departure of each target; looks again at every node of the run it is in."""
        for target in self.others:
            mine = [row for row in rows if row.target == target]
            wrong = [row for row in mine if row.figures.wrong]
            if not wrong:
                continue
            look = not every and not self.outputs_only and self.gate.kind == "err"
            node = self._first_node(target, wrong[0]) if look else None
            why = notes(node or wrong[0])
            yield Departure(wrong[0], len(wrong), len(mine), look, node, why)

    def _first_node(self, target: str, row: Row) -> Row | None:
        """Where the reference itself is not finite, no target can hide a node."""
        other = self.reference if row.blames_reference else self.others[target]
        alone = replace(self, others={target: other})
        found = alone.found([row.case], every=True)
        return next((r for r in found.rows if r.figures.wrong and r.kind == "stage"), None)

    def _stages(self, every: bool) -> tuple[Stage, ...]:
        return stages(at_inference(self.graph), every=every)


def chunks(
    graph: Graph, chosen: Sequence[Stage], cases: Sequence[Case], budget: int = BUDGET
) -> list[tuple[Stage, ...]]:
    """The stages in pieces whose float64 arrays fit into the budget at every case; at least one."""
    tables = [shapes(graph, case.symbols) for case in cases]
    found: list[list[Stage]] = [[]]
    held = 0
    for stage in chosen:
        size = max(8 * prod(int(str(n)) for n in t[stage.value].shape) for t in tables)
        if found[-1] and held + size > budget:
            found.append([])
            held = 0
        found[-1].append(stage)
        held += size
    return [tuple(chunk) for chunk in found]


Key = tuple[str, Literal["stage", "output"], str]


class _Look:
    """Collects rows run by run."""

    def __init__(
        self, comparison: Comparison, reference: Runner, others: Mapping[str, Runner]
    ) -> None:
        self._comparison = comparison
        self._reference = reference
        self._others = others
        self._outputs = inference_names(comparison.graph)
        self._worst: dict[Key, Row] = {}
        self.ways: dict[str, str] = {}

    def at(self, case: Case, chunk: Sequence[Stage], *, outputs: bool) -> None:
        inputs = arrays(self._comparison.graph, case, self._comparison.seed)
        names = [stage.name for stage in chunk]
        wanted = self._reference.run(inputs, names)
        for target, runner in self._others.items():
            found = runner.run(inputs, names)
            if found.way:
                self.ways[target] = found.way
            for stage in chunk:
                if stage.name in found.stages:
                    key: Key = (target, "stage", stage.name)
                    self._add(key, stage.node, case, *_pair(wanted, found, stage.name))
            for name, node in self._outputs.items() if outputs else ():
                pair = wanted.outputs[name], found.outputs[name]
                self._add((target, "output", name), node, case, *pair)

    def _add(self, key: Key, node: Node, case: Case, wanted: Array, found: Array) -> None:
        figures = compare(wanted, found, self._comparison.gate)
        old = self._worst.get(key)
        if old is not None and old.figures.badness >= figures.badness:
            return
        broken = not bool(np.isfinite(wanted).all())
        self._worst[key] = Row(
            *key, node, wanted.shape, str(found.dtype), case, figures, broken, found.shape
        )

    def sorted(self, chosen: Sequence[Stage]) -> tuple[Row, ...]:
        """By target, then stages in the order of the network, then outputs."""
        place = {stage.name: i for i, stage in enumerate(chosen)}
        targets = list(self._others)
        order = list(self._outputs)

        def key(row: Row) -> tuple[int, int, int]:
            last = row.kind == "output"
            at = order.index(row.name) if last else place[row.name]
            return targets.index(row.target), int(last), at

        return tuple(sorted(self._worst.values(), key=key))


def _pair(wanted: Ran, found: Ran, name: str) -> tuple[Array, Array]:
    return wanted.stages[name], found.stages[name]
