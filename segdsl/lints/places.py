"""Where a lint points."""

from __future__ import annotations

import re

from segdsl.source import Span

_LITERAL = re.compile(r"(?:\w+\s*=\s*)?(?:\d+|\[\s*\d+(?:\s*,\s*\d+)*\s*\])")


def literal(span: Span) -> bool:
    """Whether an argument is written as a number or a list of numbers."""
    return _LITERAL.fullmatch(span.text.strip()) is not None
