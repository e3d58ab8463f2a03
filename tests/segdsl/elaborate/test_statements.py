"""Layers, weights, `init`, inputs, outputs, constants, typed bindings."""

from __future__ import annotations

import pytest

from segdsl import parse
from segdsl.analysis.params import count, params
from segdsl.ops.ports import Output
from segdsl.printer import print_graph
from tests.support.programs import codes, examined, graph, net, places, shape, weights

END = "output y = image -> relu"


def test_a_layer_has_one_set_of_weights() -> None:
    body = "layer t = conv(3, 3, pad=1) @t\na = image -> t\noutput y = concat([a -> t, t(image)])"
    made = graph(net(body))
    assert weights(net(body)) == ["t.weight", "t.bias"]
    assert [n.path for n in made.nodes() if n.op.name == "conv"] == ["t", "t", "t"]
    assert count(params(made)) == 3 * 3 * 9 + 3


def test_a_layer_of_a_block() -> None:
    items = "block A(x: tensor) -> (y: tensor) {\n y = x -> conv(3, 1) @c -> relu\n}"
    body = "layer t = A @head\noutput y = image -> t -> t"
    assert weights(net(body, items)) == ["head.c.weight", "head.c.bias"]


def test_a_layer_keeps_its_input_channels() -> None:
    body = "layer t = conv(8, 1) @t\na = image -> t\noutput y = a -> t"
    (found,) = examined(net(body)).diagnostics
    assert found.code == "E5009"
    assert found.span is not None
    assert (found.span.line, found.labels[0].span.line) == (7, 6)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("layer t = conv(8, kernal=1) @t\noutput y = image -> t", "E2001"),
        ("layer t = conv(8) @t\noutput y = image -> t", "E2004"),
        ("layer t = conv(8, 1) @t\noutput y = image -> t(3)", "E2002"),
        ("layer t = conv(8, 1) @t\noutput y = image -> t(out=3)", "E2001"),
        ("layer t = deform_conv(8, 1) @t\noutput y = image -> t", "E2004"),
        ("layer t = deform_conv(8, 1, offset=image) @t\noutput y = image -> t(image)", "E2001"),
        ("layer t = conv(8, 1) @t\noutput y = image -> t @u", "E2017"),
        ("layer t = conv(8, 1) @t\nlayer u = t\noutput y = image -> u", "E2015"),
        ("layer conv = linear(8)\noutput y = image -> relu", "E1009"),
    ],
)
def test_what_layers_refuse(body: str, code: str) -> None:
    assert codes(net(body)) == [code]


def test_a_layer_stands_in_the_order_of_the_weights_where_it_is_declared() -> None:
    body = """layer score = conv(2, 1) @head.score
layer tower = Pair @head.tower
a = image -> conv(4, 1) @stem
output y = a -> conv(4, 1) @head.first -> tower -> score
"""
    items = "block Pair(x: tensor) -> (y: tensor) {\n y = x -> conv(3, 1) @b -> conv(2, 1) @a\n}"
    wanted = ["head.score", "head.tower.b", "head.tower.a", "head.first", "stem"]
    found = weights(net(body, items))
    assert found == [f"{path}.{tensor}" for path in wanted for tensor in ("weight", "bias")]
    made = graph(net(body, items))
    again = parse(print_graph(made))
    assert again == made
    assert list(params(again)) == found


def test_the_order_belongs_to_the_equality_of_graphs() -> None:
    early = "layer t = conv(3, 1) @t\na = image -> conv(3, 1) @a\noutput y = a -> t"
    late = "a = image -> conv(3, 1) @a\nlayer t = conv(3, 1) @t\noutput y = a -> t"
    assert graph(net(early)) != graph(net(late))
    assert graph(net(late)).path_order == ()


def test_a_layer_that_nobody_uses_only_keeps_its_place() -> None:
    body = "layer kept = identity @a\nb = image -> conv(3, 1) @b\noutput y = b -> conv(3, 1) @a.0"
    assert weights(net(body)) == ["a.0.weight", "a.0.bias", "b.weight", "b.bias"]


