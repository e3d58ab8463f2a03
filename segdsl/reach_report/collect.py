"""Collecting the rows of a report from the tables of receptive fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from segdsl.analysis.reach.concrete import Concrete, Field, fields, interior
from segdsl.analysis.reach.findings import Finding, findings
from segdsl.analysis.reach.periodic import Phases, Unknown
from segdsl.analysis.reach.support import Support, pixel, unused
from segdsl.analysis.reach.tables import AxisReach, Reach, reach
from segdsl.analysis.reach.wiring import AXES, ReachError, chosen_input, extent
from segdsl.analysis.shapes import shapes
from segdsl.analysis.sizes import SizeSet, in_words
from segdsl.analysis.strict import strict_sizes
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.infer import infer
from segdsl.ir import Graph, Instance, Node
from segdsl.ops.ports import Output
from segdsl.reach_report.rows import (
    AxisRow,
    Box,
    Pixel,
    PixelRow,
    ReachReport,
    StageRow,
    Warned,
)
from segdsl.reach_report.stages import Stage, stages
from segdsl.report import input_sizes
from segdsl.spelling import nearest
from segdsl.symbolic import Size, symbols
from segdsl.types import Axis


@dataclass(frozen=True)
class Analysis:
    """The tables from which reports are made.

    Attributes:
        graph: the network.
        accepted: the sizes that it accepts, by symbol.
        size: height and width of the inputs; None where they are left open.
        at: the same by symbol.
        table: the periodic fields.
        exact: the fields at `size`.
    """

    graph: Graph
    accepted: Mapping[str, SizeSet]
    size: tuple[int, int] | None
    at: Mapping[str, int]
    table: Reach
    exact: Concrete | None


def analyse(
    graph: Graph,
    accepted: Mapping[str, SizeSet],
    *,
    input: str | None = None,
    size: tuple[int, int] | None = None,
) -> Analysis:
    """The receptive fields of a network: the periodic ones, and the exact ones at a size.

    Args:
        graph: the network.
        accepted: the sizes that it accepts, by symbol.
        input: the input whose pixels are meant; the first map by default.
        size: height and width of the inputs.

    Raises:
        SegError: E0105 there is no such input, E0112 there is none with height and width, E3014
            the size is not accepted.
    """
    name = spatial_input(graph, input)
    known = {} if size is None else input_sizes(graph, accepted, size, 1)
    at = {symbol: n for symbol, n in known.items() if symbol != "N"}
    table = reach(graph, name, at=at, accepted=accepted)
    exact = None if size is None else fields(graph, at, name)
    return Analysis(graph, accepted, size, at, table, exact)


def reach_report(
    analysis: Analysis, rows: Sequence[Stage], *, at_pixel: Pixel | None = None
) -> ReachReport:
    """The receptive fields of these stages; with a size also the input pixels of one pixel each.

    Raises:
        SegError: E0105, a stage has no such pixel.
    """
    if at_pixel is not None and analysis.exact is None:
        raise ValueError("a pixel lies at a size")
    graph, accepted = analysis.graph, analysis.accepted
    name = analysis.table.wiring.input
    declared = infer(graph[name].op, ())[0]
    sizes = (declared.height, declared.width)
    strict = strict_sizes(graph, accepted)
    build = _Builder(analysis)
    return ReachReport(
        net=graph.name,
        file=graph.source,
        input=name,
        settings=dict(graph.settings),
        size=analysis.size,
        symbols=sizes,
        accepts=(_accepted(sizes[0], accepted), _accepted(sizes[1], accepted)),
        strict=(_accepted(sizes[0], strict), _accepted(sizes[1], strict)),
        stages=tuple(build.row(stage, at_pixel) for stage in rows),
        warnings=tuple(_warnings(analysis, rows)),
    )


def _warnings(analysis: Analysis, rows: Sequence[Stage]) -> Iterator[Warned]:
    """What is suspicious on the way to these stages, in graph order."""
    graph, table = analysis.graph, analysis.table
    names = {stage.value.node: stage.name for stage in (*stages(graph), *rows)}
    near = _upstream(graph, {stage.value.node for stage in rows})
    for found in findings(
        graph,
        analysis.at or None,
        input=table.wiring.input,
        table=table,
        accepted=analysis.accepted,
    ):
        node = graph[found.node]
        own = [v.node for v in graph.operands(found.node)] if isinstance(node.op, Output) else []
        if found.node in near or any(name in near for name in own):
            name = node.op.label if isinstance(node.op, Output) else names.get(node.name, node.name)
            yield Warned(found.kind, name, _sentence(found, names), line_in(graph, node))


def _sentence(found: Finding, names: Mapping[str, str]) -> str:
    """The message, with the nodes that brought it about."""
    causes = ", ".join(f"`{names.get(node, node)}`" for node in found.causes)
    return f"{found.message} (by {causes})" if causes else found.message


def _upstream(graph: Graph, last: set[str]) -> set[str]:
    """These nodes and all that they depend on."""
    near = set(last)
    for node in reversed(list(graph)):
        if node in near:
            near.update(operand.node for operand in graph.operands(node))
    return near


def spatial_input(graph: Graph, name: str | None) -> str:
    """The input of this name, or the first with height and width.

    Raises:
        SegError: E0112 the network has none, E0105 it has no input of this name.
    """
    try:
        return chosen_input(graph, name)
    except ReachError as error:
        guess = nearest(name, graph.inputs) if name is not None else None
        helps = text_helps(f"did you mean `{guess}`?") if guess else ()
        code = "E0112" if name is None else "E0105"
        raise SegError(Diagnostic(code, str(error), None, helps=helps)) from error


def _accepted(size: Size, accepted: Mapping[str, SizeSet]) -> SizeSet | None:
    return next((accepted[name] for name in sorted(symbols(size)) if name in accepted), None)


class _Builder:
    """Makes the rows of one report from its tables."""

    def __init__(self, analysis: Analysis) -> None:
        self.graph = analysis.graph
        self.accepted = analysis.accepted
        self.table = analysis.table
        self.exact = analysis.exact
        self.types = shapes(self.graph)

    def row(self, stage: Stage, at_pixel: Pixel | None) -> StageRow:
        node = self.graph[stage.value.node]
        return StageRow(
            name=stage.name,
            value=stage.value,
            op=node.op.name,
            scope=tuple(s.path or s.block for s in node.scope if isinstance(s, Instance)),
            line=line_in(self.graph, node),
            product=self.table.product(stage.value),
            axes=(self.axis(stage, AXES[0]), self.axis(stage, AXES[1])),
            pixel=None if at_pixel is None else self.pixel(stage, at_pixel),
        )

    def axis(self, stage: Stage, axis: Axis) -> AxisRow:
        value = stage.value
        size = in_words(extent(self.types[value], axis), self.accepted)
        found = self.table.axis(value, axis)
        state = self.table.line(value, axis).local
        has_local = isinstance(state, Phases | Unknown)
        if self.exact is None:
            return AxisRow(size, None, found, has_local, None, None)
        wiring, field = self.exact.wiring, self.exact.local(value, axis)
        inside = None
        if isinstance(state, Phases):
            inside = interior(field, state) if field is not None else None
        elif field is not None:
            found = _measured(found, field, _number(wiring.extent(wiring.input, axis)))
        here = _number(wiring.extent(value.node, axis))
        never = tuple(unused(wiring, [value], axis))
        return AxisRow(size, here, found, has_local, inside, never)

    def pixel(self, stage: Stage, at: Pixel) -> PixelRow:
        assert self.exact is not None
        try:
            local, full = (
                _box(pixel(self.exact.wiring, stage.value, *at, local=only))
                for only in (True, False)
            )
        except ReachError as error:
            feature = self.exact.wiring.types[stage.value]
            size = "x".join(map(str, feature.shape[2:])) if feature.rank == 4 else str(feature)
            what = f"its size is {size}" if feature.rank == 4 else f"it is no map but {size}"
            message = f"`{stage.name}` has no pixel {at[0]},{at[1]}: {what}"
            raise SegError(Diagnostic("E0105", message, None)) from error
        return PixelRow(at, local, full)


def _box(found: Support) -> Box | None:
    if found.rows is None or found.cols is None:
        return None
    return Box(found.rows, found.cols, found.count)


def _measured(found: AxisReach, field: Field, size: int) -> AxisReach:
    """Where nothing repeats: the fields of the pixels away from the border, at this size."""
    inside = ~field.empty & (field.lo > 0) & (field.hi < size - 1)
    lengths = (field.hi - field.lo + 1)[inside]
    if not lengths.size:
        return found
    return replace(found, rf_min=int(lengths.min()), rf_max=int(lengths.max()))


def _number(size: Size) -> int:
    assert isinstance(size, int), "sizes are known"
    return size


def line_in(graph: Graph, node: Node) -> int | None:
    """The line of a node in the file of the net: its own, or that of the call that leads to it."""
    spans = [s.span for s in node.scope if isinstance(s, Instance)]
    places = (node.span, *reversed(spans))
    return next((s.line for s in places if s.source.name == graph.source), None)
