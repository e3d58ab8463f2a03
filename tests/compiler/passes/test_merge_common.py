from __future__ import annotations

import pytest
from hypothesis import given, settings

from compiler.passes.merge_common import merge_common
from segdsl.ir import Graph
from tests.support.grown import Grown, programs
from tests.support.programs import graph, net


def names(made: Graph) -> list[str]:
    return [node.op.name for node in made.nodes()]


def test_what_is_written_twice_is_computed_once() -> None:
    before = graph(net("output y = (image -> relu -> sigmoid) + (image -> relu -> sigmoid)"))
    after = merge_common(before)
    assert names(after) == ["input", "relu", "sigmoid", "add", "output"]
    add = next(node.name for node in after.nodes() if node.op.name == "add")
    assert len(set(after.operands(add))) == 1
    assert names(before).count("relu") == 2


def test_a_layer_that_is_called_twice_on_one_map() -> None:
    body = "layer f = conv(4, 3, pad=1) @c\noutput y = (image -> f) + (image -> f -> relu)"
    assert names(merge_common(graph(net(body)))).count("conv") == 1


def test_all_results_of_a_node_are_followed() -> None:
    body = (
        "a, b = split(image, [1, 2], axis=channels)\nc, d = split(image, [1, 2], axis=channels)\n"
        "output y = a + c\noutput z = b * d"
    )
    after = merge_common(graph(net(body)))
    assert names(after).count("split") == 1
    ports = [{v.port for v in after.operands(n.name)} for n in after.nodes() if n.path is None]
    assert {0} in ports
    assert {1} in ports


def test_names_that_a_reader_knows_stay() -> None:
    before = graph(net("a = image -> relu\nb = image -> relu\noutput y = a * b"))
    after = merge_common(before)
    assert after.stages["a"] == after.stages["b"]
    assert before.stages["a"] != before.stages["b"]


@pytest.mark.parametrize(
    "body",
    [
        "output y = (image -> conv(3, 1) @a) + (image -> conv(3, 1) @b)",
        "layer f = conv(3, 1) @a\noutput y = image -> f -> f",
        "output y = (image -> relu) + (image -> sigmoid)",
        "output y = (image -> dropout(0.5)) + (image -> dropout(0.5))",
        "output y = image\noutput z = image",
        "output y = (image -> leaky_relu(0.1)) + (image -> leaky_relu(0.2))",
    ],
)
def test_what_differs_stays(body: str) -> None:
    before = graph(net(body))
    assert merge_common(before) is before


@settings(max_examples=20)
@given(grown=programs())
def test_nothing_is_left_to_merge(grown: Grown) -> None:
    before = grown.program.graph
    assert before is not None
    after = merge_common(before)
    after.verify()
    assert merge_common(after) is after
    assert set(after) <= set(before)
