"""Numbers, loops and programs beyond their limits, refused before they cost anything."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from segdsl.limits import Limits
from tests.support.programs import codes, examined, graph, net, places, shape

END = "output y = image -> relu"


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("2 ** 62", None),
        ("2 ** 63", "E2020"),
        ("10 ** 18 * 10", "E2020"),
        ("9_000_000_000 * 9_000_000_000", "E2020"),
        ("2 ** (2 ** 40)", "E2020"),
        ("2.0 ** 5000", "E2020"),
        ("1 / 0", "E2020"),
        ("1 % 0", "E2020"),
        ("2 ** -1", "E2020"),
        ("(-8.0) ** 0.5", "E2020"),
        ("1e300 * 1e300", "E2020"),
        ("sum([2 ** 62, 2 ** 62])", "E2020"),
        ("true + 1", "E2003"),
        ('"a" + 1', "E2003"),
        ("[1] + [2]", None),
        ("-7 // 2", None),
    ],
)
def test_arithmetic(expression: str, code: str | None) -> None:
    assert codes(net(f"n = {expression}\n{END}")) == ([code] if code else [])


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-7 // 2 + 5", 1),
        ("-7 % 4", 1),
        ("7 // 2", 3),
        ("len(range(3, 9, 2))", 3),
        ("max(2, 3)", 3),
        ("min([4, 2])", 2),
        ("int(7 / 2)", 3),
        ("ceil(7 / 2)", 4),
        ("floor(7 / 2)", 3),
        ("abs(-3)", 3),
        ('int("12")', 12),
        ("sum([1, 2, 3])", 6),
        ("reversed([1, 2])[0]", 2),
        ("[1, 2, 3][-1]", 3),
        ("len([1, 2, 3][1:])", 2),
        ("zip([1], [2])[0][1]", 2),
        ("3 if 1 < 2 <= 2 else 4", 3),
        ("3 if not (1 in [2, 3]) and true else 4", 3),
        ("2 ** 3 ** 1", 8),
    ],
)
def test_functions(expression: str, value: int) -> None:
    assert shape(net(f"output y = image -> conv({expression}, 1)")) == f"[N, {value}, H, W]"


def test_a_loop_of_a_thousand_million_turns() -> None:
    assert places(net("output y = image -> repeat 1_000_000_000 { relu }")) == [
        ("E4005", "1_000_000_000")
    ]
    assert codes(net(f"for i in range(1_000_000_000) {{\n z = i\n}}\n{END}")) == ["E2003"]


def test_nested_loops_stop_at_the_first_node_too_many() -> None:
    text = net("output y = image -> repeat 90 { repeat 90 { relu } }")
    limits = replace(Limits(), nodes=1_000)
    assert codes(text, limits) == ["E4003"]
    assert "90 x 90 = 8,100" in examined(text, limits).diagnostics[0].notes[0]
    assert len(graph(text)) == 90 * 90 + 2
    unknown = net("n = image.channels * 30\noutput y = image -> repeat n { repeat n { relu } }")
    (stopped,) = examined(unknown, limits).diagnostics
    assert stopped.code == "E4003"
    assert "90 x 90 = 8,100 turns" in stopped.notes[0]


def test_nothing_is_told_after_a_limit_of_the_program() -> None:
    text = net("a = image -> repeat 90 { relu }\nb = image -> conv(3)\noutput y = a")
    assert codes(text, replace(Limits(), nodes=50)) == ["E4003", "E2004"]


def test_parameters_are_counted_without_arrays() -> None:
    body = "output y = image -> conv(1_000_000, 1) @a -> conv(1_000_000, 1) @b"
    assert places(net(body)) == [("E5008", "@b")]


def test_compile_time_steps() -> None:
    body = f"for i in range(1000) {{\n z = i + i\n}}\n{END}"
    assert codes(net(body), replace(Limits(), steps=500)) == ["E4006"]
    assert codes(net(body)) == []


def test_lists_of_too_many_elements() -> None:
    limits = replace(Limits(), list_length=10)
    assert codes(net(f"xs = range(10)\n{END}"), limits) == []
    assert codes(net(f"xs = range(11)\n{END}"), limits) == ["E4005"]
    for body, code in (
        ("xs = [for i in range(5): i, for i in range({}): i]", "E4005"),
        ("a = range(5)\nb = range({})\nxs = a + b", "E4005"),
        ("a = range(5)\nb = range({})\nxs = [*a, *b]", "E4005"),
        ("var xs = range(5)\nxs += range({})", "E4005"),
        ("xs = enumerate(range(5 + {}))", "E4005"),
    ):
        assert codes(net(f"{body.format(5)}\n{END}"), limits) == []
        assert codes(net(f"{body.format(6)}\n{END}"), limits) == [code]


def test_lists_that_double() -> None:
    """Forty statements, a list of 2**40 elements."""
    assert codes(net(f"var t = [1]\nfor i in range(40) {{ t += t }}\n{END}")) == ["E4005"]
    doubled = "\n".join(f"a{i + 1} = a{i} + a{i}" for i in range(40))
    assert codes(net(f"a0 = [1]\n{doubled}\n{END}")) == ["E4005"]
    spread = "\n".join(f"a{i + 1} = [*a{i}, *a{i}]" for i in range(40))
    assert codes(net(f"a0 = [1]\n{spread}\n{END}")) == ["E4005"]


def test_a_block_that_is_its_own_argument() -> None:
    """No name of it refers to itself, so the static pass cannot know."""
    items = "block A(x: tensor, f: block) -> (y: tensor) {\n  y = x -> f(f)\n}"
    before = sys.getrecursionlimit()
    assert codes(net("output y = image -> A(A)", items)) == ["E0021"]
    assert sys.getrecursionlimit() == before


def test_a_chain_of_blocks() -> None:
    """Sixty instances inside one another are no recursion."""
    items = ["block B0(x: tensor) -> (y: tensor) {\n y = x -> relu\n}"]
    items += [
        f"block B{i}(x: tensor) -> (y: tensor) {{\n y = x -> B{i - 1}\n}}" for i in range(1, 60)
    ]
    made = graph(net("output y = image -> B59", "\n".join(items)))
    assert max(len(node.scope) for node in made.nodes()) == 60


def test_wide_programs_are_no_deep_ones() -> None:
    lines = "\n".join(f"x{i + 1} = x{i} -> relu" for i in range(3_000))
    assert len(graph(net(f"x0 = image\n{lines}\noutput y = x3000"))) == 3_002


def test_operands_at_the_limit_and_one_beyond() -> None:
    body = "output y = concat([for i in range({}): image])"
    assert codes(net(body.format(5)), Limits(operands=5)) == []
    assert codes(net(body.format(6)), Limits(operands=5)) == ["E4007"]


def test_ports_at_the_limit_and_one_beyond() -> None:
    body = "output a = image\noutput b = image"
    assert codes(net(body), Limits(ports=3)) == []
    assert codes(net(body), Limits(ports=2)) == ["E4007"]


def test_symbolic_sizes_at_the_limit_and_one_beyond() -> None:
    given = "input image: f32[N, 3, H, W]\ninput other: f32[N, 3, A, B]"
    text = net("output y = image\noutput z = other", given=given)
    assert codes(text, Limits(symbolic_sizes=5)) == []
    assert "E2018" in codes(text, Limits(symbolic_sizes=4))


def test_tokens_of_all_files_together() -> None:
    text = net("output y = image -> ConvBNReLU(4) @c", "from std.blocks import ConvBNReLU")
    assert codes(text) == []
    assert "E0022" in codes(text, Limits(tokens=150))
