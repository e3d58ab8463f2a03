"""The tags of `##` comments: `@paper`, `@code`, `@weights`, `@mean`, `@std`."""

from __future__ import annotations

import re

from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, Severity
from segdsl.source import Source, Span
from segdsl.spelling import nearest

TAGS = ("paper", "code", "weights", "mean", "std")
_TAG = re.compile(r"^[ \t]*##[ \t]*@([A-Za-z_]\w*)", re.MULTILINE)


def check_tags(source: Source) -> list[Diagnostic]:
    """W7012 for every `## @tag` that the language does not know.

    Strings end with their line, so a line that begins with `##` is always a comment.
    """
    return [
        _unknown(match[1], Span(source, match.start(1) - 1, match.end(1)))
        for match in _TAG.finditer(source.text)
        if match[1] not in TAGS
    ]


def _unknown(tag: str, span: Span) -> Diagnostic:
    guess = nearest(tag, TAGS)
    helps: tuple[Help, ...] = ()
    if guess:
        edit = Edit(span, f"@{guess}")
        helps = (Help(f"did you mean `@{guess}`?", (edit,), Applicability.CERTAIN),)
    known = ", ".join(f"`@{word}`" for word in TAGS)
    message = f"`@{tag}` is no tag of a `##` comment"
    notes = (f"there are {known}",)
    return Diagnostic("W7012", message, span, Severity.WARNING, notes=notes, helps=helps)
