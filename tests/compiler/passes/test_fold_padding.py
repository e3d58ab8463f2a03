from __future__ import annotations

import pytest

from compiler.passes.fold_padding import fold_padding
from segdsl.analysis.params import params
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Value
from segdsl.ops.conv import Conv
from segdsl.types import Sides
from tests.support.peers import need
from tests.support.programs import graph, net


def convs(made: Graph) -> list[Sides]:
    return [node.op.sides for node in made.nodes() if isinstance(node.op, Conv)]


def pads(made: Graph) -> int:
    return sum(node.op.name == "pad" for node in made.nodes())


FOLDED = [
    ("image -> pad([0, 1, 2, 3]) -> conv(4, 3, stride=2) @c", Sides(0, 1, 2, 3)),
    ("image -> pad(1) -> conv(4, 3, pad=[1, 2, 1, 2]) @c", Sides(2, 3, 2, 3)),
    ("image -> pad(1) -> pad([1, 0, 0, 0]) -> conv(4, 3) @c", Sides(2, 1, 1, 1)),
    ("image -> pad(1, mode=constant) -> conv(4, 3, dilation=2) @c", Sides(1, 1, 1, 1)),
]
SIZES = "input image: f32[N, 3, H, W] where H >= 8, W >= 8"


@pytest.mark.parametrize(("body", "sides"), FOLDED)
def test_a_margin_of_zeros_becomes_the_convolution_s(body: str, sides: Sides) -> None:
    before = graph(net(f"output y = {body}", given=SIZES))
    after = fold_padding(before)
    assert (pads(after), convs(after)) == (0, [sides])
    assert params(after) == params(before)
    (name,) = before.outputs
    assert shapes(after)[Value(name)] == shapes(before)[Value(name)]
    assert fold_padding(after) is after


def test_every_convolution_that_reads_it() -> None:
    block = "block B(x: [N, C, h, w]) -> (y: [N, 4, h, w]) {\n  p = x -> pad(1)\n"
    block += "  y = (p -> conv(4, 3) @a) + (p -> conv(4, 3) @b)\n}"
    after = fold_padding(graph(net("output y = image -> B", block)))
    assert pads(after) == 0
    assert convs(after) == [Sides(1, 1, 1, 1)] * 2


@pytest.mark.parametrize(
    "body",
    [
        "output y = image -> pad(1) -> max_pool(3)",
        "output y = image -> pad(1) -> avg_pool(3)",
        "output y = image -> pad(1, mode=reflect) -> conv(4, 3) @c",
        "output y = image -> pad(1, mode=constant, value=2.0) -> conv(4, 3) @c",
        "output y = image -> pad(1) -> conv_transpose(4, 3) @c",
        "p = image -> pad(1)\noutput y = p -> conv(4, 3) @c",  # `p` is known by name
        "output y = image -> pad(1)",
        "layer f = conv(3, 3) @c\noutput y = image -> pad(1) -> f -> pad(1) -> f",
    ],
)
def test_what_must_not_be_folded_stays(body: str) -> None:
    before = graph(net(body, given=SIZES))
    assert fold_padding(before) is before


@pytest.mark.parametrize(("body", "sides"), FOLDED)
def test_it_computes_the_same(body: str, sides: Sides) -> None:
    torch = need("torch")
    from compiler.to_torch import to_torch
    from compiler.weights import initialise

    before = graph(net(f"output y = {body}", given=SIZES))
    weights = initialise(params(before), 0)
    image = torch.randn(1, 3, 9, 10)
    with torch.no_grad():
        ours, theirs = (to_torch(g, weights)(image) for g in (fold_padding(before), before))
    assert float((ours - theirs).abs().max()) <= 1e-6
