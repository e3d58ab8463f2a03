"""Outlined source computes what flat source computes, whatever the blocks look like."""

from __future__ import annotations

import re

import pytest

from tests.support.peers import need

torch = need("torch")

from compiler.to_torch.emit import emit  # noqa: E402
from segdsl.ir import Graph, Node, Value  # noqa: E402
from segdsl.ops.activation import Relu, Sigmoid  # noqa: E402
from segdsl.ops.combine import Concat  # noqa: E402
from segdsl.ops.conv import Conv  # noqa: E402
from segdsl.ops.elementwise import Add, Mul  # noqa: E402
from segdsl.ops.pool import GlobalAvgPool, MaxPool  # noqa: E402
from segdsl.ops.ports import Output, Weight  # noqa: E402
from segdsl.ops.regularise import Dropout  # noqa: E402
from segdsl.program import parse  # noqa: E402
from segdsl.types import Pair, Sides  # noqa: E402
from tests.compiler.to_torch.same import check_forms, images, pair, results  # noqa: E402
from tests.support.graphs import Builder  # noqa: E402

K1, K3, P1 = Pair(1, 1), Pair(3, 3), Sides(1, 1, 1, 1)


def net(body: str, items: str = "", params: str = "") -> Graph:
    head = "input image: f32[N, 3, H, W] where H % 16 == 0, W % 16 == 0"
    return parse(f"seg 1\n{items}\nnet T({params}) {{\n{head}\n{body}\n}}\n")


def classes(text: str) -> list[str]:
    return re.findall(r"^class (\w+)", text, re.MULTILINE)


UNIT = """
block Unit(x: [N, C, h, w], out: int, stride: int = 1) -> (y: [N, out, _, _]) {
  y = x -> conv(out, 3, stride=stride, pad=1, bias=false) @conv -> bn @bn -> relu
}
"""

RESIDUAL = """
block Residual(x: [N, C, h, w], out: int, stride: int = 1) -> (y: [N, out, _, _]) {
  body = x -> conv(out, 3, stride=stride, pad=1) @conv1 -> relu -> conv(out, 3, pad=1) @conv2
  if stride != 1 or C != out {
    skip = x -> conv(out, 1, stride=stride, bias=false) @downsample.0 -> bn @downsample.1
    y = relu(body + skip)
  } else {
    y = relu(body + x)
  }
}
"""

DENSE = """
block Layer(x: [N, C, h, w], growth: int) -> (y: [N, growth, h, w]) {
  y = x -> bn @norm -> relu -> conv(growth, 3, pad=1) @conv -> dropout(0.2)
}
block Dense(x: [N, C, h, w], n: int, growth: int, keep: bool = true) -> (y) {
  var maps = [x]
  for i in range(n) {
    maps += [concat(maps) -> Layer(growth) @layers.{i}]
  }
  y = concat(maps if keep else maps[1:])
}
"""

