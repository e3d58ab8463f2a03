"""Applying the edits of diagnostics to texts: only what is certain, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help
from segdsl.source import Source


@dataclass(frozen=True)
class Fix:
    """A help that is applied, and what it mends."""

    diagnostic: Diagnostic
    help: Help


@dataclass(frozen=True)
class Fixed:
    """A text with the certain fixes of its diagnostics applied.

    Attributes:
        text: the new text.
        applied: what was applied, in source order.
        postponed: what touches characters that another fix changes; it may apply afterwards.
    """

    text: str
    applied: tuple[Fix, ...]
    postponed: tuple[Fix, ...]


def certain(diagnostic: Diagnostic) -> Help | None:
    """The first help that may be applied without asking."""
    usable = (h for h in diagnostic.helps if h.edits and h.applicability is Applicability.CERTAIN)
    return next(usable, None)


def fix(source: Source, diagnostics: Iterable[Diagnostic]) -> Fixed:
    """Apply the certain fixes that lie wholly in this text.

    All edits of a fix are applied, or none; of two that overlap the one of the earlier diagnostic.
    """
    applied: list[Fix] = []
    postponed: list[Fix] = []
    taken: list[Edit] = []
    for diagnostic in diagnostics:
        help = certain(diagnostic)
        if help is None or any(e.span.source is not source for e in help.edits):
            continue
        item = Fix(diagnostic, help)
        if all(edit in taken for edit in help.edits):
            applied.append(item)  # another diagnostic asked for the very same
        elif any(_touch(edit, other) for edit in help.edits for other in taken):
            postponed.append(item)
        else:
            applied.append(item)
            taken += help.edits
    return Fixed(apply(source.text, taken), tuple(applied), tuple(postponed))


def apply(text: str, edits: Iterable[Edit]) -> str:
    """A text with edits applied that do not overlap; their spans speak of `text`."""
    for edit in sorted(edits, key=lambda e: (e.span.start, e.span.end), reverse=True):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text


def _touch(one: Edit, other: Edit) -> bool:
    """Whether two edits share a character, or write at the same place."""
    if one.span.start == other.span.start:
        return True
    return one.span.start < other.span.end and other.span.start < one.span.end
