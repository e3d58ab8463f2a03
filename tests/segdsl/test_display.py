from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl.display import clean, shown, width


@pytest.mark.parametrize(
    ("char", "expected"),
    [
        ("a", "a"),
        ("\t", "    "),
        ("\x1b", r"\x1b"),
        ("\r", r"\x0d"),
        ("\x85", r"\x85"),
        ("\u202e", r"\u202e"),
        ("\u2028", r"\u2028"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
        ("é", "é"),
        ("日", "日"),
    ],
)
def test_dangerous_characters_are_escaped(char: str, expected: str) -> None:
    assert shown(char) == expected


@pytest.mark.parametrize(("char", "expected"), [("é", r"\xe9"), ("…", "..."), ("日", r"\u65e5")])
def test_ascii(char: str, expected: str) -> None:
    assert shown(char, ascii=True) == expected


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("\uff46", 2), ("", 0), ("é", 1)]
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


@given(st.text(st.characters(exclude_categories=[])))
def test_clean_text_is_printable_and_encodable(text: str) -> None:
    result = clean(text)
    result.encode("utf-8")
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in result)
    assert clean(text, ascii=True).isascii()