def test_a_layer_of_several_maps() -> None:
    body = """layer d = deform_conv(3, 3, pad=1) @d
moved = image -> conv(18, 3, pad=1) @moved
mask = image -> conv(9, 3, pad=1) @mask -> sigmoid
a = image -> d(moved, mask=mask)
output y = d(a, moved)
"""
    made = graph(net(body))
    reads = [len(made.operands(n.name)) for n in made.nodes() if n.op.name == "deform_conv"]
    assert reads == [3, 2]
    assert weights(net(body))[:2] == ["d.weight", "d.bias"]
    assert parse(print_graph(made)) == made


def test_a_shared_bare_weight_is_printed_once() -> None:
    body = " weight g: [C] = ones\n y = x * per_channel(g)\n"
    items = f"block G(x: [N, C, h, w]) -> (y: tensor) {{\n{body}}}"
    made = graph(net("layer t = G @t\noutput y = image -> t -> relu -> t", items))
    assert print_graph(made).count("weight ") == 1
    assert parse(print_graph(made)) == made


def test_weights_are_values() -> None:
    body = "weight g: [3] = constant(0.5)\noutput y = image * per_channel(g)"
    assert weights(net(body)) == ["g"]
    (param,) = params(graph(net(body))).values()
    assert (param.shape, str(param.init)) == ((3,), "constant(0.5)")


@pytest.mark.parametrize(
    ("weight", "code"),
    [
        ("weight g: [H] = ones", "E2010"),
        ("weight g: [3] = onse", "E2007"),
        ("weight g: [0]", "E2010"),
    ],
)
def test_what_weights_refuse(weight: str, code: str) -> None:
    assert codes(net(f"{weight}\n{END}")) == [code]


def inits(text: str) -> dict[str, str]:
    return {path: str(param.init) for path, param in params(graph(text)).items()}


def test_init_by_globs_later_ones_win() -> None:
    body = """
    a = image -> conv(3, 1, init=ones) @up.a
    output y = a -> conv(3, 1) @up.b
    init "up.*.weight" = kaiming_normal
    init "up.b.*" = zeros
    """
    found = inits(net(body))
    assert found["up.a.weight"] == "kaiming_normal"
    assert found["up.b.weight"] == "zeros"
    assert found["up.b.bias"] == "zeros"


@pytest.mark.parametrize(
    ("init", "code"),
    [
        ('init "nothing.*" = zeros', "E5006"),
        ('init "*.weight" = zerso', "E2007"),
        ('init "*.weight" = 0', "E2003"),
        ('init "*.weight" = constant', "E2004"),
        ('init "*.weight" = zeros(1)', "E2002"),
        ('init "c.weight" = bilinear', "E5005"),
    ],
)
def test_what_init_refuses(init: str, code: str) -> None:
    assert codes(net(f"output y = image -> conv(4, 1) @c\n{init}")) == [code]


@pytest.mark.parametrize(
    ("init", "code"),
    [("bilinear", "E5005"), ("identity", "E5005"), ("eye(1.0)", "E5005"), ("zeros", None)],
)
def test_initialisers_that_do_not_fit(init: str, code: str | None) -> None:
    text = net(f"output y = image -> conv_transpose(4, 4, init={init}) @c")
    assert codes(text) == ([code] if code else [])


def test_bilinear_fits_equal_channels_and_single_ones() -> None:
    body = """
    a = image -> conv_transpose(3, 4, init=bilinear) @a
    output y = a -> conv_transpose(3, 4, groups=3, init=bilinear) @b
    """
    assert codes(net(body)) == []