PROGRAMS = {
    "one block": (UNIT, "output y = image -> Unit(4) @a -> Unit(8, stride=2) @b"),
    "repeat": (UNIT, "output y = image -> Unit(4) @s.0 -> repeat 3 as k { Unit(4) @s.{k + 1} }"),
    "chain with gaps": (
        "",
        "output y = image -> conv(4, 3, pad=1) @f.0 -> relu -> max_pool(2)"
        " -> conv(5, 3) @f.3 -> relu -> dropout(0.3) -> conv(2, 1) @f.6",
    ),
    "gaps and a tap": (
        "",
        "image -> conv(4, 3, pad=1) @f.0 -> relu as a -> conv(4, 1) @f.2 -> relu as b\n"
        "output y = a + b",
    ),
    "numbers that cannot be filled": (
        "",
        "output y = image -> conv(4, 1) @f.0 -> relu -> conv(4, 1) @f.1 -> conv(4, 1) @f.7",
    ),
    "optional part": (
        RESIDUAL,
        "output y = image -> Residual(4) @r.0 -> Residual(4) @r.1"
        " -> Residual(8, stride=2) @r.2 -> Residual(8) @r.3",
    ),
    "dense": (
        DENSE,
        "d = image -> Dense(3, 4) @d\ne = d -> max_pool(2) -> Dense(5, 2) @e\n"
        "output y = e -> Dense(4, 3, keep=false) @f -> conv(2, 1) @head",
    ),
    "dense by hand": (
        UNIT,
        "a = image -> Unit(4) @l.0\nb = concat([image, a]) -> Unit(4) @l.1\n"
        "output y = concat([image, a, b]) -> Unit(2) @l.2",
    ),
    "branches": (
        UNIT,
        "output y = concat([for i, c in enumerate([2, 4, 6, 9]): image -> Unit(c) @b.{i}])"
        " -> conv(2, 1) @head",
    ),
    "branches in even steps": (
        UNIT,
        "output y = concat([for i in range(4): image -> Unit(2 + 3 * i) @b.{i}])"
        " -> conv(2, 1) @head",
    ),
    "branches on two maps": (
        UNIT,
        "z = image * 0.5\noutput y = concat([image -> Unit(2) @b.0, z -> Unit(2) @b.1])",
    ),
    "shared layer": (
        "",
        "layer tower = conv(3, 3, pad=1) @tower\n"
        "a = image -> tower -> relu -> tower\noutput y = a + (image -> max_pool(1) -> tower)",
    ),
    "shared block": (
        UNIT,
        "layer tower = Unit(3) @tower\noutput y = image -> tower -> tower -> Unit(2) @head",
    ),
    "bare weights": (
        "block Gamma(x: [N, C, h, w]) -> (y: [N, C, h, w]) {\n"
        "  weight gamma: [C] = constant(0.5)\n"
        "  y = x + (x -> conv(C, 1) @conv) * per_channel(gamma)\n}",
        "output y = image -> Gamma @a -> Gamma @b.0 -> scale @c",
    ),
    "block without arrays": (
        "block Squash(x: [N, C, h, w]) -> (y: [N, C, h, w]) { y = x * sigmoid(x) }\n" + UNIT,
        "output y = image -> Squash -> Unit(4) @a -> Squash -> Squash",
    ),
    "no level": (
        "block Pair(x: [N, C, h, w], out: int) -> (y: [N, out, h, w]) {\n"
        "  y = x -> conv(out, 1) @left -> relu -> conv(out, 1) @right\n}",
        "output y = image -> Pair(4) @. -> Pair(5) @again",
    ),
    "two outputs of a block": (
        "block Two(x: [N, C, h, w]) -> (a: [N, 2, h, w], b: [N, 3, h, w]) {\n"
        "  a = x -> conv(2, 1) @a\n  b = a -> conv(3, 1) @b\n}",
        "t = image -> Two @t\nu = t.b -> Two @u\noutput y = t.a + u.a\noutput z = u.b",
    ),
    "one of two outputs": (
        "block Two(x: [N, C, h, w]) -> (a: [N, 2, h, w], b: [N, 3, h, w]) {\n"
        "  a = x -> conv(2, 1) @a\n  b = a * 2.0 -> conv(3, 1) @b\n}",
        "t = image -> Two @t\noutput y = t.a",
    ),
    "skips into blocks": (
        UNIT + "block Up(deep: [N, C, h, w], skip: [N, S, 2*h, 2*w], out: int) -> (y) {\n"
        "  up = deep -> conv_transpose(out, 2, stride=2) @up\n"
        "  y = concat([skip, up]) -> Unit(out) @conv\n}",
        "a = image -> Unit(4) @d1\nb = a -> max_pool(2) -> Unit(8) @d2\n"
        "c = b -> max_pool(2) -> Unit(16) @d3\n"
        "output y = c -> Up(b, 8) @u2 -> Up(a, 4) @u1 -> conv(2, 1) @head",
    ),
    "like across blocks": (
        "block Pool(x: [N, C, h, w], out: int) -> (y: [N, out, h, w]) {\n"
        "  y = x -> global_avg_pool -> conv(out, 1) @1 -> relu -> resize(like=x, mode=bilinear)\n}",
        "output y = concat([image, image -> Pool(4) @p]) -> resize(2x, mode=nearest)",
    ),
    "max pool with indices": (
        "",
        "p = image -> conv(4, 3, pad=1) @a -> max_pool(2, indices=true)\n"
        "u = p.values -> conv(4, 1) @b -> max_unpool(p.indices, like=image)\n"
        "output y = u -> conv(2, 1) @c",
    ),
    "split": (
        "",
        "a, b = image -> conv(6, 1) @a -> split(2)\nc, d = b -> split([1, 2])\n"
        "output y = concat([d, c]) + a",
    ),
    "path with its own child": (
        "block Odd(x: [N, C, h, w]) -> (y: [N, C, h, w]) {\n"
        "  y = x -> conv(C, 1) @. -> bn @norm\n}",
        "output y = image -> Odd @odd",
    ),
    "words of Python as names": (
        "block case(x: [N, C, h, w], type: int, i: int, f: int) -> (torch: [N, i, h, w]) {\n"
        "  print = concat([for k in range(3): x -> conv(type, 1) @b.{k}])\n"
        "  torch = print -> conv(f, 1) @c -> conv(i, 1) @d\n}",
        "self = image -> case(2, 4, 5) @a -> case(3, 4, 6) @b2\noutput list = self",
    ),
    "aux": (
        UNIT,
        "deep = image -> Unit(4) @a -> Unit(8, stride=2) @b\n"
        "output y = deep -> conv(2, 1) @head\n"
        "train output aux = deep -> Unit(4) @aux.0 -> dropout(0.1) -> conv(2, 1) @aux.1",
    ),
    "aux before the head": (
        UNIT,
        "a = image -> Unit(4) @a\n"
        "train output aux = a -> dropout(0.1) -> conv(2, 1) @aux\n"
        "train output seen = a\n"
        "output y = a -> dropout(0.5) -> Unit(8, stride=2) @b -> conv(2, 1) @head",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_outlined_is_flat(name: str) -> None:
    items, body = PROGRAMS[name]
    check_forms(net(body, items))


def test_blocks_become_classes() -> None:
    items, body = PROGRAMS["skips into blocks"]
    text = emit(net(body, items))
    assert classes(text) == ["Unit", "Up", "T"]
    assert "self.conv = Unit(skip_channels + out, out)" in text


def test_an_optional_part_is_a_flag() -> None:
    items, body = PROGRAMS["optional part"]
    text = emit(net(body, items))
    assert classes(text) == ["Residual", "T"]
    assert "else nn.Identity()" in text


def test_dense_blocks_are_loops() -> None:
    items, body = PROGRAMS["dense"]
    text = emit(net(body, items))
    assert classes(text) == ["Layer", "Dense", "Dense_2", "T"]
    assert "[Layer(cin + i * growth, growth) for i in range(n)]" in text


def test_repeats_stay_repeats() -> None:
    items, body = PROGRAMS["repeat"]
    assert "*(Unit(4, 4) for _ in range(3))" in emit(net(body, items))


def test_steps_of_pythagoras() -> None:
    items, body = PROGRAMS["branches in even steps"]
    assert "[Unit(3, 2 + i * 3) for i in range(4)]" in emit(net(body, items))


def test_training_outputs_cost_nothing_outside_training() -> None:
    items, body = PROGRAMS["aux"]
    graph = net(body, items)
    module, _ = pair(graph)
    calls: list[str] = []
    module.get_submodule("aux.0").register_forward_hook(lambda *_: calls.append("aux"))
    inputs = images(graph)
    assert results(module.eval(), inputs)[1] is None
    assert calls == []
    assert results(module.train(), inputs)[1] is not None
    assert calls == ["aux"]


def test_net_parameters_stay_parameters() -> None:
    graph = net(
        "x = image -> Unit(width) @a -> Unit(2 * width) @b\noutput y = x -> conv(classes, 1) @head",
        UNIT,
        "classes: int = 5, width: int = 4",
    )
    module, _ = pair(graph)
    other = type(module)(classes=7, width=3)
    assert other.get_parameter("head.weight").shape == (7, 6, 1, 1)
    assert other(torch.rand(2, 3, 16, 16)).shape == (2, 7, 16, 16)
    assert "def __init__(self, classes: int = 5, width: int = 4):" in emit(graph)


def test_structure_is_no_parameter() -> None:
    graph = net(
        "var x = image\nfor i in range(depth) { x = x -> Unit(width * 2 ** i) @a{i} }\n"
        "output y = x",
        UNIT,
        "depth: int = 3, width: int = 2",
    )
    text = emit(graph)
    assert "def __init__(self, width: int = 2):" in text
    assert "self.a2 = Unit(2 * width, 4 * width)" in text


# -- graphs as passes might leave them


def conv(builder: Builder, x: Value, out: int, at: str) -> Value:
    return builder.add(Conv(out, K3, pad=P1), x, at=at)


def test_torn_blocks_dissolve() -> None:
    """A region whose middle lies outside of it cannot be one call."""
    builder = Builder()
    image = builder.input()
    with builder.instance("Block", "b"):
        first = conv(builder, image, 4, "first")
    between = builder.add(Relu(), first)
    scope = builder.graph[first.node].scope
    second = builder.graph.add(
        Node("second", Conv(4, K1), path="b.second", label="conv", scope=scope), (between,)
    )
    builder.output(second)
    assert classes(emit(builder.graph)) == ["Net"]
    check_forms(builder.graph)


def test_blocks_that_need_each_other_dissolve() -> None:
    builder = Builder()
    image = builder.input()
    with builder.instance("A", "a"):
        a1 = conv(builder, image, 4, "one")
        a2 = conv(builder, image, 4, "two")
    scope_a = builder.graph[a1.node].scope
    with builder.instance("B", "b"):
        b1 = conv(builder, a1, 4, "one")
        b2 = conv(builder, b1, 4, "two")
    last = builder.graph.add(Node("last", Add(), label="add", scope=scope_a), (a2, b2))
    builder.output(last)
    check_forms(builder.graph)


def test_random_numbers_are_drawn_in_the_order_of_the_graph() -> None:
    """Calling block A in one piece would draw its second dropout before the one between."""
    builder = Builder()
    image = builder.input()
    with builder.instance("A", "a"):
        one = builder.add(Dropout(0.5), conv(builder, image, 4, "one"))
    scope = builder.graph[one.node].scope
    other = builder.add(Dropout(0.5), conv(builder, image, 4, "other"))
    graph = builder.graph
    two = graph.add(Node("two", Dropout(0.5), label="dropout", scope=scope), (one,))
    builder.output(builder.add(Add(), two, other))
    check_forms(graph)


def test_dead_nodes_keep_their_arrays_and_are_not_called() -> None:
    builder = Builder()
    image = builder.input()
    with builder.instance("A", "a"):
        used = conv(builder, image, 4, "used")
        conv(builder, used, 4, "dead")
        used = builder.add(Relu(), used)
    conv(builder, image, 2, "dead")
    builder.output(used)
    module = check_forms(builder.graph)
    for name in ("a.dead.weight", "dead.weight"):
        module.get_parameter(name).data.fill_(float("nan"))
    assert torch.isfinite(module(*images(builder.graph))).all()


def test_one_input_is_an_output() -> None:
    builder = Builder()
    image = builder.input()
    builder.output(image, "same")
    builder.output(conv(builder, image, 2, "head"), "other")
    check_forms(builder.graph)


def test_several_inputs_and_a_gate() -> None:
    builder = Builder()
    left, right = builder.input(name="left"), builder.input(name="right")
    with builder.instance("Gate", "gate", reduction=2) as gate:
        pooled = builder.add(GlobalAvgPool(), right)
        mask = builder.add(Sigmoid(), builder.add(Conv(3, K1), pooled, at="fc"))
        out = builder.add(Mul(), left, mask)
    builder.ports(gate, {"x": left, "by": right}, {"y": out})
    builder.output(out)
    check_forms(builder.graph)
    assert "def forward(self, x: Tensor, by: Tensor) -> Tensor:" in emit(builder.graph)


def test_blocks_with_one_name_and_other_bodies() -> None:
    builder = Builder()
    x = builder.input()
    for i, out in enumerate((4, 4, 5)):
        with builder.instance("Block", f"b{i}", out=out):
            x = conv(builder, x, out, "conv")
            if i == 1:
                x = builder.add(Sigmoid(), x)
            x = builder.add(Relu(), x)
    builder.output(x)
    text = emit(builder.graph)
    assert classes(text) == ["Block", "Block_2", "Net"]
    assert "`Block` as it is at b1." in text
    check_forms(builder.graph)


def test_deep_nesting_is_dissolved() -> None:
    builder = Builder()
    x = builder.input()
    with Nested(builder, 60) as last:
        x = conv(builder, x, 4, "a")
        x = conv(builder, x, 4, "b")
    assert last.path.count(".") == 59
    builder.output(x)
    check_forms(builder.graph)


class Nested:
    def __init__(self, builder: Builder, depth: int) -> None:
        self._contexts = [builder.instance("Level", "v") for _ in range(depth)]

    def __enter__(self):  # type: ignore[no-untyped-def]
        return [context.__enter__() for context in self._contexts][-1]

    def __exit__(self, *_: object) -> None:
        for context in reversed(self._contexts):
            context.__exit__(None, None, None)


def test_weights_read_in_an_inner_block() -> None:
    builder = Builder()
    image = builder.input()
    gamma = builder.weight(Weight((3, 1, 1)), "gamma")
    shaped = builder.add(Concat(axis=0), gamma)
    with builder.instance("Inner", "inner"):
        x = builder.add(MaxPool(K1), conv(builder, image, 3, "conv"))
        from segdsl.ops.tensor import Reshape

        bias = builder.add(Reshape((1, 3, 1, 1)), shaped)
        y = builder.add(Mul(), x, bias)
    builder.output(y)
    check_forms(builder.graph)


def test_an_output_that_was_put_into_a_block() -> None:
    builder = Builder()
    image = builder.input()
    with builder.instance("Inner", "inner") as inner:
        x = conv(builder, conv(builder, image, 3, "a"), 4, "b")
        builder.graph.add(Node("output.out", Output("out"), label="out", scope=(inner,)), (x,))
    module = check_forms(builder.graph)
    assert [name for name, _ in module.named_children()] == ["inner"]


LAYERS = """
block Tower(x: [N, C, h, w], late: bool) -> (y: [N, 2, h, w]) {
  layer score = conv(2, 1) @score
  layer blocks = identity @blocks
  layer end = bn @end.0
  var f = x
  for i in range(3) {
    f = f -> conv(C, 3, pad=1) @blocks.{i} -> relu
    if late {
      f = f -> bn @norms.{i}
    }
  }
  y = f -> end -> score
}"""


@pytest.mark.parametrize("late", ["true", "false"])
def test_layers_have_their_place_in_the_state_dict(late: str) -> None:
    body = f"layer last = conv(2, 1) @last\na = image -> Tower({late}) @a\noutput y = a -> last"
    graph = net(body + f"\noutput z = image -> Tower({late}) @b", LAYERS)
    module = check_forms(graph)
    found = list(dict.fromkeys(".".join(key.split(".")[:2]) for key in module.state_dict()))
    norms = ["norms"] if late == "true" else []
    assert found[:2] == ["last.weight", "last.bias"]
    assert found[2:] == [f"{x}.{k}" for x in "ab" for k in ("score", "blocks", "end", *norms)]
