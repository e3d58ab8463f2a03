"""The caps on the text of a file: each at its limit, and one beyond it."""

from __future__ import annotations

import sys
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl.limits import Limits
from segdsl.parser import comments, parse
from segdsl.source import Source

BODY = "seg 1\nnet A() {{\n  {}\n}}\n"


def codes(text: str, limits: Limits = Limits()) -> list[str]:  # noqa: B008
    module, diagnostics = parse(Source("test.seg", text), limits)
    for diagnostic in diagnostics:
        assert diagnostic.span is not None
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)
    assert module.source.text == text
    return [d.code for d in diagnostics]


def message(text: str, limits: Limits = Limits()) -> str:  # noqa: B008
    (diagnostic,) = parse(Source("test.seg", text), limits)[1]
    return diagnostic.message


def bind(value: str) -> str:
    return BODY.format(f"x = {value}")


def test_the_defaults_are_those_of_the_language() -> None:
    limits = Limits()
    assert (limits.file_bytes, limits.files, limits.program_bytes) == (2**20, 64, 2**22)
    assert (limits.tokens, limits.nesting, limits.import_depth) == (100_000, 128, 16)
    assert (limits.digits, limits.name_length, limits.string_length) == (18, 64, 4096)
    assert (limits.nodes, limits.parameters, limits.path) == (100_000, 2**31, 512)
    assert all(getattr(limits, field.name) > 0 for field in fields(limits))


