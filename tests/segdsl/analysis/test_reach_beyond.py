"""A second dependence on more than the plain taps: of moved points, on a toy operator and in full.

The toy reads every other pixel and, by edges of another kind, what lies a little further.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl.analysis.reach.concrete import fields
from segdsl.analysis.reach.coverage import needed
from segdsl.analysis.reach.support import pixel, supports, unused
from segdsl.analysis.reach.tables import FullReach, reach
from segdsl.analysis.reach.wiring import wire, wire_at
from segdsl.ir import Graph, Node, Value
from segdsl.ops.base import Op
from segdsl.ops.ports import Input, Output
from segdsl.symbolic import symbol
from segdsl.taps import Displaced, Sliding, Taps, Whole
from segdsl.types import Axis, Feature, Window

PLAIN = Window(1, stride=2)
WIDE = Sliding(tag="offset", window=Window(5, stride=2, before=2))


@dataclass(frozen=True)
class Toy(Op):
    """Reads pixel 2y along both axes, and `beyond` by an `offset` edge: along rows, or nowhere."""

    name: ClassVar[str] = "toy"
    beyond: Taps | None = WIDE

    def infer(self, *inputs: Feature) -> Feature:
        (x,) = inputs
        height, width = ((side + 1) // 2 for side in x.shape[2:])
        return x.with_spatial(height, width)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if axis == 1:
            return Sliding(window=PLAIN)
        return Sliding(window=PLAIN, also="offset", beyond=self.beyond)


def toy(beyond: Taps | None) -> tuple[Graph, Value]:
    graph = Graph("A")
    x = graph.add(Node("x", Input((symbol("N"), 1, symbol("H"), symbol("W")))))
    y = graph.add(Node("y", Toy(beyond)), [x])
    graph.add(Node("out", Output(label="y")), [y])
    return graph, y


def test_both_fields_are_told() -> None:
    graph, y = toy(WIDE)
    table = reach(graph)
    rows, cols = table.axis(y, 0), table.axis(y, 1)
    assert (rows.rf_max, rows.tags, rows.via) == (1, ("offset",), ("offset",))
    assert rows.full == FullReach(5, 5, ((-2, 2),))
    assert (cols.rf_max, cols.tags, cols.full) == (1, ("local",), None)


def test_without_bound_it_is_global() -> None:
    graph, y = toy(None)
    found = reach(graph).axis(y, 0)
    assert (found.rf_max, found.full, found.tags) == (1, "global", ("global", "offset"))
    field = fields(graph, {"H": 9, "W": 9}).full(y, 0)
    assert field is not None
    assert [field.at(i) for i in range(5)] == [(0, 8)] * 5


def test_exact_fields_and_sets() -> None:
    graph, y = toy(WIDE)
    concrete = fields(graph, {"H": 9, "W": 9})
    local, full = concrete.local(y, 0), concrete.full(y, 0)
    assert local is not None
    assert full is not None
    assert [local.at(i) for i in range(5)] == [(2 * i, 2 * i) for i in range(5)]
    assert [full.at(i) for i in range(5)] == [(max(2 * i - 2, 0), min(2 * i + 2, 8))
                                              for i in range(5)]  # fmt: skip
    wiring = wire_at(graph, {"H": 9, "W": 9})
    assert supports(wiring, y, 0)[2] == set(range(2, 7))
    assert supports(wiring, y, 0, local=True)[2] == {4}
    box = pixel(wiring, y, 2, 1)
    assert (box.rows, box.cols, box.count) == ((2, 6), (2, 2), 5)
    assert pixel(wiring, y, 2, 1, local=True).count == 1


@pytest.mark.parametrize("beyond", [WIDE, None])
def test_what_is_read_by_any_edge_is_not_unread(beyond: Taps | None) -> None:
    graph, y = toy(beyond)
    assert needed(wire(graph), 0, ["y"])["x"].everywhere
    assert needed(wire(graph), 1, ["y"])["x"].residues == {0}
    wiring = wire_at(graph, {"H": 9, "W": 9})
    assert unused(wiring, [y], 0) == []
    assert unused(wiring, [y], 1) == [(i, i) for i in (1, 3, 5, 7)]


def test_a_second_dependence_without_taps_is_on_the_whole_axis() -> None:
    assert Sliding(also="stat").dependences == (Sliding(), Whole(tag="stat"))
    assert Sliding(also="offset", beyond=WIDE).dependences == (Sliding(), WIDE)
    assert WIDE.dependences == (WIDE,)


quarters = st.integers(0, 12).map(lambda n: Fraction(n, 4))


@given(
    points=st.lists(st.integers(-16, 16).map(lambda n: Fraction(n, 4)), min_size=1, max_size=4),
    margin=quarters,
    stride=st.integers(1, 3),
    y=st.integers(-5, 5),
)
def test_moved_points_read_what_bilinear_samples_may_weigh(
    points: list[Fraction], margin: Fraction, stride: int, y: int
) -> None:
    steps = [margin * Fraction(n, 48) for n in range(-48, 49)]
    places = [stride * y + point + step for point in points for step in steps]
    weighed = {pixel for place in places for pixel in (floor(place), ceil(place))}
    taps = Displaced(points=tuple(points), stride=stride, margin=margin)
    assert list(taps.indices(y)) == sorted(weighed)
