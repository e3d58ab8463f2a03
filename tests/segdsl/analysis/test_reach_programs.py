"""Receptive fields of programs that nobody wrote, against perturbation of the compiled module."""

from __future__ import annotations

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import Phase, assume, given, note, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from compiler.to_torch.build import build  # noqa: E402
from segdsl.analysis.reach.concrete import Concrete, fields  # noqa: E402
from segdsl.analysis.reach.periodic import Phases, State  # noqa: E402
from segdsl.analysis.reach.support import pixel  # noqa: E402
from segdsl.analysis.reach.tables import reach  # noqa: E402
from segdsl.analysis.reach.wiring import Wiring, wire_at  # noqa: E402
from segdsl.ir import Graph, Value  # noqa: E402
from segdsl.ops.resize import Resize  # noqa: E402
from segdsl.types import Axis  # noqa: E402
from tests.support.grown import Grown  # noqa: E402
from tests.support.perturb import TRIALS, drawn, moves  # noqa: E402
from tests.support.reach_nets import graph_of  # noqa: E402
from tests.support.spatial import spatial_programs  # noqa: E402

GRAPHS = int(os.environ.get("SEGDSL_RF_GRAPHS", "80"))
PHASES = [Phase.generate, Phase.shrink] if GRAPHS <= 80 else [Phase.generate]
AXES: tuple[Axis, Axis] = (0, 1)


def sizes_of(grown: Grown, draw: st.DataObject) -> dict[str, int]:
    """Small sizes that the program accepts."""
    found = {}
    for name in "HW":
        known = grown.program.accepted[name]
        start = draw.draw(st.integers(1, 13), label=name)
        size = known.at_least(start) or known.minimum
        assert size is not None
        found[name] = size
    return found


def stated(concrete: Concrete, value: Value) -> np.ndarray:
    """The full 2-D support of every output pixel."""
    wiring = concrete.wiring
    h, w, height, width = (
        int(str(wiring.extent(node, axis))) for node in (value.node, wiring.input) for axis in AXES
    )
    found = np.zeros((h, w, height, width), dtype=bool)
    for y in range(h):
        for x in range(w):
            support = pixel(wiring, value, y, x)
            if support.rows is not None and support.cols is not None:
                (top, bottom), (left, right) = support.rows, support.cols
                found[y, x, top : bottom + 1, left : right + 1] = support.mask
                assert support.count == support.mask.sum()
    return found


def compare(graph: Graph, at: dict[str, int]) -> None:
    """Full supports, concrete intervals and pixels must be those of the torch module."""
    concrete = fields(graph, at)
    (value,) = graph.operands(graph.outputs[0])
    says = stated(concrete, value)
    module = build(graph)
    seen = np.zeros_like(says)
    for trial in range(TRIALS):
        surely, at_all = moves(drawn(module, trial), 4, at["H"], at["W"], trial)
        assert not (surely & ~says).any(), "torch reads pixels that are not stated"
        seen |= at_all
        if not (says & ~seen).any():
            break
    assert not (says & ~seen).any(), "stated pixels that torch never reads"
    for axis in AXES:
        check_hulls(concrete, value, axis, says)


def check_hulls(concrete: Concrete, value: Value, axis: Axis, says: np.ndarray) -> None:
    """The intervals of an axis are the hulls of the supports, seen from that axis."""
    field = concrete.full(value, axis)
    lines = np.asarray(says.any(axis=(1, 3)) if axis == 0 else says.any(axis=(0, 2)))
    for y, line in enumerate(lines):
        read = np.flatnonzero(line)
        interval = None if field is None else field.at(y)
        if read.size:
            assert interval is not None
            assert interval[0] <= read[0]
            assert interval[1] >= read[-1]
    if never_empty(concrete):
        for y, line in enumerate(lines):
            read = np.flatnonzero(line)
            assert field is not None
            assert field.at(y) == (read[0], read[-1])


def never_empty(concrete: Concrete) -> bool:
    """Whether every pixel of every map reads something: else one axis may hide the other."""
    found = (getattr(concrete.full(Value(n), axis), "empty", None)
             for n in concrete.nodes for axis in AXES)  # fmt: skip
    return not any(empty.any() for empty in found if empty is not None)


