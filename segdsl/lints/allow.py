"""`# allow(W7002): reason`: the writer knows, and says why."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from segdsl import syntax
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, Severity, text_helps
from segdsl.source import Source, Span
from segdsl.spelling import nearest

LINTS = (
    *(f"W70{n:02}" for n in range(1, 13)),
    *("W7014", "W7020", "W7021", "W7022", "W7101"),
)
"""The warnings that belong to a line, and so can be silenced there."""

_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|(#[^\n]*)')
_ALLOW = re.compile(r"#+[ \t]*allow[ \t]*\(([^)\n]*)(\)?)[ \t]*(:?)[ \t]*(.*?)[ \t\r]*$")
_CODE = re.compile(r"[^,\s]+")


@dataclass(frozen=True)
class Allow:
    """One comment that silences lints.

    Attributes:
        span: the comment, from its `#` on.
        codes: what it silences, where each code stands.
        lines: the first and the last line on which it does.
    """

    span: Span
    codes: tuple[tuple[str, Span], ...]
    lines: tuple[int, int]

    def covers(self, diagnostic: Diagnostic, code: str) -> bool:
        """Whether this code of the comment silences the diagnostic."""
        span = diagnostic.span
        return (
            diagnostic.code == code
            and diagnostic.severity is Severity.WARNING
            and span is not None
            and span.source is self.span.source
            and self.lines[0] <= span.line <= self.lines[1]
        )


def read_allows(source: Source) -> tuple[list[Allow], list[Diagnostic]]:
    """The comments of a text that silence lints; those that are written wrongly are E0016.

    At the end of a line a comment speaks of that line; alone on a line, of the next statement's
    first line and of the comments on the way there.
    """
    allows: list[Allow] = []
    wrong: list[Diagnostic] = []
    for number in _candidates(source.text):
        start = source.line_starts[number - 1]
        line = source.line(number)
        comment = next((m for m in _COMMENT.finditer(line) if m[1]), None)
        match = _ALLOW.match(line, comment.start()) if comment else None
        if match is None:
            continue
        codes = _codes(source, match, start)
        found = _problems(source, match, codes, start)
        if found:
            wrong += found
            continue
        alone = not line[: match.start()].strip()
        lines = (number + 1, _next_statement(source, number + 1)) if alone else (number, number)
        span = Span(source, start + match.start(), start + match.end(4))
        allows.append(Allow(span, codes, lines))
    return allows, wrong


def _candidates(text: str) -> list[int]:
    """The lines that can hold one, found without looking at each line."""
    numbers: list[int] = []
    line, last = 1, 0
    for match in re.finditer(r"#[ \t]*allow", text):
        line += text.count("\n", last, match.start())
        last = match.start()
        if not numbers or numbers[-1] != line:
            numbers.append(line)
    return numbers


def _codes(source: Source, match: re.Match[str], start: int) -> tuple[tuple[str, Span], ...]:
    found = _CODE.finditer(match.string, match.start(1), match.end(1))
    return tuple((m[0], Span(source, start + m.start(), start + m.end())) for m in found)


def _next_statement(source: Source, number: int) -> int:
    """The first line from `number` on that holds more than a comment."""
    for line in range(number, len(source.line_starts) + 1):
        text = source.line(line).strip()
        if text and not text.startswith("#"):
            return line
    return number


def _problems(
    source: Source, match: re.Match[str], codes: Sequence[tuple[str, Span]], start: int
) -> list[Diagnostic]:
    """What is wrong with the form of an `allow`."""
    span = Span(source, start + match.start(), start + match.end(4))
    first = codes[0][0] if codes and codes[0][0] in LINTS else "W7002"
    example = text_helps(f"write `# allow({first}): why this is meant`")
    wrong = [_unknown(code, place) for code, place in codes if code not in LINTS]
    if not match[2]:
        wrong = [Diagnostic("E0016", "this `allow` is never closed", span, helps=example)]
    elif not codes:
        wrong = [Diagnostic("E0016", "this `allow` names no lint", span, helps=example)]
    elif not wrong and not (match[3] and match[4]):
        message = f"this `allow` gives no reason for silencing {_listed(c for c, _ in codes)}"
        wrong = [Diagnostic("E0016", message, span, helps=example)]
    return wrong


def _unknown(code: str, span: Span) -> Diagnostic:
    guess = nearest(code.upper(), LINTS)
    helps: tuple[Help, ...] = ()
    if guess:
        edit = Edit(span, guess)
        helps = (Help(f"did you mean `{guess}`?", (edit,), Applicability.LIKELY),)
    error = re.fullmatch(r"E\d{4}", code) is not None
    notes = ("errors cannot be silenced",) if error else ()
    message = f"`{code}` is no lint that a line can allow"
    return Diagnostic("E0016", message, span, notes=notes, helps=helps)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def without_allowed(
    diagnostics: Iterable[Diagnostic], allows: Sequence[Allow]
) -> tuple[list[Diagnostic], set[Span]]:
    """The diagnostics that no comment silences, and the codes in comments that silenced any."""
    kept: list[Diagnostic] = []
    used: set[Span] = set()
    for diagnostic in diagnostics:
        places = [p for a in allows for code, p in a.codes if a.covers(diagnostic, code)]
        used.update(places)
        if not places:
            kept.append(diagnostic)
    return kept, used


def awake(
    allows: Iterable[Allow], tree: syntax.Module, reached: Collection[str]
) -> Iterator[Allow]:
    """The comments of a file that stand in no block beyond those which its nets `reached`."""
    asleep = [
        item.span
        for item in tree.items
        if isinstance(item, syntax.Block) and item.name.name not in reached
    ]
    for allow in allows:
        own = allow.span.source is tree.source
        if own and not any(span.start <= allow.span.start < span.end for span in asleep):
            yield allow


def idle(allows: Iterable[Allow], used: set[Span], judged: frozenset[str]) -> list[Diagnostic]:
    """W7013 for every code of a comment that silenced nothing, of those that were looked for."""
    found: list[Diagnostic] = []
    for allow in allows:
        lazy = [(code, p) for code, p in allow.codes if p not in used and code in judged]
        if lazy:
            found.append(_idle(allow, lazy))
    return found


def _idle(allow: Allow, lazy: Sequence[tuple[str, Span]]) -> Diagnostic:
    first, last = allow.lines
    where = f"line {first}" if first == last else f"lines {first} to {last}"
    names = _listed(code for code, _ in lazy)
    message = f"this `allow` silences nothing: {where} gives no {names}"
    whole = len(lazy) == len(allow.codes)
    edits = (_removed(allow.span),) if whole else _without(allow, lazy)
    text = "remove the comment" if whole else f"remove {names} from it"
    help = Help(text, edits, Applicability.CERTAIN)
    return Diagnostic("W7013", message, lazy[0][1], Severity.WARNING, helps=(help,))


def _removed(span: Span) -> Edit:
    """Take a comment away, with the blanks before it, and its line where it stands alone."""
    text, start, end = span.source.text, span.start, span.end
    while start and text[start - 1] in " \t":
        start -= 1
    while end < len(text) and text[end] in " \t\r":
        end += 1
    if (start == 0 or text[start - 1] == "\n") and end < len(text):
        return Edit(Span(span.source, start, end + 1), "")
    return Edit(Span(span.source, start, span.end), "")


def _without(allow: Allow, lazy: Sequence[tuple[str, Span]]) -> tuple[Edit, ...]:
    gone = {place for _, place in lazy}
    kept = ", ".join(code for code, place in allow.codes if place not in gone)
    return (Edit(allow.codes[0][1].to(allow.codes[-1][1]), kept),)