def test_size_of_a_file() -> None:
    start = "seg 1\n#"
    fits = start + "\n#" * ((2**20 - len(start)) // 2)
    assert len(fits) in (2**20, 2**20 - 1)
    fits += "\n" * (2**20 - len(fits))
    assert codes(fits) == []
    assert codes(fits + " ") == ["E0020"]
    assert message(fits + " ") == "this file has 1,048,577 bytes; the limit is 1,048,576"


def test_size_counts_bytes() -> None:
    limits = replace(Limits(), file_bytes=12)
    assert codes("seg 1\n#" + "\u00e9" * 2, limits) == []
    assert codes("seg 1\n#" + "\u00e9" * 3, limits) == ["E0020"]


def test_tokens() -> None:
    text = bind("[" + "1," * 10 + "]")
    count = parse(Source("x", text))[0].tokens
    assert codes(text, replace(Limits(), tokens=count)) == []
    assert codes(text, replace(Limits(), tokens=count - 1)) == ["E0022"]
    assert (
        message(text, replace(Limits(), tokens=20))
        == "this file has more than 20 tokens, the limit of a program"
    )


def test_tokens_at_the_default() -> None:
    rest = 100_000 - parse(Source("x", bind("[]")))[0].tokens
    assert codes(bind("[" + "1," * (rest // 2) + "1" * (rest % 2) + "]")) == []
    assert codes(bind("[" + "1," * (rest // 2) + "1" * (rest % 2) + "]") + "const") == ["E0022"]


def test_tokens_in_weight_paths_count() -> None:
    one = parse(Source("x", bind("f @a{1}")))[0].tokens
    many = parse(Source("x", bind("f @a{1 + 2 * 3}")))[0].tokens
    assert many - one == 4
    assert codes(bind("f @a{1" + "+1" * 50 + "}"), replace(Limits(), tokens=50)) == ["E0022"]


CHAINS = {
    "parentheses": lambda n: "(" * n + "1" + ")" * n,
    "lists": lambda n: "[" * n + "]" * n,
    "calls": lambda n: "f(" * n + ")" * n,
    "indices": lambda n: "a[" * n + "0" + "]" * n,
    "minus": lambda n: "-" * n + "1",
    "minus with blanks": lambda n: "- " * n + "1",
    "not": lambda n: "not " * n + "a",
    "power": lambda n: "a ** " * n + "a",
    "choice": lambda n: "a if b else " * n + "c",
    "attributes": lambda n: "a" + ".b" * n,
    "calls of calls": lambda n: "f" + "()" * n,
    "indices of indices": lambda n: "a" + "[0]" * n,
    "each": lambda n: "[" + "for i in a: " * (n - 1) + "1]",
    "when": lambda n: "[" + "if a: " * (n - 1) + "1]",
}


@pytest.mark.parametrize("chain", CHAINS)
def test_nesting(chain: str) -> None:
    before = sys.getrecursionlimit()
    brackets = chain in ("parentheses", "lists", "calls", "indices")
    room = 1 if brackets else 0  # the brace of the net is open too
    assert codes(bind(CHAINS[chain](128 - room))) == []
    assert codes(bind(CHAINS[chain](129 - room))) == ["E0021"]
    assert codes(bind(CHAINS[chain](5000))) == ["E0021"]
    assert sys.getrecursionlimit() == before
    text = "this is nested 129 levels deep; the limit is 128"
    assert message(bind(CHAINS[chain](129 - room))) == text


def test_nesting_outside_of_nets() -> None:
    assert codes("seg 1\nconst A = " + "[" * 128 + "]" * 128 + "\n") == []
    assert codes("seg 1\nconst A = " + "[" * 129 + "]" * 129 + "\n") == ["E0021"]


def test_nesting_in_weight_paths() -> None:
    assert codes(bind("f @a{" + "(" * 126 + "1" + ")" * 126 + "}")) == []
    assert codes(bind("f @a{" + "(" * 127 + "1" + ")" * 127 + "}")) == ["E0021"]
    assert codes(bind("f @a{" + "-" * 128 + "1}")) == []
    assert codes(bind("f @a{" + "-" * 129 + "1}")) == ["E0021"]


def test_nesting_of_blocks() -> None:
    assert codes(BODY.format("if a {\n" * 127 + "}\n" * 127)) == []
    assert codes(BODY.format("if a {\n" * 128 + "}\n" * 128)) == ["E0021"]
    assert codes(BODY.format("if a { }" + " else if a { }" * 127)) == []
    assert codes(BODY.format("if a { }" + " else if a { }" * 128)) == ["E0021"]


def test_long_runs_are_no_nesting() -> None:
    assert codes(bind("a" + " + a" * 5000)) == []
    assert codes(bind("a" + " and a" * 5000)) == []
    assert codes(bind("a" + " -> f" * 5000)) == []


@pytest.mark.parametrize(
    ("fits", "beyond", "code"),
    [
        ("9" * 18, "9" * 19, "E0012"),
        ("1." + "9" * 17, "1." + "9" * 18, "E0012"),
        ("123_456_789_123_456_789", "1_123_456_789_123_456_789", "E0012"),
        ("1e300", "1e400", "E0012"),
        ("1e-300", "1e0001", "E0012"),
        ("a" * 64, "a" * 65, "E1009"),
        ("_a", "__a", "E1009"),
        ('"' + "a" * 4096 + '"', '"' + "a" * 4097 + '"', "E0013"),
    ],
)
def test_words(fits: str, beyond: str, code: str) -> None:
    assert codes(bind(fits)) == []
    assert codes(bind(beyond)) == [code]


def test_a_name_of_a_megabyte_is_not_repeated_in_the_message() -> None:
    assert message(bind("a" * 500_000)) == "this name has 500,000 characters; the limit is 64"
    assert message(bind("1" * 500_000)) == "this number has 500,000 digits; the limit is 18"


def test_comments() -> None:
    assert codes("seg 1\n#" + "a" * 65_535 + "\n") == []
    assert codes("seg 1\n#" + "a" * 65_536 + "\n") == ["E0013"]
    doc = "## " + "a" * 65_500 + "\n## "
    assert codes("seg 1\n" + doc + "a" * 36 + "\nconst A = 1\n") == []
    assert codes("seg 1\n" + doc + "a" * 37 + "\nconst A = 1\n") == ["E0013"]


def test_diagnostics_that_are_kept() -> None:
    limits = replace(Limits(), kept_diagnostics=20)
    assert len(codes(BODY.format("x = 3 3\n" * 20), limits)) == 20
    assert 20 <= len(codes(BODY.format("x = 3 3\n" * 500), limits)) <= 22
    assert 20 <= len(codes(BODY.format("x = )\n" * 500), limits)) <= 22
    assert 20 <= len(codes(BODY.format("x = $\n" * 500), limits)) <= 22


def test_comments_of_a_refused_file() -> None:
    text = "seg 1 # a\n" + "(" * 200
    assert list(comments(Source("x", text))) == []


@given(st.floats(min_value=1e-300, allow_infinity=False))
def test_every_number_can_be_written_as_python_writes_it(value: float) -> None:
    """Printed graphs hold such numbers: 0.017241379310344827 has 17 digits behind its zeros."""
    assert codes(bind(repr(value))) == []
