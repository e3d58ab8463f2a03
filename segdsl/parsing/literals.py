"""The values of number and string literals, and what may be wrong with them."""

from __future__ import annotations

import math
import re

from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help
from segdsl.limits import Limits
from segdsl.parsing.tables import PATTERNS
from segdsl.source import Span

_PARTS = re.compile(r"([\d_]+(?:\.\d+)?)(?:[eE]([+-]?\d+))?(px|x|K|M|G)?", re.ASCII)
_NUMBER = re.compile(PATTERNS["NUMBER"], re.ASCII)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ZEROS = 4
"""Zeros that repr writes before the digits of a float; below 1e-4 it writes an exponent."""

_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}


def number_value(text: str) -> tuple[int | float, str]:
    """The value of a number literal and its unit; 0 for text that `check_number` refuses."""
    found = _PARTS.match(text)
    if found is None or len(text) > 100:
        return 0, ""
    digits, exponent, unit = found.groups()
    digits = digits.replace("_", "")
    if "." not in digits and exponent is None:
        return int(digits or "0"), unit or ""
    value = float(f"{digits}e{exponent or 0}")
    return (value if math.isfinite(value) else 0.0), unit or ""


def string_value(text: str) -> str:
    """The characters of a string with its quotes; unknown escapes stand for their letter."""
    return _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1])


def check_number(span: Span, limits: Limits) -> Diagnostic | None:
    """E0012 if this is no number, or one beyond the limits."""
    text = span.text
    if _NUMBER.fullmatch(text) is None:
        return _malformed(span)
    found = _PARTS.fullmatch(text)
    if found is None:
        return _malformed(span)
    digits = _significant(found[1])
    if digits > limits.digits:
        return _error(span, f"this number has {digits:,} digits; the limit is {limits.digits}")
    exponent = (found[2] or "").lstrip("+-")
    if len(exponent) > limits.exponent_digits:
        size = f"has {len(exponent):,} digits; the limit is {limits.exponent_digits}"
        return _error(span, f"the exponent of this number {size}")
    return _out_of_range(span, found)


def _significant(text: str) -> int:
    """Digits, without the zeros that Python puts before the digits of a small float."""
    digits = [c for c in text if c.isdigit()]
    zeros = next((i for i, c in enumerate(digits) if c != "0"), 0)
    return len(digits) - min(zeros, _ZEROS)


def _out_of_range(span: Span, found: re.Match[str]) -> Diagnostic | None:
    value = float(f"{found[1].replace('_', '')}e{found[2] or 0}")
    if not math.isfinite(value):
        return _error(span, f"`{span.text}` is too large for a number")
    if value == 0 and any(c in "123456789" for c in found[1]):
        return _error(span, f"`{span.text}` is too small for a number")
    return None


def _malformed(span: Span) -> Diagnostic:
    text = span.text
    for pattern, message, fix in _MENDS:
        found = pattern.fullmatch(text)
        if found is not None:
            right = fix(found)
            edit = Edit(span, right)
            help_ = Help(f"write `{right}`", (edit,), Applicability.CERTAIN)
            return _error(span, message.format(_short(text)), help_)
    units = "a number may end in a unit: px, x, K, M or G"
    return _error(span, f"`{_short(text)}` is not a number", note=units)


_MENDS = (
    (re.compile(r"0[0_]*([1-9]\d*|0)"), "`{}` has a leading zero", lambda m: m[1]),
    (re.compile(r"([1-9]\d*|0)\."), "`{}` is not a number", lambda m: f"{m[1]}.0"),
    (re.compile(r"\.(\d+)"), "`{}` is not a number", lambda m: f"0.{m[1]}"),
)


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:20]}…"


def _error(span: Span, message: str, help_: Help | None = None, note: str = "") -> Diagnostic:
    helps = () if help_ is None else (help_,)
    return Diagnostic("E0012", message, span, helps=helps, notes=(note,) if note else ())


def check_string(span: Span, limits: Limits) -> list[Diagnostic]:
    """E0013 for a string that is too long, and for each escape that does not exist."""
    found = []
    length = len(span.text) - 2
    if length > limits.string_length:
        text = f"this string has {length:,} characters; the limit is {limits.string_length:,}"
        found.append(Diagnostic("E0013", text, span))
    for match in _ESCAPE.finditer(span.text, 1, len(span.text) - 1):
        if match[1] not in _ESCAPES:
            place = Span(span.source, span.start + match.start(), span.start + match.end())
            notes = ('the escapes are \\" \\\\ \\n \\t',)
            found.append(Diagnostic("E0013", f"`{match[0]}` is no escape", place, notes=notes))
    return found
