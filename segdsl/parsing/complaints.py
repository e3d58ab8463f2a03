"""What the scanner says: characters, names, quotes and operators that are not of the language."""

from __future__ import annotations

import re
import unicodedata

from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help
from segdsl.limits import Limits
from segdsl.parsing.tokens import PYTHON_WORDS, RESERVED
from segdsl.source import Source, Span

_OPERATORS: dict[str, tuple[str, str]] = {
    "=>": ("->", "ARROW"), "|>": ("->", "ARROW"), "~>": ("->", "ARROW"),
    "&&": ("and", "AND"), "||": ("or", "OR"), "!": ("not ", "NOT"), "<>": ("!=", "CMP"),
    "^": ("**", "POWER"), "===": ("==", "CMP"), "!==": ("!=", "CMP"),
}  # fmt: skip
"""Operators of other languages: what to write, and the terminal that takes their place."""

FOREIGN_OPERATORS = (
    r"===|!==|=>|\|>|~>|-[ \t]+>(?![=>])|&&|\|\||!(?!=)|<>|\^|:=|;|(?:-|\*\*?|//?|%)=(?!=)"
)
"""A pattern for all of them."""

_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]|\r(?!\n)"
)
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOKALIKES = {
    "\u2192": ("->", "ARROW"), "\u21d2": ("->", "ARROW"),
    "\u2212": ("-", "MINUS"), "\u2013": ("-", "MINUS"),
    "\u00d7": ("*", "STAR"), "\u00b7": ("*", "STAR"), "\u00f7": ("/", "SLASH"),
    "\u2264": ("<=", "CMP"), "\u2265": (">=", "CMP"), "\u2260": ("!=", "CMP"),
    "\u2248": ("~=", "CMP"), "\u2026": ("...", "ELLIPSIS"),
    "\u201c": ('"', ""), "\u201d": ('"', ""), "\u201e": ('"', ""),
    "\u2018": ('"', ""), "\u2019": ('"', ""), "\u00a0": (" ", ""),
}  # fmt: skip


def certain(text: str, *edits: Edit) -> Help:
    """A help whose edits mend the mistake and nothing else."""
    return Help(text, edits, Applicability.CERTAIN)


def likely(text: str, *edits: Edit) -> Help:
    """A help whose edits are probably meant."""
    return Help(text, edits, Applicability.LIKELY)


def bad_name(span: Span, limits: Limits) -> Diagnostic | None:
    """E1009 if a name is reserved, begins with two underscores or is too long."""
    text = span.text
    if len(text) > limits.name_length:
        size = f"this name has {len(text):,} characters; the limit is {limits.name_length}"
        return Diagnostic("E1009", size, span)
    if text.startswith("__"):
        return Diagnostic("E1009", f"`{text}`: no name begins with two underscores", span)
    if text in RESERVED:
        return Diagnostic("E1009", f"`{text}` is reserved for later editions", span)
    if text in PYTHON_WORDS:
        return _python_word(span)
    return None


def _python_word(span: Span) -> Diagnostic:
    text = span.text
    other = {
        "None": "none", "True": "true", "False": "false", "is": "==", "elif": "else if",
        "def": "block",        "class": "block",
    }.get(text)  # fmt: skip
    if text in ("elif", "def", "class") and _before(span).strip():
        other = None
    helps = () if other is None else (likely(f"write `{other}`", Edit(span, other)),)
    return Diagnostic("E1009", f"`{text}` is a keyword of Python and no name", span, helps=helps)


def _before(span: Span) -> str:
    """The end of what stands on the line before a span."""
    start = max(0, span.start - 200)
    return span.source.text[start : span.start].rpartition("\n")[2]


def too_many_tokens(span: Span, limits: Limits) -> Diagnostic:
    """E0022 at the first token beyond the limit."""
    text = f"this file has more than {limits.tokens:,} tokens, the limit of a program"
    note = "`--max-tokens` raises the limit"
    return Diagnostic("E0022", text, span, notes=(note,))


def too_deep(span: Span, depth: int, limits: Limits) -> Diagnostic:
    """E0021 for something nested one level too deep."""
    text = f"this is nested {depth} levels deep; the limit is {limits.nesting}"
    return Diagnostic("E0021", text, span)


def long_comment(span: Span, limits: Limits) -> Diagnostic:
    """E0013 for a comment, or the lines of one `##` comment together, beyond the limit."""
    text = f"this comment is longer than {limits.comment_length:,} characters, the limit"
    return Diagnostic("E0013", text, span)


def bad_path(span: Span) -> Diagnostic:
    """E0014 for what begins with `@` and is no weight path."""
    text = span.text
    if text.count("{") > text.count("}"):
        brace = span.start + text.index("{")
        return Diagnostic(
            "E0001", "this `{` is never closed", Span(span.source, brace, brace + 1),
            notes=("the `{}` of a weight path hold one expression: `@layer{i + 1}.0`",),
        )  # fmt: skip
    note = "weight paths look like `@conv1`, `@layer{i + 1}.0` and `@.`"
    return Diagnostic("E0014", f"`{_short(text)}` is not a weight path", span, notes=(note,))


