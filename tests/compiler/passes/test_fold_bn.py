from __future__ import annotations

import pytest

from compiler.passes.fold_bn import fold_bn
from segdsl.analysis.params import params
from segdsl.ir import Folded, Graph
from segdsl.ops.conv import Conv
from segdsl.ops.deform import DeformConv
from segdsl.ops.elementwise import Add
from segdsl.ops.norm import BatchNorm
from segdsl.printer import print_graph
from segdsl.program import load, parse
from segdsl.types import Pair
from tests.support.graphs import Builder
from tests.support.programs import graph, net


def norms(graph: Graph) -> int:
    return sum(isinstance(node.op, BatchNorm) for node in graph.nodes())


def test_a_norm_goes_into_the_convolution_before_it() -> None:
    before = graph(
        net("output y = image -> conv(4, 3, pad=1, bias=false) @c -> bn(eps=1e-3) @n -> relu")
    )
    after = fold_bn(before)
    assert [node.op.name for node in after.nodes()] == ["input", "conv", "relu", "output"]
    (conv,) = (node for node in after.nodes() if isinstance(node.op, Conv))
    assert conv.path == "c"
    assert isinstance(conv.op, Conv)
    assert conv.op.bias
    assert conv.folded == Folded("n", BatchNorm(eps=1e-3), bias=False)
    assert norms(before) == 1


def test_a_folded_graph_needs_the_arrays_of_the_file() -> None:
    before = graph(
        net("output y = image -> conv(4, 3, pad=1) @c -> bn @n -> conv_transpose(2, 2) @d -> bn @m")
    )
    after = fold_bn(before)
    assert norms(after) == 0
    assert params(after) == params(before)


@pytest.mark.parametrize(
    "body",
    [
        "c = image -> conv(4, 3, pad=1) @c\n output y = (c -> bn @n) + c",
        "c = image -> conv(4, 3, pad=1) @c\n output y = c -> bn @n",  # `c` is known by name
        "c = image -> conv(4, 3, pad=1) @c\n output y = c -> bn @n\n output z = c",
        "output y = image -> relu -> bn @n",
        "output y = image -> linear(4) @c -> bn @n",
        "layer f = conv(3, 3, pad=1) @c\n output y = (image -> f -> bn @n) + (image -> f -> bn @m)",
        "layer b = bn @n\noutput y = (image -> conv(3, 1) @c -> b) + (image -> conv(3, 1) @d -> b)",
    ],
)
def test_what_must_not_be_folded_stays(body: str) -> None:
    before = graph(net(body))
    assert fold_bn(before) is before


SEPARABLE = """\
seg 1
block Separable(x: [N, C, h, w], out: int) -> (y: [N, out, h, w]) {
  y = x -> conv(C, 3, pad=1, groups=C, bias=false) @depth -> conv(out, 1, bias=false) @point
}
net T() {
  input image: f32[N, 3, H, W]
  BODY
}
"""


def test_a_convolution_that_ends_a_block_is_folded() -> None:
    """The norm behind the block is worked in: the block's result is no value any more."""
    body = "output y = image -> Separable(4) @a -> bn @n -> relu -> Separable(4) @b"
    before = graph(SEPARABLE.replace("BODY", body))
    after = fold_bn(before)
    assert norms(after) == 0
    assert {"a", "b"} <= before.stages.keys()
    assert before.stages.keys() - after.stages.keys() == {"a"}
    (point,) = (node for node in after.nodes() if node.path == "a.point")
    assert point.folded == Folded("n", BatchNorm(), bias=False)


@pytest.mark.parametrize(
    "body",
    [
        "known = image -> Separable(4) @a\n  output y = known -> bn @n",
        "output y = image -> Separable(4) @a as known -> bn @n",
        "output y = image -> Separable(4) @a -> relu -> bn @n",
    ],
)
def test_one_that_the_net_names_stays(body: str) -> None:
    before = graph(SEPARABLE.replace("BODY", body))
    assert fold_bn(before) is before


def test_of_two_norms_in_a_row_the_first_is_folded() -> None:
    after = fold_bn(graph(net("output y = image -> conv(4, 3, pad=1) @c -> bn @n -> bn @m")))
    assert [node.path for node in after.nodes() if node.path] == ["c", "m"]


def test_the_text_of_a_folded_graph_is_the_program_before() -> None:
    before = graph(
        net("output y = image -> conv(4, 3, pad=1, bias=false) @c -> bn(eps=1e-3) @n -> relu")
    )
    assert parse(print_graph(fold_bn(before))) == before


@pytest.mark.parametrize(
    "name", ["unet_resnet34", "deeplabv3", "fcn_resnet50", "seresnet50", "unet", "upernet"]
)
def test_stock_networks_have_no_norm_left(name: str) -> None:
    before = load(name)
    after = fold_bn(before)
    assert norms(after) == 0
    assert len(after) == len(before) - norms(before)
    assert params(after).keys() == params(before).keys()
    assert all(value.node in after for value in after.stages.values())
    assert after.stages.keys() == before.stages.keys()


@pytest.mark.parametrize("modulated", [False, True])
def test_deformable_convolutions_take_their_norms(modulated: bool) -> None:
    before = load("dcn_resnet50", modulated=modulated)
    after = fold_bn(before)
    assert norms(after) == 0
    assert params(after).keys() == params(before).keys()
    folded = [node for node in after.nodes() if isinstance(node.op, DeformConv)]
    assert len(folded) == 13
    assert all(node.folded is not None for node in folded)
    assert all(node.op.bias for node in folded if isinstance(node.op, DeformConv))
    gone = {f"layer{i + 2}.{k}.conv2" for i, n in enumerate((4, 6, 3)) for k in range(n)}
    assert before.stages.keys() - after.stages.keys() == gone
    assert all(value.node in after for value in after.stages.values())


def test_a_convolution_with_a_second_reader_stays() -> None:
    builder = Builder()
    conv = builder.add(Conv(4, Pair(1, 1)), builder.input(), at="c")
    norm = builder.add(BatchNorm(), conv, at="n")
    builder.output(builder.add(Add(), norm, conv))
    assert fold_bn(builder.graph) is builder.graph


def test_a_convolution_that_is_an_output_stays() -> None:
    builder = Builder()
    conv = builder.add(Conv(4, Pair(1, 1)), builder.input(), at="c")
    builder.output(conv, "raw")
    builder.output(builder.add(BatchNorm(), conv, at="n"), "normed")
    assert fold_bn(builder.graph) is builder.graph
