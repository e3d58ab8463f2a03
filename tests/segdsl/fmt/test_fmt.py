"""The formatter: it keeps the tree and the comments, and has one opinion."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segdsl.diagnostics import SegError
from segdsl.fmt import format_source
from segdsl.fmt.fitting import WIDTH
from segdsl.fmt.same import same
from segdsl.limits import Limits
from segdsl.parser import comments, parse
from segdsl.parsing.scan import scan
from segdsl.parsing.tokens import CONTINUED_BY, CONTINUES, NEWLINE, Token
from segdsl.source import Source
from tests.support.grown import Grown
from tests.support.spatial import spatial_programs
from tests.support.written import Written, written

ROOT = Path(__file__).resolve().parents[3]
STOCK = sorted([*ROOT.glob("specs/*.seg"), *ROOT.glob("segdsl/std/*.seg")])
FENCE = re.compile(r"^```seg\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fmt(text: str) -> str:
    return format_source(Source("f.seg", text))


def is_right(text: str) -> bool:
    return not parse(Source("f.seg", text))[1]


def corpus() -> list[str]:
    """Every program of this repository that has no mistake in its text."""
    pages = [*ROOT.glob("tests/messages/*.md"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    pages += ROOT.glob("segdsl/explain/*.md")
    texts = [path.read_text() for path in STOCK]
    for page in sorted(pages):
        texts += FENCE.findall(page.read_text())
    return [text for text in texts if is_right(text)]


CORPUS = corpus()


def remarks(text: str) -> list[str]:
    return [span.text.rstrip() for span in comments(Source("f.seg", text))]


def check(text: str) -> str:
    """Formats a text and holds the result against everything that is promised."""
    out = fmt(text)
    assert same(parse(Source("f.seg", text))[0], parse(Source("f.seg", out))[0])
    assert remarks(out) == remarks(text)
    assert fmt(out) == out
    assert not re.search(r"[ \t]$|\r|\n\n\n|\t", out, re.MULTILINE)
    assert out.endswith("\n")
    return out


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) > 100


@pytest.mark.parametrize("path", STOCK, ids=lambda p: p.stem)
def test_stock_files_are_formatted(path: Path) -> None:
    text = path.read_text()
    assert check(text) == text


def test_every_program_of_the_repository() -> None:
    for text in CORPUS:
        check(text)


def mangled(text: str, seed: int) -> str:
    """The same tokens with other spaces, line ends and comments wherever the language allows."""
    pick = Random(seed).choice
    source = Source("f.seg", text)
    tokens = [t for t in _laid_out(source)]
    result, depth, previous = "", 0, ""
    for place, token in enumerate(tokens):
        word = "\n" if token.kind == NEWLINE else text[token.start : token.end]
        free = depth > 0 or previous in CONTINUES or token.kind in CONTINUED_BY
        if token.kind != NEWLINE and place and previous != NEWLINE:
            result += pick(["", " ", "  "]) if _may_touch(result, word) else " "
            if free and not _is_unit(tokens, place):
                ends = ["", "", "", "\n", "\n   ", "\n\n", " # a\n", "\n  # b\n", "\n\n # c\n\n"]
                result += pick(ends)
        depth += (token.kind in ("LPAR", "LSQB")) - (token.kind in ("RPAR", "RSQB"))
        result += word
        previous = token.kind
    return result


def _laid_out(source: Source) -> list[Token]:
    from segdsl.parsing.layout import layout

    return [t for t in layout(source, scan(source, Limits()).tokens) if t.kind != "$END"]


def _may_touch(before: str, word: str) -> bool:
    """Whether two tokens stay two without a space between them."""
    return not (re.match(r"[\w@.\"]", word) and re.search(r"[\w@.\"}]$", before)) and not (
        before[-1:] in "-*/=<>!~+%@.:" or word[:1] in "-*/=<>!~+%@.:#"
    )


def _is_unit(tokens: list[Token], place: int) -> bool:
    """`within 2%` at a line end: there `%` ends the statement."""
    kinds = [t.kind for t in tokens[max(place - 3, 0) : place + 1]]
    return "WITHIN" in kinds


@pytest.mark.parametrize("path", STOCK, ids=lambda p: p.stem)
@settings(max_examples=8)
@given(st.integers(0, 2**32))
def test_mangled_stock_files(path: Path, seed: int) -> None:
    check(mangled(path.read_text(), seed))


@settings(max_examples=80)
@given(st.sampled_from(CORPUS), st.integers(0, 2**32))
def test_mangled_programs(text: str, seed: int) -> None:
    check(mangled(text, seed))


@settings(max_examples=20)
@given(spatial_programs(), st.integers(0, 2**32))
def test_random_programs(grown: Grown, seed: int) -> None:
    """Whatever its layout was, a program formats to one of the same graph."""
    from tests.support.grown import examine_text

    out = check(mangled(grown.text, seed))
    assert examine_text(out).graph == grown.program.graph


@settings(max_examples=15)
@given(written(), st.integers(0, 2**32))
def test_random_programs_over_all_operators(program: Written, seed: int) -> None:
    """The same with blocks, loops, layers, choices and several heads; comments at odd places."""
    from tests.support.grown import examine_text

    out = check(mangled(program.text, seed))
    assert examine_text(out).graph == program.graph


@pytest.mark.parametrize("path", STOCK, ids=lambda p: p.stem)
def test_statements_in_one_line_are_broken(path: Path) -> None:
    """Without any line end inside its statements a file still becomes narrow."""
    text = path.read_text()
    joined = "".join(
        "\n" if t.kind == NEWLINE else f"{text[t.start : t.end]} "
        for t in _laid_out(Source("f.seg", text))
    )
    out = check(joined)
    assert [line for line in out.split("\n") if len(line) > WIDTH] == []


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("x=-a*( b+c )**2", "x = -a * (b + c) ** 2"),
        ("x = y -> conv (64,3 , stride = 2)@conv1->relu as z", None),
        ("x: [ N , C , H / 8 , w//2 ] = y [ 1 : ] -> crop", "x: [N, C, H/8, w//2] = y[1:] -> crop"),
        ("x = [ *xs , for i , r in ys : r , if a :b, ]", "x = [*xs, for i, r in ys: r, if a: b]"),
        ("check params ~= 61.1 M within 1 %" .replace("61.1 M", "61.1M"), None),
        ("x = y -> repeat 3 as i{a->b}as z", "x = y -> repeat 3 as i { a -> b } as z"),
        ("x = y -> repeat n - 1 { a }", "x = y -> repeat n - 1 { a }"),
        ("x = weight [ 0 ] - - 1", "x = weight[0] - -1"),
        ("check ( a+b )==c", "check (a + b) == c"),
        ("var x=[ ]", "var x = []"),
        ("x+=[y]", "x += [y]"),
        ("x = not a and(b or c)", "x = not a and (b or c)"),
        ("x = 1 if a else - 2", "x = 1 if a else -2"),
        ("x = f(-1, a=-2, b=[-3])", "x = f(-1, a=-2, b=[-3])"),
        ("x = a . b . c", "x = a.b.c"),
        ('init "*.bias"=zeros', 'init "*.bias" = zeros'),
        ("train output aux:[N,2,H,W]=x", "train output aux: [N, 2, H, W] = x"),
        ("input x:f32[N,3,H,W]where H%32==0", "input x: f32[N, 3, H, W] where H % 32 == 0"),
        ("x = concat([a, b,])", "x = concat([a, b])"),
        ("x = y -> a @p.{i+1}.0 -> b", "x = y -> a @p.{i+1}.0 -> b"),
    ],
)  # fmt: skip
def test_spaces(written: str, wanted: str | None) -> None:
    if wanted is None:
        wanted = {
            "x": "x = y -> conv(64, 3, stride=2) @conv1 -> relu as z",
            "c": "check params ~= 61.1M within 1%",
        }[written[0]]
    out = check(f"seg 1\nnet T() {{\n{written}\n}}\n")
    assert out == f"seg 1\n\nnet T() {{\n  {wanted}\n}}\n"


def case(text: str) -> str:
    return text.strip("\n") + "\n"


LAYOUTS = {
    "long call": (
        """