@settings(max_examples=GRAPHS, phases=PHASES)
@given(spatial_programs(), st.data())
def test_full_supports_are_what_torch_reads(grown: Grown, data: st.DataObject) -> None:
    torch.set_num_threads(1)
    graph = grown.program.graph
    assert graph is not None
    at = sizes_of(grown, data)
    assume(at["H"] * at["W"] <= 400)
    wiring = wire_at(graph, at)
    (value,) = graph.operands(graph.outputs[0])
    assume(int(str(wiring.extent(value.node, 0))) * int(str(wiring.extent(value.node, 1))) <= 400)
    assume(not wrong_in_torch(wiring))
    note(grown.text)
    compare(graph, at)


def wrong_in_torch(wiring: Wiring) -> bool:
    """Whether a map is resized with antialiasing to one column.

    torch 2.13 then reads the first row only, on the CPU: not what the operator means.
    """
    return any(
        isinstance(node.op, Resize) and node.op.antialias and wiring.extent(node.name, 1) == 1
        for node in wiring.graph.nodes()
    )


@settings(max_examples=GRAPHS, phases=PHASES)
@given(spatial_programs(), st.data())
def test_the_interior_is_periodic(grown: Grown, data: st.DataObject) -> None:
    """Where no tap is near a border, the concrete field is the periodic one."""
    graph = grown.program.graph
    assert graph is not None
    note(grown.text)
    at = {}
    for name in "HW":
        known = grown.program.accepted[name]
        size = known.at_least(data.draw(st.integers(60, 90), label=name)) or known.minimum
        assert size is not None
        at[name] = size
    table, concrete = reach(graph, at=at), fields(graph, at)
    for axis in AXES:
        clean: dict[str, list[bool]] = {}
        for node in graph:
            clean[node] = untouched(concrete.wiring, node, axis, clean)
            check_interior(table.line(Value(node), axis).local, concrete, node, axis, clean[node])


def untouched(wiring: Wiring, node: str, axis: Axis, clean: dict[str, list[bool]]) -> list[bool]:
    """For each output, whether no border changes anything on any of its paths."""
    wired, size = wiring.wires[node], int(str(wiring.extent(node, axis)))
    found = [True] * size
    for slot, operand in enumerate(wired.operands):
        taps, kind = wired.taps[axis][slot], wired.tags[axis][slot]
        if kind != "value":
            continue
        before = clean[operand.node]
        for y in range(size):
            try:
                asked = set(taps.indices(y))
            except ValueError:
                asked = {-1}
            inside = asked == set(taps.at(y, len(before), size))
            found[y] = found[y] and inside and all(before[i] for i in asked)
    return found


def check_interior(
    state: State, concrete: Concrete, node: str, axis: Axis, clean: list[bool]
) -> None:
    field = concrete.local(Value(node), axis)
    if state is None:
        assert field is None
    if not isinstance(state, Phases) or field is None:
        return
    for y, inside in enumerate(clean):
        if inside:
            span = state.at(y)
            assert field.at(y) == (None if span is None else (span.lo, span.hi)), node


FOUND = {
    "clipping at every layer": (
        "output y = x -> conv(4, 3, stride=2) -> conv(4, 3, pad=1)", 8, 9,
    ),
    "antialiasing passes over an axis that keeps its size": (
        "output y = x -> resize(1.25, mode=bilinear, antialias=true)", 2, 9,
    ),
    "the same with cubic kernels": (
        "output y = x -> resize(1.25, mode=bicubic, antialias=true)", 3, 7,
    ),
    "bilinear resizing ignores the factor on an axis that keeps its size": (
        "output y = x -> resize(1.25, mode=bilinear)", 2, 9,
    ),
    "bicubic resizing does not": ("output y = x -> resize(1.25, mode=bicubic)", 3, 3),
    "windows that miss the map": (
        "output y = x -> conv(6, 2, stride=[3, 1], pad=[2, 1], dilation=2)"
        " -> conv(6, 3, pad=same, stride=2, groups=2)", 4, 1,
    ),
    "a maximum that only negative values decide": (
        "a = x * (x -> global_avg_pool -> sigmoid)\n  output y = max([x, a])", 3, 4,
    ),
    "a negative lobe under a maximum": (
        "output y = x -> max_pool(2) -> conv(4, 3, pad=1) -> resize(like=x, mode=bicubic)"
        " -> max_pool(2, pad=1, ceil=true)", 2, 6,
    ),
}  # fmt: skip
"""Cases that the property below found, or that other tools get wrong."""


@pytest.mark.parametrize("name", FOUND)
def test_named_cases_are_what_torch_reads(name: str) -> None:
    body, height, width = FOUND[name]
    compare(graph_of(body), {"H": height, "W": width})