def test_several_inputs_share_their_symbols() -> None:
    given = "input image: f32[N, 3, H, W]\ninput rgb: f32[N, 1, H, W]"
    assert shape(net("output y = concat([image, rgb])", given=given)) == "[N, 4, H, W]"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("input image: f33[N, 3, H, W]", "E2007"),
        ("input image: f32[N, C, H, W]", "E2010"),
        ("input image: f32[N, 3, H, 0]", "E2011"),
        ("input image: tensor", "E2003"),
        ("input image: f32[N, 3, H, W] where H == W", "E2011"),
        ("input image: f32[N, 3, H, W] where Q > 3", "E1003"),
        ("input image: f32[N, 3, H, W] where H > 8, H < 8", "E3013"),
    ],
)
def test_what_inputs_refuse(given: str, code: str) -> None:
    assert codes(net("output y = image", given=given)) == [code]


def test_outputs_keep_their_order() -> None:
    body = "b = image -> relu\noutput z = b -> tanh\noutput b\ntrain output aux = b -> conv(2, 1)"
    made = graph(net(body))
    ops = [made[name].op for name in made.outputs]
    assert [(op.label, op.train) for op in ops if isinstance(op, Output)] == [
        ("z", False),
        ("b", False),
        ("aux", True),
    ]


@pytest.mark.parametrize("body", ["a = image -> relu", "train output y = image"])
def test_a_net_has_an_output(body: str) -> None:
    assert codes(net(body)) == ["E4001"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("output y = 3", "E2003"),
        ("output y = nowhere", "E1003"),
        ("output y: int = image", "E2003"),
        ("output y: [N, 3, H, 2*W] = image", "E3007"),
        ("output y = image\npost k = nms(y)", "E4004"),
    ],
)
def test_what_outputs_refuse(body: str, code: str) -> None:
    assert codes(net(body)) == [code]


def test_constants_are_computed_once_and_in_any_order() -> None:
    items = "const A = 2 * B\nconst B: int = 3"
    assert shape(net("output y = image -> conv(A, 1)", items)) == "[N, 6, H, W]"


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ("const A = A + 1", "E4002"),
        ("const A = B\nconst B = A", "E4002"),
        ("const A = 1 // 0", "E2020"),
        ("const A: int = 2.0", "E2003"),
        ("const A: itn = 2", "E1001"),
        ("const A: tensor = 2", "E2003"),
        ("const A = nowhere", "E1003"),
        ("const A = 1\nconst A = 2", "E1005"),
    ],
)
def test_what_constants_refuse(items: str, code: str) -> None:
    """Also where nobody uses them."""
    assert codes(net(END, items)) == [code]


@pytest.mark.parametrize(
    ("bound", "code"),
    [
        ("n: int = 3", None),
        ("n: float = 3", None),
        ("n: [int] = [1, 2]", None),
        ('n: oneof("a", "b") = "a"', None),
        ("n: tensor = image", None),
        ("n: int = 3.5", "E2003"),
        ("n: itn = 3", "E1001"),
        ("n: tensor = 3", "E2003"),
        ("n: [int] = [1, true]", "E2003"),
        ('n: oneof("a", "b") = "c"', "E2007"),
    ],
)
def test_typed_bindings(bound: str, code: str | None) -> None:
    assert codes(net(f"{bound}\n{END}")) == ([code] if code else [])


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("resize(2x, mode=nearest)", None),
        ("resize(2, mode=nearest)", None),
        ("resize(2px, mode=nearest)", "E2013"),
        ("conv(8px, 1)", "E2013"),
        ("conv(2K, 1)", None),
    ],
)
def test_units(value: str, code: str | None) -> None:
    assert codes(net(f"output y = image -> {value}")) == ([code] if code else [])


def test_settings() -> None:
    text = net("output y = image -> conv(n, 1)", params="n: int, on: bool = false")
    assert shape(text, n=5) == "[N, 5, H, W]"
    assert codes(text) == ["E2004"]
    assert codes(text, n="5") == ["E2008"]
    assert codes(text, n=5, of=True) == ["E2008"]


def test_marks_are_under_the_value_of_an_argument() -> None:
    items = "block A(x: tensor, n: int) -> (y: tensor) {\n y = x -> conv(n, 1)\n}"
    assert places(net('output y = image -> A(n="a")', items)) == [("E2003", '"a"')]
