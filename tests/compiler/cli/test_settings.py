from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.cli.settings import parse_settings
from compiler.cli.usage import UsageError
from segdsl.ir import Const


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("19", 19),
        ("-3", -3),
        ("60_996_202", 60_996_202),
        ("0", 0),
        ("0.5", 0.5),
        ("1e-5", 1e-5),
        ("- 2.5E3", -2500.0),
        ("true", True),
        ("false", False),
        ("none", None),
        ("relu", "relu"),
        ('"a \\"b\\" \\\\ \\n"', 'a "b" \\ \n'),
        ('""', ""),
        ("[]", ()),
        ("[6, 12,18]", (6, 12, 18)),
        ("[6,]", (6,)),
        ("[[1, 2], [true, none, x]]", ((1, 2), (True, None, "x"))),
        (" 19 ", 19),
    ],
)
def test_values(text: str, value: Const) -> None:
    got = parse_settings([f"name={text}"])["name"]
    assert got == value
    assert type(got) is type(value)


def test_several_settings() -> None:
    assert parse_settings(["classes=19", "act=relu"]) == {"classes": 19, "act": "relu"}


@pytest.mark.parametrize(
    ("text", "marked", "message"),
    [
        ("classes", "classes", "name=value"),
        ("=3", "", "not the name"),
        ("a-b=3", "a-b", "not the name"),
        ("a=", "", "missing"),
        ("a=-", "", "missing"),
        ("a=-x", "x", "not a value"),
        ("a=--1", "-", "not a value"),
        ("a=[1", "", "missing"),
        ("a=[1 2]", "2", "not a value"),
        ("a=[,]", ",", "not a value"),
        ("a=1 2", "2", "not a value"),
        ("a=]", "]", "not a value"),
        ("a=07", "07", "leading zeros"),
        ("a=" + "1" * 19, "1" * 19, "18 digits"),
        ("a=1e999", "1e999", "not finite"),
        ("a=0x10", "0x10", "not a value"),
        ("a=1.", "1.", "not a value"),
        ("a=8x", "8x", "not a value"),
        ('a="x', '"x', "not a value"),
        ("a=__import__('os')", "('os')", "not a value"),
        ("a=" + "[" * 17 + "]" * 17, "[", "not a value"),
    ],
)
def test_what_is_no_value_is_refused_where_it_stands(text: str, marked: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_settings([text])
    (found,) = error.value.diagnostics
    assert found.code == "E2008"
    assert message in found.message
    assert found.span is not None
    assert found.span.text == marked


def test_a_name_twice() -> None:
    with pytest.raises(UsageError, match="set twice"):
        parse_settings(["a=1", "a=1"])


@given(st.text(st.sampled_from('[],-"\\ 0123456789_.exaEtrue\n') | st.characters(), max_size=40))
def test_any_text_is_a_value_or_a_usage_error(text: str) -> None:
    try:
        parse_settings([f"name={text}"])
    except UsageError as error:
        (found,) = error.diagnostics
        assert found.span is not None
        assert 0 <= found.span.start <= found.span.end <= len(text) + 5


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(-1e17, 1e17, allow_nan=False).filter(lambda x: len(repr(abs(x))) < 18)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"])),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Const) -> None:
    text = json.dumps(value).replace("null", "none") if not _has(value, "null") else '"x"'
    expected = value if not _has(value, "null") else "x"
    assert parse_settings([f"name={text}"])["name"] == expected


def _has(value: Const, word: str) -> bool:
    if isinstance(value, tuple):
        return any(_has(item, word) for item in value)
    return isinstance(value, str) and word in value
