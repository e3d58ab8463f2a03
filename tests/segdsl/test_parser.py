"""What the parser makes of correct files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segdsl import syntax
from segdsl.parser import comments, parse
from segdsl.source import Source, Span

SKETCHES = sorted((Path(__file__).parent / "data" / "sketches").rglob("*.seg"))


def read(text: str) -> syntax.Module:
    module, diagnostics = parse(Source("test.seg", text))
    assert diagnostics == ()
    return module


def body(*lines: str) -> tuple[syntax.Stmt, ...]:
    item = read("seg 1\nnet A() {\n" + "".join(f"  {line}\n" for line in lines) + "}\n").items[0]
    assert isinstance(item, syntax.Net)
    return item.body


def expr(text: str) -> Any:
    statement = body(f"x = {text}")[0]
    assert isinstance(statement, syntax.Bind)
    return statement.value


def nodes(value: object) -> Iterator[Any]:
    """All dataclass nodes of a tree."""
    if isinstance(value, tuple):
        for part in value:
            yield from nodes(part)
    elif dataclasses.is_dataclass(value) and not isinstance(value, Span | Source):
        yield value
        for field in dataclasses.fields(value):
            yield from nodes(getattr(value, field.name))


@pytest.mark.parametrize("path", SKETCHES, ids=lambda p: p.stem)
def test_sketches_parse(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    module = read(text)
    assert module.edition == 1
    assert module.tokens > 50
    found = [n for n in nodes(module.items) if hasattr(n, "span")]
    assert len(found) > 50
    for node in found:
        assert 0 <= node.span.start < node.span.end <= len(text)
        assert node.span.text == node.span.text.strip()


@pytest.mark.parametrize("path", SKETCHES, ids=lambda p: p.stem)
def test_spans_hold_what_they_name(path: Path) -> None:
    for node in nodes(read(path.read_text(encoding="utf-8")).items):
        match node:
            case syntax.Ident(name, span) | syntax.Name(name, span):
                assert span.text == name
            case syntax.Number(value, unit, span):
                digits = span.text.replace("_", "").removesuffix(unit)
                assert type(value)(digits) == value
            case syntax.PlainValue(str(value), span):
                assert span.text == f'"{value}"'
            case syntax.Path(_, span):
                assert span.text.startswith("@")
            case syntax.Call(callee, _, span):
                assert span.start == callee.span.start
                assert span.text.endswith(")")


@pytest.mark.parametrize("path", SKETCHES, ids=lambda p: p.stem)
def test_line_ends_and_byte_order_mark_change_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    plain = repr_without_places(read(text))
    assert repr_without_places(read(text.replace("\n", "\r\n"))) == plain
    assert repr_without_places(read("\ufeff" + text)) == plain
    assert repr_without_places(read(text.replace("  ", "\t"))) == plain
    assert repr_without_places(read(text.rstrip("\n"))) == plain


def repr_without_places(module: syntax.Module) -> list[object]:
    found: list[object] = []
    for node in nodes(module.items):
        fields = dataclasses.fields(node)
        plain = [getattr(node, f.name) for f in fields if f.name != "span"]
        found.append((type(node).__name__, [v for v in plain if isinstance(v, str | int | float)]))
    return found


def test_a_pipeline() -> None:
    pipe = expr("a + b -> conv(8, k=1) @p{i}.q as y -> relu")
    assert type(pipe.source).__name__ == "Binary"
    conv, relu = pipe.stages
    assert type(conv.call).__name__ == "Call"
    assert [a.name and a.name.name for a in conv.call.args] == [None, "k"]
    assert conv.call.args[1].span.text == "k=1"
    assert conv.path.parts[0][0] == "p"
    assert conv.path.parts[0][1].span.text == "i"
    assert conv.path.parts[1] == ("q",)
    assert conv.tap.name == "y"
    assert conv.span.text == "conv(8, k=1) @p{i}.q as y"
    assert relu == syntax.Stage(syntax.Name("relu", relu.span), None, None, relu.span)


def test_a_repeat_stage() -> None:
    repeat = expr("a -> repeat n - 1 as k { f @{k} -> g } as t").stages[0]
    assert repeat.count.span.text == "n - 1"
    assert repeat.index.name == "k"
    assert [s.span.text for s in repeat.stages] == ["f @{k}", "g"]
    assert repeat.tap.name == "t"


def test_precedence_of_operators() -> None:
    value = expr("not -a ** b * c + d == e and f or g if h else i")
    assert type(value).__name__ == "Choose"
    assert (value.then.op, value.then.operands[0].op) == ("or", "and")
    negation = value.then.operands[0].operands[0]
    assert negation.op == "not"
    product = negation.operand.first.first
    assert (product.rest[0][0], product.first.op) == ("*", "-")
    assert product.first.operand.rest[0][0] == "**"


def test_runs_of_operators_are_flat() -> None:
    value = expr(" + ".join(["a"] * 1000))
    assert isinstance(value, syntax.Binary)
    assert len(value.rest) == 999


def test_parentheses_belong_to_the_outer_span_only() -> None:
    product = expr("(a + b) * c")
    assert product.span.text == "(a + b) * c"
    assert product.first.span.text == "a + b"


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("12", 12, ""),
        ("60_996_202", 60996202, ""),
        ("0", 0, ""),
        ("0.5", 0.5, ""),
        ("1e-5", 1e-5, ""),
        ("404px", 404, "px"),
        ("8x", 8, "x"),
        ("61.0M", 61.0, "M"),
        ("2K", 2, "K"),
        ("1e3G", 1000.0, "G"),
    ],
)
def test_numbers(text: str, value: float, unit: str) -> None:
    number = expr(text)
    assert (number.value, type(number.value), number.unit) == (value, type(value), unit)


def test_strings() -> None:
    assert expr(r'"a\"b\\c\nd\te é"').value == 'a"b\\c\nd\te é'
    assert expr('""').value == ""


@pytest.mark.parametrize(
    ("text", "parts"),
    [("@.", ()), ("@0.1", (("0",), ("1",))), ("@a.b_2", (("a",), ("b_2",)))],
)
def test_weight_paths(text: str, parts: object) -> None:
    assert expr(f"f {text}").path.parts == parts


def test_spans_in_weight_paths_are_places_of_the_file() -> None:
    path = expr("f @layer{len(rates) + 1}.{j}x").path
    assert path.parts[0][0] == "layer"
    assert path.parts[0][1].span.text == "len(rates) + 1"
    assert path.parts[1][0].span.text == "j"
    assert path.parts[1][1] == "x"


def test_words_of_statements_are_names_elsewhere() -> None:
    value = expr("conv(init=bilinear, train=false, check=where, seg=net.post, weight=layer)")
    assert [a.name.name for a in value.args] == ["init", "train", "check", "seg", "weight"]
    assert value.args[2].value.name == "where"


def test_a_line_goes_on() -> None:
    statements = body(
        "x =",
        "  a +",
        "  b",
        "y = f(a,",
        "b)",
        "z = a",
        "  # a comment between",
        "",
        "  -> f",
        "check a ~= b within 2%",
        "w = a if",
        "  b else c",
    )
    assert [type(s).__name__ for s in statements] == ["Bind", "Bind", "Bind", "Check", "Bind"]


def test_within_is_a_fraction() -> None:
    check = body('check a ~= b within 0.5% else "m"')[0]
    assert isinstance(check, syntax.Check)
    assert (check.within, check.message) == (0.005, "m")


def test_else_if_is_an_if_alone() -> None:
    statement = body("if a { } else if b { } else { x = 1 }")[0]
    assert isinstance(statement, syntax.If)
    inner = statement.otherwise
    assert inner is not None
    assert isinstance(inner[0], syntax.If)
    assert len(inner) == 1
    assert inner[0].then == ()
    assert inner[0].otherwise is not None


def test_documentation() -> None:
    module = read(
        "## not mine\nseg 1\n# plain\n## First.\n\n##  Second.\nnet A() {\n}\n"
        "const B = 1 ## no\nblock C() {\n}\n"
    )
    docs = [item.doc for item in module.items if isinstance(item, syntax.Net | syntax.Block)]
    assert docs == [("First.", " Second."), ()]


def test_comments() -> None:
    text = 'seg 1 # a\r\n## b\nconst A = "# no" #c\n'
    assert [c.text for c in comments(Source("x", text))] == ["# a", "## b", "#c"]


def test_imports() -> None:
    names, file = read('seg 1\nfrom std.r import A as B, C\nimport "d.seg" as e\n').items
    assert isinstance(names, syntax.ImportNames)
    assert [i.name for i in names.module] == ["std", "r"]
    assert [(a.name, b.name) for a, b in names.names] == [("A", "B"), ("C", "C")]
    assert isinstance(file, syntax.ImportFile)
    assert (file.file.value, file.alias.name) == ("d.seg", "e")


def test_types() -> None:
    net = read(
        'seg 1\nnet A(a: oneof("x", "y") = "x", b: [[int]], c: f32[N, ..., _]) {\n}\n'
    ).items[0]
    assert isinstance(net, syntax.Net)
    a, b, c = (p.type for p in net.params)
    assert isinstance(a, syntax.NamedType)
    assert len(a.args) == 2
    assert isinstance(b, syntax.ShapeType)
    assert isinstance(b.dims[0], syntax.ListExpr)
    assert isinstance(c, syntax.ShapeType)
    assert c.dtype is not None
    assert isinstance(c.dims[1], syntax.AnyDims)


def test_same_lines_more_lines_more_tokens() -> None:
    one = read("seg 1\nnet A() {\n" + "  x = f(y) @a{i}\n" * 10 + "}\n")
    two = read("seg 1\nnet A() {\n" + "  x = f(y) @a{i}\n" * 20 + "}\n")
    assert two.tokens - one.tokens == 10 * 8
