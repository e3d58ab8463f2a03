"""Programs that are nearly right: an answer or a diagnostic, never anything else."""

from __future__ import annotations

import random
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from segdsl.fmt import format_source
from segdsl.limits import Limits
from segdsl.parsing.tables import OPERATORS
from segdsl.parsing.tables import WORDS as KEYWORDS
from segdsl.program import Program, examine_source
from segdsl.render import render
from segdsl.source import Source
from tests.support.adorned import adorned, nearly
from tests.support.fuzz_targets import check_text, parse_bytes
from tests.support.grammatical import text_of, texts

ROOT = Path(__file__).parents[2]
TEXTS = [p.read_text() for p in sorted((ROOT / "specs").glob("*.seg"))]
LIMITS = Limits(nodes=3_000, steps=100_000)
TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\d+(?:\.\d+)?|\s+|->|\S")
WORDS = """
0 1 2 3 7 16 64 1.5 -1 10_000_000 999999999999999999 true false none
x image H W out relu conv max_pool resize crop concat bn ResNet @x @. @a.{i} "a"
[ ] ( ) { } , = -> + - * / // % ** == <= if else for in repeat var layer weight input output
check where within as block net params macs shape stride sum max range len reversed
nearest bilinear same valid centre like=image mode=bilinear
""".split()  # noqa: SIM905


def verdict(text: str) -> Program:
    program = examine_source(Source("fuzz.seg", text), None, limits=LIMITS, every=True)
    for diagnostic in program.diagnostics:
        assert re.fullmatch(r"[EW]\d{4}", diagnostic.code)
        assert diagnostic.message
        spans = [diagnostic.span, *(label.span for label in diagnostic.labels)]
        for span in spans:
            assert span is None or 0 <= span.start <= span.end <= len(span.source.text)
    render(program.diagnostics)
    return program


@settings(max_examples=120)
@given(st.sampled_from(TEXTS), st.data())
def test_one_changed_token(text: str, data: st.DataObject) -> None:
    tokens = TOKEN.findall(text)
    places = [i for i, token in enumerate(tokens) if not token.isspace()]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places))
        tokens[place] = data.draw(st.sampled_from(["", tokens[place] * 2, *WORDS]))
    verdict("".join(tokens))


@settings(max_examples=60)
@given(st.sampled_from(TEXTS), st.data())
def test_two_lines_change_places(text: str, data: st.DataObject) -> None:
    lines = text.split("\n")
    a, b = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    lines[a], lines[b] = lines[b], lines[a]
    verdict("\n".join(lines))


@settings(max_examples=80)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=14))
def test_any_words_in_a_net(words: list[str]) -> None:
    verdict(
        "seg 1\nnet Fuzz(i: int = 2) {\n  input image: f32[N, 3, H, W]\n"
        "  x = image -> conv(8, 3, pad=1)\n"
        f"  y = {' '.join(words)}\n  output out = y\n}}\n"
    )


@settings(max_examples=25)
@given(adorned())
def test_programs_of_every_statement(text: str) -> None:
    """All that can be said of a valid program can be written, and the formatter keeps it."""
    assert [d for d in check_text(text).diagnostics if d.code.startswith("E")] == [], text
    once = format_source(Source("adorned.seg", text))
    assert not check_text(once).failed


@settings(max_examples=80)
@given(adorned(), st.data())
def test_nearly_valid_programs(text: str, data: st.DataObject) -> None:
    """One or two things changed: the answer is a graph or diagnostics with their places."""
    for _ in range(data.draw(st.integers(1, 2))):
        text = nearly(data.draw, text)
    check_text(text)


@settings(max_examples=60)
@given(texts())
def test_texts_of_the_grammar(text: str) -> None:
    """Every rule of the grammar, with no regard to what it means."""
    parse_bytes(text.encode())
    check_text(text)


def test_the_grammar_is_drawn_whole() -> None:
    """Each word and sign of the language occurs."""
    dice = random.Random(1)
    texts = [text_of(rule, dice) for rule in ["item", "stmt"] * 150]
    drawn = {word for text in texts for word in text.split()}
    assert {*KEYWORDS, *OPERATORS} - drawn == {"seg"}
