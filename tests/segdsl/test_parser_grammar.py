"""The grammar itself: no conflicts, tables up to date, the same language as Lark's own parser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lark
import pytest

from segdsl.limits import Limits
from segdsl.parsing.generate import GRAMMAR, TABLES, build, generate
from segdsl.parsing.lalr import Machine
from segdsl.parsing.layout import layout
from segdsl.parsing.scan import scan
from segdsl.parsing.tokens import CONTINUES, Token
from segdsl.source import Source

SKETCHES = sorted((Path(__file__).parent / "data" / "sketches").rglob("*.seg"))
SNIPPETS = [
    "x = a if b else c if d else e",
    "x = -a ** -b ** c * d // e % f - g + h",
    "x = not a and not b or c in d == e < f",
    "x = [for i, r in enumerate(xs): if i: f(r), *g(y)[1:], [1:][0],]".replace("[1:][0],", "z[:],"),
    "a, b: [N, ..., _, 2*h] = f(x, init=bilinear, train=false)(y).z[i:j]",
    "x = y -> repeat n as i {\n f @a{i}.0 as t\n -> repeat 2 { g }\n } as u",
    "if a { x = 1 } else if b { x = 2\n } else {\n\n x = 3 }",
    'check rf(x).size == 404px\n  check p ~= 9.4M within 2% else "m"\n  check q within 0.5%',
    "x =\n 1 +\n 2 # c\n  y = a\n    -> b\n\n    # between\n    -> c",
    "train output aux: [N, C] = a @b -> c(d) @. as e",
    "post keep, rest = nms(boxes, iou=0.5)\n  weight g: [C] = 1e-5\n  layer t = conv(3) @t",
    'input x: f32[N, 3, H, W]\n    where H % 2 == 0 else "even",\n      W >= 33',
    'output mask\n  output m: [int]\n  output n: oneof("a", "b") = true',
    'var x = none\n  x += [y]\n  init "a*.b" = zeros\n  f(x) -> g as h',
]


class _Newlines:
    """The newline rule as a filter over Lark's own tokens, that looks back only."""

    always_accept = ("_NL",)

    def process(self, stream: Iterator[lark.Token]) -> Iterator[lark.Token]:
        stack: list[str] = []
        before: list[str] = ["_NL"]
        for token in stream:
            if token.type in ("LPAR", "LSQB", "LBRACE"):
                stack.append(token.type)
            elif token.type in ("RPAR", "RSQB", "RBRACE"):
                stack.pop()
            if token.type == "_NL":
                unit = before[-3:] == ["WITHIN", "NUMBER", "PERCENT"]
                inside = bool(stack) and stack[-1] != "LBRACE"
                if inside or before[-1] == "_NL" or (before[-1] in CONTINUES and not unit):
                    continue
            before.append(token.type)
            yield token


def lark_tree(text: str) -> Any:
    parser = lark.Lark(
        GRAMMAR.read_text(encoding="utf-8"),
        parser="lalr",
        lexer="contextual",
        start="start",
        postlex=_Newlines(),
    )
    return _plain(parser.parse(text))


def _plain(node: Any) -> Any:
    if isinstance(node, lark.Tree):
        return (str(node.data), [_plain(child) for child in node.children])
    return None if node is None else str(node)


def our_tree(text: str) -> Any:
    source = Source("test", text)

    def node(rule: str, kids: list[Any], start: int, end: int, depth: int) -> tuple[Any, int]:
        assert 0 <= start <= end <= len(text)
        return (rule, [text[k.start : k.end] if isinstance(k, Token) else k for k in kids]), depth

    tokens = layout(source, scan(source, Limits()).tokens)
    machine = Machine("start", node)
    assert machine.run(tokens, 0) == len(tokens)
    return machine.result


def test_grammar_has_no_conflict_in_strict_mode() -> None:
    pytest.importorskip("interegular")
    build(GRAMMAR.read_text(encoding="utf-8"), strict=True)


def test_strict_mode_finds_a_conflict() -> None:
    pytest.importorskip("interegular")
    broken = GRAMMAR.read_text(encoding="utf-8").replace(
        '?factor: "-" factor ', '?factor: "-" factor | factor "-" factor '
    )
    with pytest.raises(lark.exceptions.GrammarError):
        build(broken, strict=True)


def test_tables_are_those_of_the_grammar() -> None:
    fresh = generate(GRAMMAR.read_text(encoding="utf-8"))
    assert TABLES.read_text(encoding="utf-8") == fresh


@pytest.mark.parametrize("seed", ["1", "2"])
def test_tables_do_not_depend_on_the_hash_seed(seed: str) -> None:
    code = (
        "from segdsl.parsing.generate import *\n"
        "assert generate(GRAMMAR.read_text(encoding='utf-8')) == TABLES.read_text(encoding='utf-8')"
    )
    env = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(GRAMMAR.parent.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=120)


def test_the_parser_needs_no_lark() -> None:
    code = (
        "import sys, types\n"
        f"package = types.ModuleType('segdsl'); package.__path__ = [{str(GRAMMAR.parent)!r}]\n"
        "sys.modules['segdsl'] = package\n"
        "import segdsl.parser\n"
        "print(sorted({'lark', 'networkx', 'numpy', 'pickle'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SKETCHES, ids=lambda p: p.stem)
def test_same_tree_as_lark_on_sketches(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert our_tree(text) == lark_tree(text)


@pytest.mark.parametrize("body", SNIPPETS)
def test_same_tree_as_lark(body: str) -> None:
    text = f"seg 1\nnet A(a: int = 1, b: tensor) where a > 0 {{\n  {body}\n}}\n"
    assert our_tree(text) == lark_tree(text)


@pytest.mark.parametrize(
    "text",
    [
        'seg 1\nblock B(x: [N, C],) -> y where C in [1] else "m", C > 0 { y = x }\n',
        "seg 1\nblock B()\n  -> (y, z: [N],)\n  where a { }\n",
        '\n\n# c\nseg 1\nfrom a.b import C as D, E\nimport "f.seg" as g\nconst X: int = 1\n',
    ],
)
def test_same_items_as_lark(text: str) -> None:
    assert our_tree(text) == lark_tree(text)
