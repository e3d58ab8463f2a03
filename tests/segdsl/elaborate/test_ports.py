"""Ports, dimension variables, claims and conditions of blocks; records."""

from __future__ import annotations

import pytest

from tests.support.programs import codes, examined, graph, net, places, shape


def block(
    ports: str, outputs: str = "y: tensor", body: str = "y = x -> relu", where: str = ""
) -> str:
    tail = f" where {where}" if where else ""
    return f"block A({ports}) -> ({outputs}){tail} {{\n  {body}\n}}"


FIXED = "input image: f32[N, 3, 64, 64]"
FREE = "input image: f32[N, 3, H, W] where H >= 16, W >= 16"


def test_bare_names_bind_before_expressions() -> None:
    """`2*h` stands before the port that binds `h`."""
    items = block("big: [N, C, 2*h, 2*w], x: [N, C, h, w]")
    body = "small = image -> max_pool(2)\noutput y = A({}, small)"
    assert codes(net(body.format("small -> resize(2x, mode=nearest)"), items, given=FREE)) == []
    assert places(net(body.format("image"), items, given=FREE)) == [
        ("E3010", "2*h"),
        ("E3010", "2*w"),
    ]


@pytest.mark.parametrize(
    ("dim", "code"),
    [("2*h", None), ("h + 1", None), ("2*h + 4", None), ("h // 2", "E2011"), ("h / 2", "E2011")],
)
def test_expressions_that_bind(dim: str, code: str | None) -> None:
    items = block(f"x: [N, C, {dim}, {dim.replace('h', 'w')}]")
    found = codes(net("output y = image -> A", items, given=FIXED))
    assert found == ([code] if code else [])


def test_an_expression_that_binds_no_whole_number() -> None:
    items = block("x: [N, C, 3*h, w]")
    assert places(net("output y = image -> A", items, given=FIXED)) == [("E3010", "3*h")]


def test_one_variable_two_sizes() -> None:
    items = block("x: [N, C, h, h]")
    given = "input image: f32[N, 3, 64, 32]"
    assert places(net("output y = image -> A", items, given=given)) == [("E3010", "h")]


def test_channels_are_numbers_in_a_block() -> None:
    items = block("x: [N, C, h, w]", body="y = x -> conv(2 * C, 1)")
    assert shape(net("output y = image -> A", items)) == "[N, 6, H, W]"


def test_sizes_are_no_numbers_in_a_block() -> None:
    items = block("x: [N, C, h, w]", body="y = x -> conv(h, 1)")
    assert codes(net("output y = image -> A", items)) == ["E2010"]


def test_known_sizes_are_numbers() -> None:
    items = block("x: [N, C, h, w]", body="y = x -> conv(h, 1)")
    assert shape(net("output y = image -> A", items, given=FIXED)) == "[N, 64, 64, 64]"


def test_an_output_port_is_bound_by_input_ports() -> None:
    items = block("x: [N, C, h, w]", "y: [N, C, q + 1, w]")
    assert places(net("output y = image -> A", items)) == [("E3011", "q")]


def test_outputs_are_claims() -> None:
    items = block("x: [N, C, h, w]", "y: [N, C + 1, h, w]")
    assert places(net("output y = image -> A", items)) == [("E3007", "C + 1")]


@pytest.mark.parametrize(
    ("pool", "claim", "right"),
    [
        ("max_pool(2)", "H/2", True),
        ("max_pool(2, ceil=true)", "H/2", True),
        ("max_pool(2)", "H//2", True),
        ("max_pool(2, ceil=true)", "H//2", False),
        ("max_pool(2, ceil=true)", "ceil(H/2)", True),
        ("max_pool(2)", "ceil(H/2)", False),
        ("conv(3, 3)", "H - 2", True),
        ("conv(3, 3)", "H", False),
        ("max_pool(3, stride=4)", "H/4", True),
        ("max_pool(4)", "H/2", False),
        ("resize(2x, mode=nearest)", "2*H", True),
        ("max_pool(2)", "_", True),
    ],
)
def test_claims_of_sizes(pool: str, claim: str, right: bool) -> None:
    body = f"a: [N, 3, {claim}, _] = image -> {pool}\noutput y = a"
    assert codes(net(body, given=FREE)) == ([] if right else ["E3007"])


