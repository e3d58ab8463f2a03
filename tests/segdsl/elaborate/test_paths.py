"""Weight paths: written, by default, shared, and refused."""

from __future__ import annotations

import pytest

from tests.support.programs import codes, examined, net, places, weights

BLOCK = """
block Two(x: tensor, out: int) -> (y: tensor) {
  y = x -> conv(out, 1, bias=false) @a -> conv(out, 1, bias=false) @b.c
}
"""


def test_a_path_joins_the_instances_around_it() -> None:
    text = net("output y = image -> Two(4) @backbone.layer1", BLOCK)
    assert weights(text) == ["backbone.layer1.a.weight", "backbone.layer1.b.c.weight"]


def test_a_dot_adds_no_level() -> None:
    assert weights(net("output y = image -> Two(4) @.", BLOCK)) == ["a.weight", "b.c.weight"]


def test_expressions_in_a_path() -> None:
    body = """
    word = "left"
    var x = image
    for i in range(2) {
      x = x -> conv(4, 1, bias=false) @{word}.layer{i + 1}.{2 * i}
    }
    output y = x
    """
    assert weights(net(body)) == ["left.layer1.0.weight", "left.layer2.2.weight"]


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ("output y = image -> conv(4, 1)", ["y.conv"]),
        ("a = image -> conv(4, 1)\noutput y = a", ["a.conv"]),
        ("output y = image -> conv(4, 1) -> conv(4, 1)", ["y.conv1", "y.conv2"]),
        ("output y = image -> conv(4, 1) -> bn -> conv(4, 1)", ["y.conv1", "y.bn", "y.conv2"]),
        ("image -> conv(4, 1) as a -> conv(4, 1) as y\noutput y", ["a.conv1", "y.conv2"]),
        ("output y = image -> conv(4, 1) @p -> conv(4, 1)", ["p", "y.conv"]),
        (
            "output y = image -> repeat 2 { conv(3, 1) }",
            ["y.0.conv", "y.1.conv"],
        ),
        (
            "var x = image\nfor i in range(2) { x = x -> conv(3, 1) }\noutput y = x",
            ["x.0.conv", "x.1.conv"],
        ),
    ],
)
def test_default_paths(body: str, paths: list[str]) -> None:
    names = weights(net(body))
    assert list(dict.fromkeys(name.rpartition(".")[0] for name in names)) == paths


def test_default_paths_of_blocks() -> None:
    text = net("output y = image -> Two(4) -> Two(4)", BLOCK)
    assert weights(text)[::2] == ["y.Two1.a.weight", "y.Two2.a.weight"]


def test_one_path_for_two_weights() -> None:
    text = net("output y = image -> conv(3, 1) @a -> conv(3, 1) @a")
    assert places(text) == [("E5001", "@a")]


def test_one_path_in_every_turn() -> None:
    text = net("output y = image -> repeat 3 { conv(3, 1) @a }")
    assert codes(text) == ["E5002"]


def test_the_loop_that_lacks_an_index_is_the_one_named() -> None:
    body = """
    output y = image -> repeat 4 as i { repeat 2 as k { conv(3, 1) @a{k} } }
    """
    (found,) = examined(net(body)).diagnostics
    assert found.code == "E5002"
    assert found.message.startswith("all 4 turns")
    assert found.helps[0].edits[0].text == "@a{k}.{i}"


def test_a_tensor_is_no_level() -> None:
    text = net("output y = image -> conv(3, 1) @a -> conv(3, 1) @a.weight")
    assert codes(text) == ["E5007"]


@pytest.mark.parametrize(("path", "code"), [("g", "E5001"), ("g.conv", "E5007")])
def test_a_weight_beside_a_module_of_its_name(path: str, code: str) -> None:
    body = f"weight g: [3] = ones\noutput y = image * per_channel(g) -> conv(3, 1) @{path}"
    assert codes(net(body)) == [code]


@pytest.mark.parametrize("piece", ["1 / 2", "-1", "true", '"a-b"', '""', "[1]"])
def test_what_no_path_can_hold(piece: str) -> None:
    assert codes(net(f"output y = image -> conv(3, 1) @a{{{piece}}}")) == ["E5010"]


def test_a_path_of_more_than_512_characters() -> None:
    path = ".".join(["a" * 50] * 11)
    assert codes(net(f"output y = image -> conv(3, 1) @{path}")) == ["E5010"]
