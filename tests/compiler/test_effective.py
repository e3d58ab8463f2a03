"""Effective fields by gradients: where the mathematics is known, and against theory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compiler.effective import Measured, fitting_size, measured, up_to, widths
from compiler.weights import Weights, initialise
from segdsl.analysis.params import owners, params
from segdsl.analysis.reach.tables import Reach, reach
from segdsl.analysis.sizes import sizes
from segdsl.diagnostics import SegError
from segdsl.ir import Graph, Value
from segdsl.program import examine, examine_source
from segdsl.reach_report.stages import chosen, stages
from segdsl.source import Source

torch.set_num_threads(1)


def net(body: str, where: str = "", channels: int = 1) -> tuple[Reach, Value]:
    text = (
        f"seg 1\nnet A() {{\n  input x: f32[N, {channels}, H, W]{where}\n  output y = x{body}\n}}\n"
    )
    program = examine_source(Source("a.seg", text), None)
    assert program.graph is not None, program.diagnostics
    (stage,) = chosen(program.graph, ["y"])
    return reach(program.graph, accepted=program.accepted), stage.value


def ones(graph: Graph) -> Weights:
    arrays = initialise(params(graph), seed=0, owners=owners(graph))
    return Weights({name: np.ones_like(array) for name, array in arrays.items()})


def measure(fields: Reach, value: Value, size: tuple[int, int], inputs: int = 2) -> Measured:
    weights = ones(fields.graph)
    found = measured(fields, value, sizes(fields.graph), size=size, weights=weights, inputs=inputs)
    assert found is not None
    return found


def test_equal_weights_give_the_uniform_profile() -> None:
    body = "".join(f" -> conv(1, 3, pad=1, bias=false) @c{i}" for i in range(5))
    fields, value = net(body)
    found = measure(fields, value, (31, 33))
    assert found.rows.std == pytest.approx(1.826, abs=5e-4)
    assert found.rows.widths == found.cols.widths
    assert found.rows.widths[3] == 9
    assert found.pixel == (15, 16)
    assert found.box == ((10, 20), (11, 21))
    assert found.influence.sum() == pytest.approx(1)
    line = np.array([1.0])
    for _ in range(5):
        line = np.convolve(line, np.full(3, 1 / 3))
    expected = np.zeros((31, 33))
    expected[10:21, 11:22] = np.outer(line, line)
    assert np.allclose(found.influence, expected, atol=1e-7)


def test_nothing_outside_of_the_theoretical_field_matters() -> None:
    fields, value = net(
        " -> conv(3, 3, pad=1) @a -> relu -> max_pool(2) -> conv(3, 5, pad=2) @b"
        " -> conv_transpose(1, 2, stride=2) @c",
        " where H % 2 == 0, W % 2 == 0",
    )
    found = measure(fields, value, (40, 44))
    (top, bottom), (left, right) = found.box
    inside = found.influence[top : bottom + 1, left : right + 1]
    assert inside.sum() == pytest.approx(1)
    assert max(found.sides) <= bottom - top + 1


def test_rows_and_columns_are_told_apart() -> None:
    fields, value = net(" -> conv(1, [1, 9], pad=[0, 4], bias=false) @a")
    found = measure(fields, value, (21, 21))
    assert found.rows.widths == (1, 1, 1, 1, 1)
    assert found.cols.widths == (3, 3, 5, 9, 9)


def test_a_stage_that_reads_nothing_locally_has_no_measure() -> None:
    fields, value = net(" -> global_avg_pool")
    assert measured(fields, value, sizes(fields.graph), size=(9, 9), inputs=1) is None


def test_stages_of_a_real_net_are_narrower_than_their_fields() -> None:
    program = examine("unet", settings={"width": 2})
    assert program.graph is not None
    fields = reach(program.graph, accepted=program.accepted)
    (stage,) = chosen(program.graph, ["down3.maxpool_conv.1"])
    size = fitting_size(fields, [stage.value], program.accepted)
    assert size == (76, 76)
    found = measured(fields, stage.value, program.accepted, size=size, inputs=2)
    assert found is not None
    assert found.box[0][1] - found.box[0][0] + 1 == 68
    assert found.sides[2] < 68
    assert list(found.sides) == sorted(found.sides)


def test_equal_seeds_give_equal_numbers() -> None:
    fields, value = net(" -> conv(2, 3, pad=1) @a -> relu -> conv(1, 3, pad=1) @b")
    accepted = sizes(fields.graph)
    one, other, third = (
        measured(fields, value, accepted, size=(16, 16), inputs=2, seed=seed) for seed in (1, 1, 2)
    )
    assert one is not None
    assert other is not None
    assert third is not None
    assert (one.influence == other.influence).all()
    assert (one.influence != third.influence).any()


def test_a_size_that_is_not_accepted() -> None:
    program = examine("unet", settings={"width": 2})
    assert program.graph is not None
    fields = reach(program.graph, accepted=program.accepted)
    with pytest.raises(SegError, match="E3014"):
        measured(fields, stages(program.graph)[0].value, program.accepted, size=(3, 3))


def test_the_part_of_a_network_up_to_a_value() -> None:
    program = examine("unet", settings={"width": 2})
    assert program.graph is not None
    (stage,) = chosen(program.graph, ["down1.maxpool_conv.1"])
    part = up_to(program.graph, stage.value)
    part.verify()
    assert part.inputs == program.graph.inputs
    assert [part.operands(node) for node in part.outputs] == [(stage.value,)]
    assert set(params(part)) < set(params(program.graph))


def test_widths_are_those_of_centred_ranges() -> None:
    share = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
    assert widths(np.abs(2 * np.arange(5) - 4), share) == (1, 1, 3, 5, 5)
    even = np.array([0.25, 0.25, 0.25, 0.25])
    assert widths(np.abs(2 * np.arange(4) - 3), even) == (2, 2, 2, 4, 4)
