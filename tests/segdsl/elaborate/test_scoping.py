"""What a name means, where, and for how long: `var`, `if`, `for`, `repeat`, blocks."""

from __future__ import annotations

import pytest

from tests.support.programs import codes, examined, net, places, shape, weights

END = "output y = image -> relu"


def test_rebinding_needs_var() -> None:
    assert places(net(f"x = image\nx = image\n{END}")) == [("E1005", "x")]


def test_a_var_changes() -> None:
    body = "var n = 2\nn = n * 3\noutput y = image -> conv(n, 1)"
    assert shape(net(body)) == "[N, 6, H, W]"


def test_a_var_is_declared_once() -> None:
    assert codes(net(f"var n = 2\nvar n = 3\n{END}")) == ["E1005"]


def test_parameters_and_inputs_are_bound() -> None:
    assert codes(net(f"k = 3\nimage = image -> relu\n{END}", params="k: int = 1")) == [
        "E1005",
        "E1005",
    ]


def test_a_tap_is_a_binding() -> None:
    assert codes(net(f"a = image -> relu as a\n{END}")) == ["E1005"]


def test_loops_do_not_shadow() -> None:
    assert codes(net(f"i = 3\nfor i in range(2) {{\n z = image\n}}\n{END}")) == ["E1005"]


def test_loops_one_after_the_other_use_one_name() -> None:
    loop = "for i in range(2) {\n z = image -> relu\n}\n"
    assert codes(net(loop + loop + END)) == []


def test_only_vars_survive_a_turn() -> None:
    body = """
    var total = 0
    for i in range(4) {
      twice = 2 * i
      total = total + twice
    }
    output y = image -> conv(total, 1)
    """
    assert shape(net(body)) == "[N, 12, H, W]"
    assert places(net(body.replace("conv(total", "conv(twice"))) == [("E1003", "twice")]


def test_lists_grow() -> None:
    body = """
    var xs = []
    for i in range(3) {
      xs += [image -> conv(i + 1, 1)]
    }
    output y = concat(xs)
    """
    assert shape(net(body)) == "[N, 6, H, W]"


@pytest.mark.parametrize(("declared", "code"), [("xs = []", "E1003"), ("", "E1003")])
def test_only_a_var_grows(declared: str, code: str) -> None:
    assert codes(net(f"{declared}\nxs += [image]\n{END}")) == [code]


@pytest.mark.parametrize("taken", ["true", "false"])
def test_a_name_of_one_branch_ends_with_it(taken: str) -> None:
    body = "if aux {\n a = image -> relu\n}\noutput y = a"
    found = examined(net(body, params=f"aux: bool = {taken}")).diagnostics
    assert [(d.code, d.message) for d in found] == [("E1006", "`a` exists only when `aux` is true")]


@pytest.mark.parametrize(("taken", "channels"), [("true", 4), ("false", 5)])
def test_a_name_of_every_branch_stays(taken: str, channels: int) -> None:
    body = """
    if aux {
      n = 4
    } else if not aux {
      n = 5
    } else {
      n = 6
    }
    output y = image -> conv(n, 1)
    """
    assert shape(net(body, params=f"aux: bool = {taken}")) == f"[N, {channels}, H, W]"


def test_branches_that_are_not_taken_are_checked() -> None:
    body = f"if false {{\n a = image -> conv(64.0, 3)\n b = image -> rellu\n c = nowhere\n}}\n{END}"
    assert places(net(body)) == [("E2003", "64.0"), ("E1001", "rellu"), ("E1003", "nowhere")]


def test_use_before_definition() -> None:
    assert places(net(f"a = later -> relu\nlater = image\n{END}")) == [("E1004", "later")]


def test_use_in_its_own_statement() -> None:
    assert places(net(f"a = a -> relu\n{END}")) == [("E1004", "a")]


def test_nothing_leaks_into_a_block() -> None:
    items = "block A(x: tensor) -> (y: tensor) {\n  y = x -> conv(width, 1)\n}"
    assert places(net("width = 4\noutput y = image -> A", items)) == [("E1003", "width")]


def test_constants_are_seen_in_blocks() -> None:
    items = "const width = 4\nblock A(x: tensor) -> (y: tensor) {\n  y = x -> conv(width, 1)\n}"
    assert shape(net("output y = image -> A", items)) == "[N, 4, H, W]"


def test_a_failed_statement_silences_its_names() -> None:
    body = "a = image -> rellu\nb = a -> conv(4, 1) as c\nd = concat([a, b, c])\noutput y = d"
    assert places(net(body)) == [("E1001", "rellu")]


def test_two_mistakes_in_two_statements() -> None:
    body = f"a = image -> rellu\nb = image -> conv(64, kernal=3)\n{END}"
    assert codes(net(body)) == ["E1001", "E2001"]


def test_a_syntax_error_has_no_echo() -> None:
    body = "a = image -> conv(4, 3\nb = image ->\nc = concat([a, b])\noutput y = c"
    assert codes(net(body)) == ["E0001", "E0003"]


def test_a_failed_import_has_no_echo() -> None:
    items = "from std.blocks import Nope, SE\nfrom std.nowhere import Other"
    body = "output y = image -> Nope(3) -> Other -> SE(1)"
    assert codes(net(body, items)) == ["E1007", "E1007"]


def test_repeat_counts_from_zero_and_passes_through_at_none() -> None:
    body = "output y = image -> repeat {n} as k {{ conv(k + 1, 1) @c{{k}} }}"
    assert weights(net(body.format(n=2)))[::2] == ["c0.weight", "c1.weight"]
    assert shape(net(body.format(n=0))) == "[N, 3, H, W]"


@pytest.mark.parametrize("count", ["-1", "1.5", "true", '"2"', "image"])
def test_what_repeat_refuses(count: str) -> None:
    assert codes(net(f"output y = image -> repeat {count} {{ relu }}")) == ["E2003"]


def test_comprehensions_conditions_and_spreads() -> None:
    body = """
    rates = [6, 12]
    xs = [image, for i, r in enumerate(rates): image -> conv(r, 1) @c{i},
          if len(rates) > 5: image, *[image]]
    output y = concat(xs)
    """
    assert shape(net(body)) == "[N, 24, H, W]"


def test_two_namespaces() -> None:
    """A parameter may be called like an operation: in call position the operation is meant."""
    body = "output y = image -> pad(pad)"
    assert shape(net(body, params="pad: int = 2")) == "[N, 3, H + 4, W + 4]"


def test_a_block_may_stand_below_its_use() -> None:
    text = net("output y = image -> A") + "block A(x: tensor) -> (y: tensor) {\n y = x -> relu\n}\n"
    assert codes(text) == []
