"""Collecting the rows of a report from the tables of receptive fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from segdsl.analysis.reach.concrete import Concrete, Field, fields, interior
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
from segdsl.reach_report.rows import AxisRow, Box, Pixel, PixelRow, ReachReport, StageRow
from segdsl.reach_report.stages import Stage, chosen, every_value, stages
from segdsl.report import input_sizes
from segdsl.spelling import nearest
from segdsl.symbolic import Size, symbols
from segdsl.types import Axis


def reach_report(
    graph: Graph,
    accepted: Mapping[str, SizeSet],
    *,
    input: str | None = None,
    size: tuple[int, int] | None = None,
    at: Sequence[str] = (),
    every: bool = False,
    at_pixel: Pixel | None = None,
) -> ReachReport:
    """The receptive fields of the stages of a network.

    Args:
        graph: the network.
        accepted: the sizes that it accepts, by symbol.
        input: the input whose pixels are meant; the first map by default.
        size: height and width of the inputs, for exact borders.
        at: names of stages; all by default.
        every: rows for all nodes.
        at_pixel: also the exact input pixels of this pixel of each stage; needs `size`.

    Raises:
        SegError: E0105 there is no such stage, input or pixel; E3014 the size is not accepted;
            E0112 the network has no input with height and width.
    """
    if at_pixel is not None and size is None:
        raise ValueError("a pixel lies at a size")
    name = spatial_input(graph, input)
    known = {} if size is None else input_sizes(graph, accepted, size, 1)
    picked = chosen(graph, at) if at else every_value(graph) if every else stages(graph)
    table = reach(graph, name, at=known, accepted=accepted)
    exact = None if size is None else fields(graph, _spatial(known), name)
    build = _Builder(graph, accepted, table, exact)
    strict = strict_sizes(graph, accepted)
    declared = infer(graph[name].op, ())[0]
    sizes = (declared.height, declared.width)
    return ReachReport(
        net=graph.name,
        file=graph.source,
        input=name,
        settings=dict(graph.settings),
        size=size,
        symbols=sizes,
        accepts=(_accepted(sizes[0], accepted), _accepted(sizes[1], accepted)),
        strict=(_accepted(sizes[0], strict), _accepted(sizes[1], strict)),
        stages=tuple(build.row(stage, at_pixel) for stage in picked),
        warnings=(),
    )


def _spatial(known: Mapping[str, int]) -> dict[str, int]:
    return {name: size for name, size in known.items() if name != "N"}


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

    def __init__(
        self,
        graph: Graph,
        accepted: Mapping[str, SizeSet],
        table: Reach,
        exact: Concrete | None,
    ) -> None:
        self.graph = graph
        self.accepted = accepted
        self.table = table
        self.exact = exact
        self.types = shapes(graph)

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
                _box(pixel(self.exact.wiring, stage.value, *at, local=only)) for only in (True, False)
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
