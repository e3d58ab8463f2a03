"""Names of stages: what a report lists, and what may be asked for."""

from __future__ import annotations

import pytest

from segdsl.diagnostics import SegError
from segdsl.ir import Graph
from segdsl.library import stock_names
from segdsl.ops.ports import Input, Output, Weight
from segdsl.program import load, parse
from segdsl.reach_report.stages import chosen, every_value, stages

TEXT = """seg 1
from std.blocks import ConvBNReLU
block Two(x: [N, C, h, w], out: int) -> (a: [N, out, h, w], b: [N, out, h, w]) {
  a = x -> ConvBNReLU(out) @first
  b = a -> ConvBNReLU(out) @second
}
net Names(classes: int = 2) {
  input image: f32[N, 3, H, W] where H >= 2, W >= 2
  image -> conv(8, 3, pad=1) @stem -> relu as tapped -> max_pool(2) as pooled
  pair = pooled -> Two(8) @pair
  output mask = pair.b -> conv(classes, 1) @head
  output deep = pooled
}
"""


def names(graph: Graph) -> list[str]:
    return [stage.name for stage in stages(graph)]


def test_taps_ends_of_instances_and_outputs_in_graph_order() -> None:
    assert names(parse(TEXT)) == ["tapped", "deep", "pair.first", "pair.second", "mask"]


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("tapped", "relu"),
        ("pooled", "max_pool"),
        ("deep", "max_pool"),
        ("pair.a", "relu"),
        ("pair.b", "relu"),
        ("stem", "conv"),
        ("image", "input"),
    ],
)
def test_every_name_of_a_value_can_be_asked_for(name: str, node: str) -> None:
    graph = parse(TEXT)
    (stage,) = chosen(graph, [name])
    assert stage.name == name
    assert graph[stage.value.node].op.name == node


def test_names_are_kept_in_order_and_once() -> None:
    found = chosen(parse(TEXT), ["mask", "tapped", "mask"])
    assert [stage.name for stage in found] == ["mask", "tapped"]


def test_all_unknown_names_are_told_with_the_nearest() -> None:
    with pytest.raises(SegError) as caught:
        chosen(parse(TEXT), ["taped", "mask", "nowhere"])
    assert [d.code for d in caught.value.diagnostics] == ["E0105", "E0105"]
    assert caught.value.diagnostics[0].helps[0].text == "did you mean `tapped`?"
    assert "pair.first" in caught.value.diagnostics[1].helps[0].text


def test_a_path_that_several_instances_share_names_none_of_them() -> None:
    graph = load("vgg16")
    assert "features" not in names(graph)
    with pytest.raises(SegError):
        chosen(graph, ["features"])


@pytest.mark.parametrize("spec", stock_names())
def test_stock_specs(spec: str) -> None:
    graph = load(spec)
    found = stages(graph)
    assert len({stage.name for stage in found}) == len(found)
    values = {stage.value for stage in found}
    assert {graph.operands(node)[0] for node in graph.outputs} <= values
    place = {node: i for i, node in enumerate(graph)}
    order = [place[stage.value.node] for stage in found]
    assert order == sorted(order)
    # What a report prints, a user may ask for.
    asked = chosen(graph, [stage.name for stage in found])
    assert [stage.value for stage in asked] == [stage.value for stage in found]


@pytest.mark.parametrize("spec", ["unet", "fcn8s", "deeplabv3"])
def test_every_node_has_one_row(spec: str) -> None:
    graph = load(spec)
    found = every_value(graph)
    assert len({stage.name for stage in found}) == len(found)
    computing = [n.name for n in graph.nodes() if not isinstance(n.op, Input | Output | Weight)]
    assert [stage.value.node for stage in found] == computing


def test_the_outermost_instance_gives_the_name() -> None:
    assert {"up1", "up4", "inc"} <= set(names(load("unet")))
    assert "up1.conv" not in names(load("unet"))
    assert {"layer1.0", "layer4", "logits"} <= set(names(load("resnet")))
    assert {"pool3", "pool4", "fc7", "score"} <= set(names(load("fcn8s")))
