"""The static pass: names, arguments and types of every item, used or not."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from segdsl.elaborate.names import check_names, survey
from segdsl.imports import Module, Reader
from segdsl.program import examine
from segdsl.source import Source
from tests.support.programs import codes, examined, net, places

STD = sorted(
    str(p.name) for p in files("segdsl").joinpath("std").iterdir() if p.name.endswith(".seg")
)
SPECS = sorted((Path(__file__).parents[3] / "specs").glob("*.seg"))
END = "output y = image -> relu"


def module(text: str, name: str = "t.seg") -> Module:
    """A linked module; its text must parse."""
    reader = Reader(())
    found = reader.main(Source(name, text), None, name)
    assert reader.diagnostics == []
    return found


@pytest.mark.parametrize("name", STD)
def test_the_library_is_clean(name: str) -> None:
    text = files("segdsl").joinpath("std", name).read_text("utf-8")
    assert check_names(module(text, f"std/{name}")) == []


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_specs_are_clean(path: Path) -> None:
    assert examine(path, every=True).diagnostics == ()


def unused(body: str, ports: str = "x: [N, C, h, w], n: int = 1") -> str:
    """A program with a block that nobody uses."""
    return net(END, f"block Idle({ports}) -> (y: tensor) {{\n{body}\n}}")


@pytest.mark.parametrize(
    ("body", "code", "marked"),
    [
        ("y = x -> rellu", "E1001", "rellu"),
        ("y = x -> Conv2d(3, 3)", "E1002", "Conv2d"),
        ("y = z", "E1003", "z"),
        ("y = later\nlater = x", "E1004", "later"),
        ("y = x\ny = x", "E1005", "y"),
        ("if n == 1 {\n z = x\n}\ny = z", "E1006", "z"),
        ("y = x -> conv(n, kernal=1)", "E2001", "kernal"),
        ("y = x -> conv(1, 2, 3)", "E2002", "3"),
        ("y = x -> conv(1.5, 2)", "E2003", "1.5"),
        ("y = x -> conv(n)", "E2004", "conv"),
        ("y = x -> resize(2x, mode=bilinaer)", "E2007", "bilinaer"),
        ("y = x -> conv(n, kernel=1, 3)", "E2012", "3"),
        ("y = x -> resize(2px, mode=nearest)", "E2013", "2px"),
        ("bilinear = 1\ny = x -> resize(2x, mode=bilinear)", "E2014", "bilinear"),
        ("output q = x\ny = x", "E4004", "output q = x"),
        ("y = x -> Idle", "E4002", "Idle"),
        ("y = x -> T", "E1001", "T"),
        ("y = x -> conv(n, 1, init=constant)", "E2004", "constant"),
        ("y = x -> conv(n, 1, init=zeros(1))", "E2002", "1"),
        ("y = max(x, key=1)", "E2001", "key"),
        ("y = x -> conv(n, 1) @a{k}", "E1003", "k"),
        ("y = x -> repeat n as k { conv(m, 1) }", "E1003", "m"),
        ("y = [for i in range(n): q][0]", "E1003", "q"),
        ("y = x if n == 1 else q", "E1003", "q"),
        ("check q == 1\ny = x", "E1003", "q"),
        ('y = x\ninit "*" = zerso', "E2007", "zerso"),
        ("weight g: [q] = ones\ny = x", "E1003", "q"),
        ("layer t = conv(3) @t\ny = x -> t", "E2004", "conv"),
        ("layer t = conv(3, 1) @t\ny = x -> t(4)", "E2002", "4"),
        ("layer t = deform_conv(3, 1) @t\ny = x -> t", "E2004", "t"),
        ("y: [N, q + C, h, w] = x", "E1003", "q"),
        ("z = x", "E1003", "y"),
    ],
)
def test_mistakes_in_blocks_that_nobody_uses(body: str, code: str, marked: str) -> None:
    assert places(unused(body)) == [(code, marked)]


@pytest.mark.parametrize(
    ("ports", "code", "marked"),
    [
        ("x: tensor, x: int", "E1005", "x"),
        ("x: tensor, n: itn", "E1001", "itn"),
        ("x: f33[N, C, h, w]", "E2007", "f33"),
        ("x: tensor, n: [[itn]]", "E1001", "[[itn]]"),
        ("x: tensor, n: oneof(1)", "E2003", "oneof(1)"),
        ("x: tensor, n: int(3)", "E2002", "int(3)"),
        ("x: tensor, d: [itn] = [1]", "E2003", "[1]"),
        ("x: tensor, n: int = 1.5", "E2003", "1.5"),
        ('x: tensor, n: oneof("a") = "b"', "E2007", '"b"'),
        ("x: tensor, n: int = none", None, ""),
        ("x: tensor, n: int = m, m: int = 1", "E1003", "m"),
        ("x: [N, C, h, w], n: int = C", "E1003", "C"),
        ("x: tensor, pool: block = max_pol", "E1003", "max_pol"),
        ("x: tensor, relu: block", "E1009", "relu"),
    ],
)
def test_heads(ports: str, code: str | None, marked: str) -> None:
    assert places(unused("y = x", ports)) == ([(code, marked)] if code else [])


def test_a_block_in_error_is_not_elaborated() -> None:
    items = "block A(x: tensor, n: itn) -> (y: tensor) {\n y = x -> conv(n, 1)\n}"
    items += "\nblock B(x: tensor) -> (y: tensor) {\n y = x -> A(2)\n}"
    text = net("output y = image -> B", items)
    assert survey(module(text)).unfit == {"T"}
    assert codes(text) == ["E1001"]


def test_a_circle_is_told_once_with_all_its_members() -> None:
    items = "\n".join(
        f"block {a}(x: tensor) -> (y: tensor) {{\n y = x -> {b}\n}}" for a, b in ("AB", "BC", "CA")
    )
    (found,) = examined(net("output y = image -> B", items)).diagnostics
    assert found.code == "E4002"
    assert found.message == "`A` contains itself through `B`"
    assert found.notes[0] == "A (line 2) → B (line 5) → C (line 8) → A (line 2)"


def test_two_circles_are_two_mistakes() -> None:
    items = "\n".join(f"block {a}(x: tensor) -> (y: tensor) {{\n y = x -> {a}\n}}" for a in "AB")
    assert codes(net(END, items)) == ["E4002", "E4002"]


def test_a_block_as_its_own_default_contains_itself() -> None:
    items = "block A(x: tensor, f: block = A) -> (y: tensor) {\n y = x -> f\n}"
    assert places(net(END, items)) == [("E4002", "A")]


@pytest.mark.parametrize("kind", ["conv", "len"])
def test_operations_cannot_be_redefined(kind: str) -> None:
    items = f"block {kind}(x: tensor) -> (y: tensor) {{\n y = x\n}}"
    assert places(net(f"a = image -> {kind}\n{END}", items)) == [("E1009", kind)]
    assert codes(net(END, "from std.blocks import SE as bn")) == ["E1009"]


def test_no_mistake_is_told_twice() -> None:
    """Each of these is seen by the static pass and by elaboration."""
    body = """
    a = image -> rellu
    b = image -> conv(64.0, 3)
    c = image -> conv(64, kernal=3)
    d = later
    later = image
    if true {
      e = image
    }
    f = e
    g = image -> resize(2x, mode=bilinaer)
    h = image -> conv(3, 1, init=zerso)
    i = image -> conv(3)
    j: itn = 3
    k = [1, nowhere]
    """
    expected = "E1001 E2003 E2001 E1004 E1006 E2007 E2007 E2004 E1001 E1003"
    assert codes(net(body + END)) == expected.split()


def test_unknown_callees_silence_their_arguments_words() -> None:
    body = "a = image -> rellu(mode=bilinear, init=constant(0.5), n=3)\noutput y = a"
    assert places(net(body)) == [("E1001", "rellu")]


def test_names_of_choices_need_no_binding() -> None:
    body = 'a = image -> resize(2x, mode=bilinear) -> pad(1, mode=reflect) -> softmax("channels")'
    body += "\noutput y = a -> softmax(space)"
    assert codes(net(body)) == []


def test_elements_of_lists_may_be_called() -> None:
    body = "var x = image\nfor f in [relu, tanh] {\n x = x -> f\n}\noutput y = x"
    assert codes(net(body)) == []


def test_depth_of_the_syntax() -> None:
    """Nesting up to the limit of the parser is no recursion error, in any form."""
    deep = "1" + "+(1" * 120 + ")" * 120
    assert codes(net(f"n = {deep}\n{END}")) == []
    calls = "abs(" * 120 + "1" + ")" * 120
    assert codes(net(f"n = {calls}\n{END}")) == []
    ifs = "if true {\n" * 110 + "z = image\n" + "}\n" * 110
    assert codes(net(f"{ifs}\n{END}")) == []


def test_findings_lie_in_the_file_they_speak_of(tmp_path: Path) -> None:
    (tmp_path / "parts.seg").write_text(
        "seg 1\nblock A(x: tensor) -> (y: tensor) {\n  y = x -> rellu\n}\n", encoding="utf-8"
    )
    main = tmp_path / "main.seg"
    main.write_text(net("output y = image", "from parts import A"), encoding="utf-8")
    (found,) = examine(main).diagnostics
    assert found.span is not None
    assert (found.code, found.span.source.name) == ("E1001", "parts.seg")