seg 1
net T() {
x = some_operation(first_value=1234567, second_value=12345678,third_value=12345678,fourth_value=1)
}
""",
        """
seg 1

net T() {
  x = some_operation(
        first_value=1234567,
        second_value=12345678,
        third_value=12345678,
        fourth_value=1,
      )
}
""",
    ),
    "paths of a run": (
        """
seg 1
net T() {
x = y -> conv(64, 3) @conv1 -> relu
-> conv(128, 3, stride=2) @conv2 -> relu
-> bn @n
}
""",
        """
seg 1

net T() {
  x = y -> conv(64, 3)            @conv1 -> relu
        -> conv(128, 3, stride=2) @conv2 -> relu
        -> bn                     @n
}
""",
    ),
    "empty lines and comments": (
        """
# head



seg 1
from std.blocks import SE
import "a.seg" as a
const N: int = 1


# of the block
## doc
block A(x: [N]) -> (y: [N]) {

  # inside


  y = x   # beside

  # last

}
net T() {
  if a {
    x = y
  }
  else {
  # nothing
  }
}
# end
""",
        """
# head

seg 1

from std.blocks import SE
import "a.seg" as a
const N: int = 1

# of the block
## doc
block A(x: [N]) -> (y: [N]) {
  # inside

  y = x  # beside

  # last
}

net T() {
  if a {
    x = y
  } else {
    # nothing
  }
}
# end
""",
    ),
    "comments in lists": (
        """
seg 1
net T() {
  x = concat([a, # first
  # second
  b
  ]) # all
}
""",
        """
seg 1

net T() {
  x = concat([a,  # first
              # second
              b])  # all
}
""",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str) -> None:
    written, wanted = map(case, LAYOUTS[name])
    assert check(written) == wanted


def test_mistakes_are_not_touched() -> None:
    with pytest.raises(SegError) as caught:
        fmt("seg 1\nnet T() { x = y -> }\n")
    assert [d.code for d in caught.value.diagnostics] == ["E0003"]


@pytest.mark.parametrize("text", ["\ufeffseg 1\r\nconst A : int = 1\r\n", "seg 1\nconst A:int=1"])
def test_line_ends_and_byte_order_marks(text: str) -> None:
    assert fmt(text) == "seg 1\n\nconst A: int = 1\n"


@example("##x")
@given(st.text(alphabet='#{[(\n ->@abx=,.1"', max_size=30))
def test_any_text_formats_or_is_refused(text: str) -> None:
    try:
        out = fmt(f"seg 1\n{text}\n")
    except SegError:
        return
    assert fmt(out) == out
