"""How characters come out on a terminal: their width, and escapes for dangerous ones."""

from __future__ import annotations

import unicodedata

TAB = 4
"""Columns that a tab takes: drawn as this many spaces wherever it stands."""

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_ZERO_WIDTH = frozenset({"Mn", "Me"})
_ASCII = {"…": "...", "—": "-", "→": "->", "·": ".", "≥": ">=", "≤": "<=", "±": "+-"}
"""What stands in for the signs that our own messages use."""


def shown(char: str, *, ascii: bool = False) -> str:
    r"""One character as it may be printed.

    Controls (escape sequences, bidirectional marks, lone surrogates) become `\x1b` or `\u202e`:
    a source line must not be able to move the cursor or hide text. With `ascii`, so does all that
    is not ASCII.
    """
    if " " <= char <= "~":
        return char
    if char == "\t":
        return " " * TAB
    if ascii and char in _ASCII:
        return _ASCII[char]
    if (ascii and char > "~") or unicodedata.category(char) in _ESCAPED:
        return _escape(ord(char))
    return char


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def is_plain(text: str) -> bool:
    """Whether all characters are printed as they are, one column each."""
    return text.isascii() and text.isprintable()


def clean(text: str, *, ascii: bool = False) -> str:
    """A text of one line as it may be printed."""
    if is_plain(text):
        return text
    return "".join(shown(char, ascii=ascii) for char in text)


def width(text: str) -> int:
    """Terminal columns of a printable text: wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    if char < "\u0300":
        return 1
    if unicodedata.category(char) in _ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
