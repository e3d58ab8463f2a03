"""Whatever the text: the parser returns, reports every mistake once, and goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdsl import syntax
from segdsl.diagnostics import Diagnostic
from segdsl.limits import Limits
from segdsl.parser import parse
from segdsl.parsing.lalr import Machine
from segdsl.parsing.scan import scan
from segdsl.source import Source

SKETCHES = sorted((Path(__file__).parent / "data" / "sketches").rglob("*.seg"))
TEXTS = [path.read_text(encoding="utf-8") for path in SKETCHES]
PLACES = [[(t.start, t.end) for t in scan(Source("x", text), Limits()).tokens] for text in TEXTS]
WORDS = {text[a:b] for text, ps in zip(TEXTS, PLACES, strict=True) for a, b in ps}
VOCABULARY = [
    *sorted(WORDS),
    "'", '"', "@a{", "@{", "#", "## d\n", "\u00e9", "\u202e", "\0", "=>", ":=", "let", "else:",
    "while", "repeat 2 {", "seg", "net A() {", "\r\n", "\r", "1.", ".5", "0x", "...", "**", "->",
    "{", "}", "(", ")", "[", "]", "\ud800", "\ufeff", "\\", "$",
]  # fmt: skip
FUZZ = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def check(text: str) -> tuple[Diagnostic, ...]:
    """Parses, and checks what holds for every text."""
    source = Source("fuzz.seg", text)
    module, diagnostics = parse(source)
    assert module.source is source
    starts = []
    for diagnostic in diagnostics:
        assert diagnostic.code[0] == "E"
        assert diagnostic.message
        assert "_NL" not in diagnostic.message + "".join(diagnostic.notes)
        assert diagnostic.span is not None
        edits = [edit.span for help_ in diagnostic.helps for edit in help_.edits]
        for span in (diagnostic.span, *(label.span for label in diagnostic.labels), *edits):
            assert 0 <= span.start <= span.end <= len(text)
            assert span.source is source
        starts.append(diagnostic.span.start)
    assert starts == sorted(starts)
    return diagnostics


@FUZZ
@given(st.data())
def test_one_token_deleted_doubled_or_swapped(data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(TEXTS) - 1))
    text, places = TEXTS[which], PLACES[which]
    a, b = places[data.draw(st.integers(0, len(places) - 1))]
    c, d = places[data.draw(st.integers(0, len(places) - 1))]
    assert len(check(text[:a] + text[b:])) <= 2
    assert len(check(text[:b] + " " + text[a:b] + text[b:])) <= 2
    if b <= c:
        check(text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:])


def test_nearly_every_single_mistake_gets_a_single_message() -> None:
    chance = random.Random(7)
    counts = []
    for _ in range(300):
        which = chance.randrange(len(TEXTS))
        text, (a, b) = TEXTS[which], chance.choice(PLACES[which])
        counts.append(len(check(text[:a] + text[b:])))
    assert sum(count > 1 for count in counts) <= 3
    assert sum(count == 1 for count in counts) >= 200


@FUZZ
@given(st.lists(st.sampled_from(VOCABULARY), max_size=60), st.sampled_from(["", " "]))
def test_token_soup(words: list[str], glue: str) -> None:
    check(glue.join(words))
    check("seg 1\nnet A() {\n" + glue.join(words) + "\n}\n")


@FUZZ
@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    check(data.decode("latin-1"))
    check("seg 1\n" + data.decode("utf-8", "replace"))


@FUZZ
@given(st.text(max_size=100))
def test_any_text(text: str) -> None:
    check(text)


@FUZZ
@given(st.integers(0, len(TEXTS) - 1), st.integers(0, 10_000))
def test_a_file_that_is_cut_off(which: int, end: int) -> None:
    check(TEXTS[which][:end])


LINES = [
    ("x = y -> conv(64, 3", "E0001"),
    ("x = relu)", "E0002"),
    ("x = y ->", "E0003"),
    ("x = y => relu", "E0004"),
    ("x = f('a')", "E0005"),
    ("fro i in range(3) {\n  y = 3\n  }", "E0006"),
    ("let x = 3", "E0007"),
    ("if aux:", "E0008"),
    ("x = conv(64 3)", "E0009"),
    ("x = 007", "E0012"),
    ("x = $", "E0013"),
    ("x = )(", "E0002"),
    ("x = 3 3", "E0014"),
    ("x =", "E0015"),
    ("x = while", "E1009"),  # last: a bad name is reported once a file
]


@pytest.mark.parametrize("first", LINES, ids=[code for _, code in LINES])
@pytest.mark.parametrize("second", LINES[:-1], ids=[code for _, code in LINES[:-1]])
def test_two_mistakes_give_both_messages(first: tuple[str, str], second: tuple[str, str]) -> None:
    body = f"  a = b\n  {first[0]}\n  c = d\n  {second[0]}\n  e = f\n"
    found = check("seg 1\nnet A() {\n" + body + "}\n\nnet B() {\n  x = y\n}\n")
    lines = [d.span.line for d in found if d.span is not None]
    extra = 0 if first[1] != "E0006" else 2
    assert first[1] in {d.code for d in found}
    assert set(lines) == {4, 6 + extra}
    assert second[1] in {d.code for d in found if d.span and d.span.line == 6 + extra}


def test_all_mistakes_of_a_file_in_one_run() -> None:
    body = "  x = conv(64 3)\n  fro x = y\n  x = y ->\n" * 70
    found = check("seg 1\nnet A() {\n" + body + "}\n")
    assert [d.code for d in found] == ["E0009", "E0006", "E0003"] * 70
    assert [d.span.line for d in found if d.span] == list(range(3, 213))


def test_each_token_is_parsed_at_most_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = [0]
    feed = Machine.feed

    def count(self: Machine, token: object) -> bool:
        fed[0] += 1
        return feed(self, token)  # type: ignore[arg-type]

    monkeypatch.setattr(Machine, "feed", count)
    text = "seg 1\nnet A() {\n" + "  if x y {\n    x = 3 3\n    y = f(1 2)\n  }\n" * 100 + "}\n"
    module, diagnostics = parse(Source("x", text))
    assert len(diagnostics) == 300
    assert fed[0] <= 2 * module.tokens


def test_what_could_be_read_is_kept() -> None:
    text = (
        "seg 1\nnet A() {\n  x = 1\n  y = = 2\n  if z z {\n    w = 3\n  }\n  v = 4\n}\n"
        "blok B() {\n  x = 5\n}\nconst C = 6\n"
    )
    module, diagnostics = parse(Source("x", text))
    assert [d.code for d in diagnostics] == ["E0014", "E0014", "E0006"]
    net, block, const = module.items
    assert isinstance(net, syntax.Net)
    assert isinstance(block, syntax.Block)  # `blok` is read as it was meant
    assert isinstance(const, syntax.Const)
    names = [s.names[0].name if isinstance(s, syntax.Bind) else "if" for s in net.body]
    assert names == ["x", "if", "v"]


def test_a_mistake_in_a_body_does_not_close_it() -> None:
    text = "seg 1\nnet A() {\n  for i in {\n    x = ]\n  }\n  y = 3\n}\nnet B() {\n}\n"
    module, diagnostics = parse(Source("x", text))
    assert [d.code for d in diagnostics] == ["E0014", "E0002"]
    assert len(module.items) == 2


def test_valid_layout_is_never_refused_for_its_indentation() -> None:
    text = (
        "seg 1\nnet A(\nx: int,\ny: int) {\nz = f(\na=1,\nb=2)\n      w = [\n1,\n]\n"
        "if a {\nx = 1\n      }\n    }\n"
    )
    assert check(text) == ()
    noisy = check(text + "net B() {\n  x = y ->\n}\n")
    assert "E0003" in {d.code for d in noisy}
