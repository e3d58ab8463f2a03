"""From the text of a `.seg` file to its syntax tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from segdsl import syntax
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help
from segdsl.limits import Limits
from segdsl.parsing import literals
from segdsl.parsing.brackets import Brackets, balanced
from segdsl.parsing.build import Builder
from segdsl.parsing.complaints import certain
from segdsl.parsing.lalr import Machine
from segdsl.parsing.layout import layout
from segdsl.parsing.messages import Mistake, explain_expression
from segdsl.parsing.pairs import as_lists
from segdsl.parsing.recovery import Recovery
from segdsl.parsing.scan import Refused, Scan, scan
from segdsl.parsing.tokens import END, NEWLINE, Token
from segdsl.source import Source, Span
from segdsl.version import __version__

EDITIONS = (1,)
"""The editions of the language that this version reads."""

_DEFAULTS = Limits()
_PATH_PARTS = re.compile(r"\.|[A-Za-z0-9_]+|\{[^{}\n]*\}")


def parse(
    source: Source, limits: Limits = _DEFAULTS
) -> tuple[syntax.Module, tuple[Diagnostic, ...]]:
    """The syntax tree of a source, and what is wrong with its text, in the order of the text.

    Without diagnostics the tree is the whole file. With them it holds what could be read:
    statements with mistakes are left out, and the body of a head that could not be read stands
    under `if true`. Never raises, whatever the text.
    """
    refused = _refuse(source, limits)
    if refused is None:
        try:
            found = scan(source, limits)
            module, diagnostics = _parse(source, found, limits)
            return replace(module, tokens=found.count), diagnostics
        except Refused as limit:
            refused = limit.diagnostic
    return syntax.Module(source, None, ()), (refused,)


def comments(source: Source, limits: Limits = _DEFAULTS) -> Iterator[Span]:
    """The places of all comments, from `#` to the line end; none of a file that is refused."""
    try:
        found = scan(source, limits)
    except Refused:
        return
    for start, end in found.comments:
        yield Span(source, start, end)


def _refuse(source: Source, limits: Limits) -> Diagnostic | None:
    """What makes reading the file pointless: its size, a NUL, or nothing in it."""
    size = len(source.text.encode("utf-8", "surrogatepass"))
    if size > limits.file_bytes:
        text = f"this file has {size:,} bytes; the limit is {limits.file_bytes:,}"
        return Diagnostic("E0020", text, Span(source, 0, 0))
    nul = source.text.find("\0")
    if nul >= 0:
        return Diagnostic("E0103", "this is no text: it holds a NUL", Span(source, nul, nul + 1))
    return None


def _parse(
    source: Source, found: Scan, limits: Limits
) -> tuple[syntax.Module, tuple[Diagnostic, ...]]:
    if not found.tokens:
        nothing = [Diagnostic("E0104", "this file is empty", Span(source, 0, 0))]
        return syntax.Module(source, None, ()), _sorted(found.diagnostics or nothing)
    edition = _check_edition(source, found.tokens)
    if edition is not None and edition.code == "E0010":
        return syntax.Module(source, None, ()), (edition,)
    early = found.diagnostics + ([edition] if edition is not None else [])
    if balanced(found.tokens):
        builder = _builder(source, found, limits)
        machine = Machine("start", builder)
        tokens = layout(source, found.tokens)
        if machine.run(tokens, 0) == len(tokens):
            return machine.result, _sorted(early + builder.diagnostics)
    return _recover(source, found, limits, early)


def _recover(
    source: Source, found: Scan, limits: Limits, early: list[Diagnostic]
) -> tuple[syntax.Module, tuple[Diagnostic, ...]]:
    """The parse of a file that is known to be wrong."""
    brackets = Brackets(source, limits)
    brackets.run(found.tokens)
    paired, complaints = as_lists(source, brackets.tokens)
    tokens = layout(source, paired)
    builder = _builder(source, found, limits)
    machine = Machine("start", builder)
    early = early + brackets.diagnostics + complaints
    known = [d.span.start for d in early if d.span is not None and not _is_insertion(d)]
    known += brackets.mended
    recovery = Recovery(source, tokens, machine, limits, known)
    whole = recovery.run()
    module = machine.result if whole else syntax.Module(source, None, ())
    items = tuple(i for i in module.items if not (isinstance(i, syntax.Net) and not i.name.name))
    return replace(module, items=items), _sorted(early + builder.diagnostics + recovery.diagnostics)


def _is_insertion(diagnostic: Diagnostic) -> bool:
    """Whether it says that a line is missing: the next one may have mistakes of its own."""
    edits = [edit for help_ in diagnostic.helps for edit in help_.edits]
    return diagnostic.code == "E0011" and any(edit.text.endswith("\n") for edit in edits)


def _sorted(diagnostics: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(sorted(diagnostics, key=lambda d: (d.span.start if d.span else 0, d.code)))


def _check_edition(source: Source, tokens: list[Token]) -> Diagnostic | None:
    """E0011 if the first line names no edition, E0010 if it names one that is not known."""
    first = tokens[0]
    if first.kind != "SEG":
        if _edition_elsewhere(tokens):
            return None
        text = "the first line must name the edition: `seg 1`"
        span = Span(source, first.start, first.end)
        if first.kind == "NUMBER" and (len(tokens) < 2 or tokens[1].kind == NEWLINE):
            edit = Edit(span, f"seg {EDITIONS[-1]}")
            help_ = Help("write `seg 1`", (edit,), Applicability.LIKELY)
            return Diagnostic("E0011", text, span, helps=(help_,))
        start = 1 if source.text.startswith("\ufeff") else 0
        help_ = certain("insert `seg 1`", Edit(Span(source, start, start), "seg 1\n"))
        return Diagnostic("E0011", text, span, helps=(help_,))
    if len(tokens) < 2 or tokens[1].kind != "NUMBER":
        return None
    span = Span(source, tokens[1].start, tokens[1].end)
    value, unit = literals.number_value(span.text)
    if not unit and value in EDITIONS and isinstance(value, int):
        return None
    known = " and ".join(map(str, EDITIONS))
    text = f"this file needs edition {span.text}; segdsl {__version__} knows {known}"
    edit = Edit(span, str(EDITIONS[-1]))
    help_ = Help("upgrade, or lower the edition", (edit,), Applicability.LIKELY)
    return Diagnostic("E0010", text, span, helps=(help_,))


def _edition_elsewhere(tokens: list[Token]) -> bool:
    """Whether a later line names an edition: the parser says that it stands in the wrong place."""
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if before.kind == NEWLINE and token.kind == "SEG" and after.kind == "NUMBER":
            return True
    return False


def _builder(source: Source, found: Scan, limits: Limits) -> Builder:
    def parse_path(token: Token) -> syntax.Path:
        return _path(builder, token)

    builder = Builder(source, found, limits, parse_path)
    return builder


def _path(builder: Builder, token: Token) -> syntax.Path:
    """The parts of a weight path, with the expressions in its braces parsed."""
    text = builder.source.text
    parts: list[list[str | syntax.Expr]] = [[]]
    for match in _PATH_PARTS.finditer(text, token.start + 1, token.end):
        if match[0] == ".":
            parts.append([])
        elif match[0][0] != "{":
            parts[-1].append(match[0])
        elif match.start() in builder.scan.inner:
            parts[-1].append(_braces(builder, match.start(), match.end()))
    kept = tuple(tuple(part) for part in parts if part)
    return syntax.Path(kept, Span(builder.source, token.start, token.end))


def _braces(builder: Builder, start: int, end: int) -> syntax.Expr:
    """The expression in `{…}`; a name that is nowhere bound in the place of a mistake."""
    tokens = [*builder.scan.inner[start], Token(END, end - 1, end - 1)]
    machine = Machine("expr", builder)
    index = machine.run(tokens, 0)
    if index == len(tokens):
        result: syntax.Expr = machine.result
        return result
    span = Span(builder.source, start, end)
    if len(tokens) == 1:
        text = "the `{}` of a weight path hold an expression, as in `@layer{i + 1}`"
        builder.diagnostics.append(Diagnostic("E0014", text, span))
    else:
        mistake = Mistake(builder.source, tokens, index, 0, machine, outside=False)
        builder.diagnostics.append(explain_expression(mistake))
    return syntax.Name("_", span)