def foreign_operator(span: Span) -> tuple[Diagnostic, str]:
    """E0004 or E0007 for an operator of another language, and the terminal that was meant."""
    text = re.sub(r"-[ \t]+>", "- >", span.text)
    if text == ":=":
        return _walrus(span), "ASSIGN"
    if text == ";":
        note = "a statement ends with its line"
        help_ = likely("begin a new line", Edit(span, "\n"))
        return _no_operator(span, text, (help_,), (note,)), ""
    if text.endswith("=") and text[0] in "-*/%":
        sign = text[:-1]
        advice = Help(f"write `x = x {sign} …`, with `x` declared by `var`")
        return _no_operator(span, text, (advice,)), "APPEND"
    if text == "- >":
        return _no_operator(span, text, (certain("write `->`", Edit(span, "->")),)), "ARROW"
    right, kind = _OPERATORS[text]
    return _no_operator(span, text, (certain(f"write `{right.strip()}`", Edit(span, right)),)), kind


def _no_operator(
    span: Span, text: str, helps: tuple[Help, ...], notes: tuple[str, ...] = ()
) -> Diagnostic:
    return Diagnostic(
        "E0004", f"`{text}` is not an operator of .seg", span, helps=helps, notes=notes
    )


def _walrus(span: Span) -> Diagnostic:
    line = _before(span).split()
    name = line[-1] if line and _BARE.fullmatch(line[-1]) else "x"
    helps = (
        certain("write `=`", Edit(span, "=")),
        Help(f"`var {name} = …` if it changes in a loop"),
    )
    text = f"names are bound with `{name} = …`; `:=` is not needed"
    return Diagnostic("E0007", text, span, helps=helps)


def single_quotes(span: Span) -> Diagnostic:
    """E0005 for a string in single quotes."""
    inner = span.text[1:-1].replace("\\'", "'").replace('"', '\\"')
    text = f'`"{_short(inner)}"`'
    if _BARE.fullmatch(inner):
        text += f", or the bare name `{_short(inner)}`"
    return Diagnostic(
        "E0005",
        "strings take double quotes",
        span,
        helps=(certain(text, Edit(span, f'"{inner}"')),),
    )


def open_string(span: Span) -> Diagnostic:
    """E0001 for a string without its closing quote, double or single."""
    mark = span.text[0]
    quote = Span(span.source, span.start, span.start + 1)
    end = Span(span.source, span.end, span.end)
    help_ = likely(f"add `{mark}` before the end of line {span.line}", Edit(end, mark))
    if mark == "'":
        help_ = Help("put the string in double quotes")
    return Diagnostic("E0001", f"this `{mark}` is never closed", quote, helps=(help_,))


def strange_text(span: Span) -> tuple[list[Diagnostic], str]:
    """E0013 for characters outside of ASCII; the terminal that the first one looks like."""
    first = span.text[0]
    place = Span(span.source, span.start, span.start + 1)
    if _FORBIDDEN.match(first):
        return [], ""
    right, kind = _LOOKALIKES.get(first, ("", ""))
    helps = (likely(f"write `{right}`", Edit(place, right)),) if right.strip() else ()
    if right == " ":
        helps = (certain("write a plain space", Edit(place, " ")),)
    note = "characters beyond ASCII stand only in strings and comments"
    text = f"{_named(first)} is not allowed here"
    return [Diagnostic("E0013", text, place, notes=(note,), helps=helps)], kind


def _named(character: str) -> str:
    """A character as messages show it: itself if it can be seen, and its number."""
    code = f"U+{ord(character):04X}"
    shown = character.isprintable() and not unicodedata.combining(character)
    return f"`{character}` ({code})" if shown and character.strip() else code


def other_character(span: Span) -> Diagnostic | None:
    """E0013 for an ASCII character that the language does not use."""
    if _FORBIDDEN.match(span.text) or span.text == "\r":
        return None
    return Diagnostic("E0013", f"`{span.text}` is not allowed here", span)


def forbidden_characters(source: Source, limits: Limits) -> list[Diagnostic]:
    """E0013 for control characters, bidirectional ones included, wherever they stand."""
    found: list[Diagnostic] = []
    for match in _FORBIDDEN.finditer(source.text, 1 if source.text.startswith("\ufeff") else 0):
        if len(found) >= limits.kept_diagnostics:
            break
        place = Span(source, match.start(), match.end())
        text = f"the character {_named(match[0])} is not allowed in a .seg file"
        helps = (certain("remove it", Edit(place, "")),)
        found.append(Diagnostic("E0013", text, place, helps=helps))
    return found


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:20]}…"