@pytest.mark.parametrize(("claim", "code"), [("C / 2", "E3012"), ("4 / 2", None), ("5", "E3007")])
def test_claims_of_channels(claim: str, code: str | None) -> None:
    body = f"a: [N, {claim}, H, W] = image -> conv(2, 1)\noutput y = a"
    assert codes(net(body, "const C = 3")) == ([code] if code else [])


def test_three_dots_stand_for_any_axes() -> None:
    items = block("x: [N, ..., w]", "y: [N, ..., w]")
    assert codes(net("output y = image -> A", items)) == []
    assert codes(net("a: [N, ..., 7] = image\noutput y = a", given=FIXED)) == ["E3007"]


def test_number_of_axes() -> None:
    assert places(net("a: [N, 3] = image\noutput y = a")) == [("E3016", "[N, 3]")]


def test_where_with_a_message() -> None:
    items = block("x: [N, C, h, w], r: int", where='C % r == 0 else "C must divide by r"')
    (found,) = examined(net("output y = image -> A(2)", items)).diagnostics
    assert (found.code, found.message) == ("E2006", "C must divide by r")
    assert found.span is not None
    assert found.span.text == "A(2)"
    assert "C = 3, r = 2" in found.notes[0]
    assert codes(net("output y = image -> A(3)", items)) == []


def test_where_on_sizes_holds_for_every_accepted_size() -> None:
    items = block("x: [N, C, h, w]", where="h % 4 == 0")
    text = net("output y = image -> A", items, given="input image: f32[N, 3, H, W]{}")
    assert codes(text.replace("{}", "")) == ["E3013"]
    assert codes(text.replace("{}", " where H % 8 == 0")) == []
    assert codes(text.replace("{}", " where H % 2 == 0")) == ["E3013"]


@pytest.mark.parametrize("condition", ["h == w", "h * h > 4", "1.5 < h", "h in [1, 2]"])
def test_conditions_outside_the_form(condition: str) -> None:
    items = block("x: [N, C, h, w]", where=condition)
    assert codes(net("output y = image -> A", items)) == ["E2011"]


TWO = """
block Two(x: tensor) -> (small: tensor, large: tensor) {
  small = x -> conv(1, 1)
  large = x
}
"""


def test_records() -> None:
    assert shape(net("d = image -> Two\noutput y = d.small", TWO)) == "[N, 1, H, W]"
    assert shape(net("a, b = image -> Two\noutput y = b", TWO)) == "[N, 3, H, W]"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("output y = image -> Two -> relu", "E2015"),
        ("d = image -> Two\noutput y = d.middle", "E1003"),
        ("a, b, c = image -> Two\noutput y = a", "E2016"),
        ("output y = image -> Two", "E2003"),
        ("d = image -> Two\noutput y = concat([d, image])", "E2015"),
        ("output y = image.depth", "E1003"),
    ],
)
def test_what_records_and_maps_are_not(body: str, code: str) -> None:
    assert codes(net(body, TWO)) == [code]


def test_lists_of_maps_as_ports() -> None:
    items = "block Join(xs: [tensor]) -> (y: tensor) {\n y = concat(xs)\n}"
    assert shape(net("output y = Join([image, image])", items)) == "[N, 6, H, W]"
    assert codes(net("output y = Join(image)", items)) == ["E2003"]


def test_blocks_as_arguments() -> None:
    items = "block A(x: tensor, f: block = identity) -> (y: tensor) {\n y = x -> conv(4, 1) -> f\n}"
    assert shape(net("output y = image -> A", items)) == "[N, 4, H, W]"
    made = graph(net("output y = image -> A(f=relu if true else tanh)", items))
    assert [node.op.name for node in made.nodes()] == ["input", "conv", "relu", "output"]
    assert codes(net("output y = image -> A(f=3)", items)) == ["E2003"]


def test_mistakes_in_the_library_are_shown_at_the_call() -> None:
    text = net("output y = image -> SE(reduction=2) @se", "from std.blocks import SE")
    (found,) = examined(text).diagnostics
    assert found.code == "E2006"
    assert found.span is not None
    assert (found.span.source.name, found.span.line) == ("t.seg", 5)
