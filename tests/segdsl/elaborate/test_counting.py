"""Counting before expanding: never above the truth, and soon, however much there would be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdsl import syntax
from segdsl.elaborate.bounds import bounds
from segdsl.elaborate.counting import Count, Counter
from segdsl.elaborate.names import own_files
from segdsl.elaborate.net import elaborate
from segdsl.imports import Module, Reader
from segdsl.limits import Limits
from segdsl.program import examine_source
from segdsl.source import Source
from tests.support.programs import codes, examined, net
from tests.support.written import Written, written

END = "output y = image -> relu"
BLOCK = "block {}(x: tensor, n: int = 2) -> (y: tensor) {{\n{}\n}}"


def module_of(text: str) -> Module:
    reader = Reader((), Limits())
    module = reader.main(Source("t.seg", text), None, "t.seg")
    assert not reader.diagnostics
    return module


def bound_and_truth(text: str) -> tuple[Count, int, int]:
    """The lower bound of the only net, and the nodes and steps that it really takes."""
    module = module_of(text)
    (item,) = module.nets.values()
    bound = Counter(Limits()).item(item, module, {})
    made = elaborate(module, item, {}, Limits())
    assert not [d for d in made.diagnostics if d.code.startswith("E")], text
    return bound, len(made.graph), made.state.steps


@settings(max_examples=40)
@given(written())
def test_the_bound_of_any_program_is_below_the_truth(program: Written) -> None:
    bound, nodes, steps = bound_and_truth(program.text)
    assert bound.nodes <= nodes
    assert bound.steps <= steps


@st.composite
def loops(draw: st.DrawFn, depth: int, blocks: int) -> str:
    """Statements over `v`, with loops, branches, lists and calls of the blocks below."""
    small = st.integers(0, 3)
    number = st.one_of(
        small.map(str),
        st.sampled_from(["n", "A", "n + 1", "len(range(n))", "max(n, A)", "B[1]", "n * A // 2"]),
    )
    test = st.builds(
        lambda a, op, b: f"{a} {op} {b}", number, st.sampled_from(["<", "==", ">="]), number
    )
    kinds = ["stage", "bind"] + (["repeat", "for", "if", "list", "choose"] if depth else [])
    kinds += ["call", "call"] if blocks else []
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        inner = loops(depth - 1, blocks)
        match draw(st.sampled_from(kinds)):
            case "stage":
                lines.append(draw(st.sampled_from(["v += [x -> relu]", "v += [x -> identity]"])))
            case "bind":
                lines.append(f"v += [x -> repeat {draw(number)} {{ relu -> sigmoid }}]")
            case "call":
                block = f"B{draw(st.integers(0, blocks - 1))}"
                lines.append(f"v += [x -> {block}({draw(number)}) -> {block}(n={draw(number)})]")
            case "repeat":
                lines.append(
                    f"v += [x -> repeat {draw(number)} {{ repeat {draw(number)} {{ relu }} }}]"
                )
            case "for":
                name = f"i{depth}"
                lines.append(f"for {name} in range({draw(number)}) {{\n{draw(inner)}\n}}")
            case "if":
                lines.append(f"if {draw(test)} {{\n{draw(inner)}\n}} else {{\n{draw(inner)}\n}}")
            case "list":
                lines.append(
                    f"v += [for j in range({draw(number)}): if {draw(test)}: x -> relu, x + x]"
                )
            case _:
                lines.append(f"v += [(x -> relu) if {draw(test)} else (x -> relu -> relu)]")
    return "\n".join(lines)


@st.composite
def looping(draw: st.DrawFn) -> str:
    """A program of loops with counts that are known, and some that are not."""
    items = ["const A = 2", "const B = [A, A + 1]"]
    for number in range(draw(st.integers(0, 3))):
        body = f"var v = [x]\n{draw(loops(1, number))}\ny = v[0] -> relu"
        items.append(BLOCK.format(f"B{number}", body))
    given_n = draw(st.sampled_from(["n = 2", "n = image.channels", "n = A + 1"]))
    body = f"x = image\n{given_n}\nvar v = [x]\n{draw(loops(2, len(items) - 2))}\n{END}"
    return net(body, "\n".join(items))


@settings(max_examples=80)
@given(looping())
def test_the_bound_of_loops_is_below_the_truth(text: str) -> None:
    bound, nodes, steps = bound_and_truth(text)
    assert bound.nodes <= nodes
    assert bound.steps <= steps


@pytest.mark.parametrize(
    ("body", "items", "nodes"),
    [
        ("x = image -> repeat 7 { repeat 3 { relu } }", "", 21),
        ("for i in range(4) { z = image -> relu -> relu }", "", 8),
        ("z = [for i in range(2, 8, 2): for j in [1, 2]: image -> relu]", "", 6),
        ("n = 2 ** 4\nx = image -> repeat n { relu }", "", 16),
        ("x = image -> repeat A { relu }", "const A = len([1, 2]) + 3 * 4 % 5", 4),
        ("x = image -> repeat A { relu }", "const A: int = B\nconst B = 5", 5),
        ("if A > 3 { z = image -> relu }", "const A = 4", 1),
        ("if A > 4 { z = image -> relu }", "const A = 4", 0),
        ("if image.channels > 4 { z = image -> relu }", "", 0),
        ("z = image -> identity", "", 0),
        ("z = image -> D -> D(3)", BLOCK.format("D", "y = x -> repeat n { relu }"), 5),
        ("z = image -> D(image.channels)", BLOCK.format("D", "y = x -> repeat n { relu }"), 0),
    ],
)
def test_what_is_known_is_counted_exactly(body: str, items: str, nodes: int) -> None:
    """`END` adds one operation; input and output are no part of the bound."""
    assert bound_and_truth(net(f"{body}\n{END}", items))[0].nodes == nodes + 1


def doubling(count: int, call: str = "x -> B{0} -> B{0}") -> str:
    blocks = [BLOCK.format(f"B{i}", f"y = {call.format(i + 1)}") for i in range(count)]
    return "\n".join([*blocks, BLOCK.format(f"B{count}", "y = x -> relu")])


BOMBS = {
    "used": (net(f"x = image -> B0\n{END}", doubling(40)), "B1", "1,099,511,627,776"),
    "unused": (net(END, doubling(40)), "B1", "1,099,511,627,776"),
    "other arguments": (
        net(f"x = image -> B0\n{END}", doubling(40, "x -> B{0}(2 * n) -> B{0}(2 * n + 1)")),
        "B0",
        "",
    ),
    "loops": (
        net(f"x = image -> repeat 1000 {{ repeat 2000 {{ repeat 1000 {{ relu }} }} }}\n{END}"),
        "2000",
        "1,000 x 2,000 x 1,000 = 2,000,000,000",
    ),
    "five loops": (
        net(
            "".join(f"for i{k} in range(1000) {{ " for k in range(5))
            + "z = image -> relu"
            + " }" * 5
            + f"\n{END}"
        ),
        "range(1000)",
        "= 1,000,000,000,000,000",
    ),
    "beyond 63 bits": (
        net(
            "".join(f"for i{k} in range(1000) {{ " for k in range(9))
            + "z = image -> relu"
            + " }" * 9
            + f"\n{END}"
        ),
        "range(1000)",
        "more than 9,223,372,036,854,775,807",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_count(name: str) -> None:
    text, place, product = BOMBS[name]
    (found,) = examined(text).diagnostics
    assert found.code == "E4003"
    assert found.span is not None
    assert found.span.text == place
    assert product in "".join(found.notes)


def test_steps_are_counted_too() -> None:
    body = "for i in range(1000) { for j in range(1000) { for k in range(9) { z = i } } }"
    (found,) = examined(net(f"{body}\n{END}")).diagnostics
    assert found.code == "E4006"
    assert "1,000 x 1,000 x 9 = 9,000,000" in found.notes[0]


def test_a_bomb_in_an_imported_file() -> None:
    items = "from std.blocks import ConvBNReLU"
    text = net(f"x = image -> repeat 400 {{ repeat 100 {{ ConvBNReLU(4) @. }} }}\n{END}", items)
    (found,) = examined(text).diagnostics
    assert (found.code, found.span.text if found.span else "") == ("E4003", "400")


def test_settings_count() -> None:
    text = net(f"x = image -> repeat d {{ repeat 1000 {{ relu }} }}\n{END}", params="d: int = 1")
    assert codes(text) == []
    assert codes(text, d=101) == ["E4003"]


def test_at_the_limit_and_one_beyond() -> None:
    text = net(f"x = image -> repeat 10 {{ repeat 9 {{ relu }} }}\n{END}")
    assert codes(text, Limits(nodes=93)) == []
    assert codes(text, Limits(nodes=90)) == ["E4003"]
    module = module_of(text)
    nets = list(module.nets.values())
    assert not bounds([module], nets, {}, replace(Limits(), nodes=91)).diagnostics
    assert bounds([module], nets, {}, replace(Limits(), nodes=90)).unfit == {"T"}


def test_blocks_inside_themselves_end() -> None:
    items = BLOCK.format("D", "y = x -> D -> D") + "\nconst A = B\nconst B = A"
    assert "E4002" in codes(net(f"x = image -> repeat A {{ D }}\n{END}", items))


def test_long_chains_of_constants_and_blocks() -> None:
    consts = "\n".join(f"const C{i} = C{i + 1}" for i in range(3000)) + "\nconst C3000 = 5"
    program = examine_source(Source("t.seg", net(END, consts)), None)
    assert {d.code for d in program.diagnostics} <= {"E0021"}
    blocks = "\n".join(BLOCK.format(f"B{i}", f"y = x -> B{i + 1}") for i in range(1000))
    blocks += "\n" + BLOCK.format("B1000", "y = x -> relu")
    assert codes(net(f"x = image -> B0\n{END}", blocks)) == ["E0021"]


def test_every_file_of_the_user_is_counted() -> None:
    module = module_of(net(END, doubling(30)))
    files = own_files(module)
    refused = bounds(files, list(module.nets.values()), {}, Limits()).diagnostics
    assert [d.code for d in refused] == ["E4003"]
    assert isinstance(module.tree.items[0], syntax.Block)
