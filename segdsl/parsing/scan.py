"""The scanner: text to tokens, with the comments beside them, within the limits.

It knows no grammar. Each mistake it reports is mended in the tokens, so that the parser goes on as
if the right thing had been written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from segdsl.diagnostics import Diagnostic
from segdsl.limits import Limits
from segdsl.parsing import complaints, literals
from segdsl.parsing.tables import OPERATORS, PATTERNS, WORDS
from segdsl.parsing.tokens import CLOSERS, NEWLINE, OPENERS, Token
from segdsl.source import Source, Span

_OPERATOR = "|".join(re.escape(text) for text in sorted(OPERATORS, key=lambda t: (-len(t), t)))
_MASTER = re.compile(
    rf"""[ \t]*(?:
      (?P<NAME>{PATTERNS["NAME"]})
    | (?P<NEWLINE>\r?\n)
    | (?P<COMMENT>\#[^\n]*)
    | (?P<BADNUMBER>\d[\d_]*\.(?![\w.])|(?<![\w)\]])\.\d\w*)
    | (?P<NUMBER>{PATTERNS["NUMBER"]})
    | (?P<BADNUMBER2>\d\w*(?:\.\d\w*)?(?:(?<=[eE])[+-]\d+)?)
    | (?P<PATH>{PATTERNS["PATH"]})
    | (?P<BADPATH>@[^\s,)\]}}\#"]*)
    | (?P<FOREIGN>{complaints.FOREIGN_OPERATORS})
    | (?P<OPERATOR>{_OPERATOR})
    | (?P<STRING>{PATTERNS["STRING"]})
    | (?P<SINGLE>'(?:\\.|[^'\\\n])*')
    | (?P<OPENSTRING>["'][^\n]*)
    | (?P<STRANGE>[^\x00-\x7f]+)
    | (?P<OTHER>.)
    | (?P<NOTHING>\Z)
    )""",
    re.ASCII | re.VERBOSE,
)
_BRACES = re.compile(r"\{([^{}\n]*)\}")


class Refused(Exception):
    """The file is beyond a limit that ends the reading of it."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


@dataclass
class Scan:
    """What was found in one text.

    Attributes:
        tokens: all tokens; `_NL` for each run of line ends, also where it ends no statement.
        comments: places of the comments, from their `#` to the end of the line.
        docs: the lines of `##` comments, by the offset of the token that follows them.
        inner: the tokens in the braces of weight paths, by the offset of the brace.
        count: tokens in all, those in weight paths included.
    """

    tokens: list[Token] = field(default_factory=list[Token])
    comments: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    docs: dict[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    inner: dict[int, list[Token]] = field(default_factory=dict[int, list[Token]])
    diagnostics: list[Diagnostic] = field(default_factory=list[Diagnostic])
    count: int = 0


def scan(source: Source, limits: Limits) -> Scan:
    """The tokens of a source.

    Raises:
        Refused: more tokens (E0022) or open brackets (E0021) than the limits allow.
    """
    result = Scan()
    start = 1 if source.text.startswith("\ufeff") else 0
    _Scanner(source, limits, result, result.tokens).run(start, len(source.text))
    result.diagnostics.extend(complaints.forbidden_characters(source, limits))
    return result


class _Scanner:
    """One pass over a stretch of text; `_path` starts one more for each `{…}` of a weight path."""

    def __init__(
        self, source: Source, limits: Limits, result: Scan, tokens: list[Token], depth: int = 0
    ) -> None:
        self.source = source
        self.limits = limits
        self.result = result
        self.tokens = tokens
        self.depth = depth
        self.doc: list[str] = []
        self.doc_length = 0
        self.named: set[str] = set()

    def run(self, start: int, end: int) -> None:
        handlers = {
            "NAME": self._name, "NEWLINE": self._newline, "COMMENT": self._comment,
            "BADNUMBER": self._number, "NUMBER": self._number, "BADNUMBER2": self._number,
            "PATH": self._path, "BADPATH": self._bad_path, "FOREIGN": self._foreign,
            "OPERATOR": self._operator, "STRING": self._string, "OPENSTRING": self._open_string,
            "SINGLE": self._single, "STRANGE": self._strange, "OTHER": self._other,
        }  # fmt: skip
        for match in _MASTER.finditer(self.source.text, start, end):
            group = match.lastgroup
            if group is None or group == "NOTHING":
                continue
            handlers[group](match.start(group), match.end())

    def _add(self, kind: str, start: int, end: int) -> None:
        result = self.result
        result.count += 1
        if result.count > self.limits.tokens:
            raise Refused(complaints.too_many_tokens(self._span(start, end), self.limits))
        if self.doc:
            result.docs[start] = tuple(self.doc)
            self.doc = []
            self.doc_length = 0
        self.tokens.append(Token(kind, start, end))

    def _span(self, start: int, end: int) -> Span:
        return Span(self.source, start, end)

    def _report(self, *found: Diagnostic | None) -> None:
        room = self.limits.kept_diagnostics - len(self.result.diagnostics)
        self.result.diagnostics.extend([d for d in found if d is not None][: max(room, 0)])

    def _name(self, start: int, end: int) -> None:
        text = self.source.text[start:end]
        kind = WORDS.get(text)
        if kind is None:
            kind = "NAME"
            if text not in self.named:
                self.named.add(text)
                self._report(complaints.bad_name(self._span(start, end), self.limits))
        self._add(kind, start, end)

    def _newline(self, start: int, end: int) -> None:
        if self.tokens and self.tokens[-1].kind != NEWLINE:
            self.tokens.append(Token(NEWLINE, start, end))

    def _comment(self, start: int, end: int) -> None:
        if self.source.text.endswith("\r", start, end):
            end -= 1
        self.result.comments.append((start, end))
        text = self.source.text[start:end]
        own_line = not self.tokens or self.tokens[-1].kind == NEWLINE
        if text.startswith("##") and own_line:
            line = text[2:].removeprefix(" ").rstrip()
            self.doc.append(line)
            self.doc_length += len(line)
        if max(self.doc_length, end - start) > self.limits.comment_length:
            self._report(complaints.long_comment(self._span(start, end), self.limits))
            self.doc, self.doc_length = [], 0

    def _number(self, start: int, end: int) -> None:
        self._report(literals.check_number(self._span(start, end), self.limits))
        self._add("NUMBER", start, end)

    def _path(self, start: int, end: int) -> None:
        self._add("PATH", start, end)
        for braces in _BRACES.finditer(self.source.text, start, end):
            tokens = self.result.inner[braces.start()] = []
            depth = self.depth + 1
            self._check_depth(depth, braces.start())
            inner = _Scanner(self.source, self.limits, self.result, tokens, depth)
            inner.run(braces.start(1), braces.end(1))

    def _bad_path(self, start: int, end: int) -> None:
        self._report(complaints.bad_path(self._span(start, end)))
        self._add("PATH", start, end)

    def _foreign(self, start: int, end: int) -> None:
        diagnostic, kind = complaints.foreign_operator(self._span(start, end))
        self._report(diagnostic)
        if kind:
            self._add(kind, start, end)

    def _operator(self, start: int, end: int) -> None:
        kind = OPERATORS[self.source.text[start:end]]
        if kind in OPENERS:
            self.depth += 1
            self._check_depth(self.depth, start)
        elif kind in CLOSERS:
            self.depth = max(self.depth - 1, 0)
        self._add(kind, start, end)

    def _check_depth(self, depth: int, start: int) -> None:
        if depth > self.limits.nesting:
            raise Refused(complaints.too_deep(self._span(start, start + 1), depth, self.limits))

    def _string(self, start: int, end: int) -> None:
        self._report(*literals.check_string(self._span(start, end), self.limits))
        self._add("STRING", start, end)

    def _open_string(self, start: int, end: int) -> None:
        end = start + len(self.source.text[start:end].rstrip())
        self._report(complaints.open_string(self._span(start, end)))
        self._add("STRING", start, end)

    def _single(self, start: int, end: int) -> None:
        self._report(complaints.single_quotes(self._span(start, end)))
        self._add("STRING", start, end)

    def _strange(self, start: int, end: int) -> None:
        found, kind = complaints.strange_text(self._span(start, end))
        self._report(*found)
        if kind:
            self._add(kind, start, end)

    def _other(self, start: int, end: int) -> None:
        self._report(complaints.other_character(self._span(start, end)))
