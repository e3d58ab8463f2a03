"""Brackets that do not pair: found, reported and mended before the parser runs.

Without this one missing `)` would swallow the rest of the file, since line ends inside brackets do
not count. It guesses from the indentation, so it is used only on files that are known to be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segdsl.diagnostics import Diagnostic, Edit, Help, Label
from segdsl.limits import Limits
from segdsl.parsing.complaints import likely
from segdsl.parsing.tables import OPERATORS, WORDS
from segdsl.parsing.tokens import (
    CLOSERS,
    CONTINUED_BY,
    CONTINUES,
    ITEMS,
    NEWLINE,
    OPENERS,
    STATEMENTS,
    Token,
)  # fmt: skip
from segdsl.source import Source, Span

_TEXTS = {kind: text for text, kind in OPERATORS.items()}
_STATEMENT_KINDS = frozenset(WORDS[word] for word in STATEMENTS)
_ITEM_KINDS = frozenset(WORDS[word] for word in ITEMS)
_NO_WORD_BEFORE = frozenset({
    "ASSIGN", "APPEND", "COMMA", "RPAR", "RSQB", "DOT", "COLON", "ARROW", NEWLINE,
})  # fmt: skip
_HEADS = frozenset({"NET", "BLOCK", "IF", "FOR"})
_LOOK = 200  # tokens of one line that a guess may look at


def balanced(tokens: Sequence[Token]) -> bool:
    """Whether all brackets pair."""
    stack: list[str] = []
    for token in tokens:
        if token.kind in OPENERS:
            stack.append(OPENERS[token.kind])
        elif token.kind in CLOSERS and (not stack or stack.pop() != token.kind):
            return False
    return not stack


def begins_statement(tokens: Sequence[Token], index: int) -> bool:
    """Whether the tokens from an index, the first of a line, clearly begin a statement or item."""
    kind = tokens[index].kind
    following = tokens[index + 1].kind if index + 1 < len(tokens) else NEWLINE
    if kind in _ITEM_KINDS:
        return following in ("NAME", "STRING", "NUMBER")
    if kind in _STATEMENT_KINDS:
        return following not in _NO_WORD_BEFORE
    return kind == "RBRACE" or _begins_binding(tokens, index)


def _begins_binding(tokens: Sequence[Token], index: int) -> bool:
    last = min(len(tokens) - 1, index + _LOOK)
    while index < last and tokens[index].kind == "NAME":
        if tokens[index + 1].kind != "COMMA":
            return tokens[index + 1].kind in ("ASSIGN", "APPEND")
        index += 2
    return False


def indent(text: str, offset: int) -> int:
    """Characters before the first visible one of the line of an offset."""
    start = text.rfind("\n", 0, offset) + 1
    end = start
    while end < offset and text[end] in " \t\ufeff":
        end += 1
    return end - start


def _unmatched(tokens: Sequence[Token], index: int) -> list[str]:
    """The closers in the rest of a statement that have no opener there."""
    found: list[str] = []
    stack: list[str] = []
    for i in range(index, min(index + _LOOK, len(tokens))):
        kind = tokens[i].kind
        if kind == NEWLINE and i + 1 < len(tokens) and begins_statement(tokens, i + 1):
            break
        if kind in OPENERS:
            stack.append(OPENERS[kind])
        elif kind in CLOSERS and stack:
            stack.pop()
        elif kind in CLOSERS:
            found.append(kind)
    return found


@dataclass(frozen=True)
class _Open:
    token: Token
    place: int  # index of the token in the output
    indent: int  # of the line it stands on


class Brackets:
    """One pass over the tokens of a source.

    Attributes:
        tokens: the tokens with all brackets paired.
        diagnostics: what did not pair.
        mended: offsets of the closers that were put in.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.tokens: list[Token] = []
        self.diagnostics: list[Diagnostic] = []
        self.mended: list[int] = []
        self._stack: list[_Open] = []
        self._line_indent = 0  # of the current line
        self._surplus = 0  # how many `}` there are too many in the file
        self._head = -1  # the first token of the line before, if it needs a body

    def run(self, tokens: Sequence[Token]) -> None:
        """Mends the brackets of all tokens."""
        kinds = [token.kind for token in tokens]
        self._surplus = kinds.count("RBRACE") - kinds.count("LBRACE")
        for index, token in enumerate(tokens):
            first = index == 0 or tokens[index - 1].kind == NEWLINE
            if first and token.kind != NEWLINE:
                self._line_indent = self._indent(token.start)
                self._begin_line(tokens, index)
            if token.kind == "LBRACE" and self._opens_body(tokens, index):
                while self._stack and self._stack[-1].token.kind != "LBRACE":
                    self._close_virtually()
            if token.kind in OPENERS:
                self._stack.append(_Open(token, len(self.tokens), self._line_indent))
                self.tokens.append(token)
            elif token.kind in CLOSERS:
                self._close(tokens, index, first)
            else:
                self.tokens.append(token)
        while self._stack:
            self._close_virtually()

    def _indent(self, offset: int) -> int:
        return indent(self.source.text, offset)

    def _begin_line(self, tokens: Sequence[Token], index: int) -> None:
        """Closes what a line that clearly begins something new cannot stand in."""
        self._open_body(tokens, index)
        if not self._stack or not begins_statement(tokens, index):
            return
        kind = tokens[index].kind
        indent = self._indent(tokens[index].start)
        while self._stack and indent <= self._stack[-1].indent:
            brace = self._stack[-1].token.kind == "LBRACE"
            if kind == "RBRACE" and brace:
                break
            if brace and kind not in _ITEM_KINDS:
                break
            self._close_virtually()

    def _opens_body(self, tokens: Sequence[Token], index: int) -> bool:
        """Whether a `{` ends its line and belongs to no `repeat`: then no ( or [ can be open."""
        if index + 1 < len(tokens) and tokens[index + 1].kind != NEWLINE:
            return False
        for before in reversed(tokens[max(0, index - _LOOK) : index]):
            if before.kind in ("REPEAT", NEWLINE, "ARROW", "LBRACE"):
                return before.kind != "REPEAT"
        return True

    def _open_body(self, tokens: Sequence[Token], index: int) -> None:
        """Puts in the `{` that a head lacks, in a file with too many `}`."""
        if self._stack and self._stack[-1].token.kind != "LBRACE":
            return
        token = tokens[index]
        head = self._head
        if token.kind in CONTINUED_BY or (index >= 2 and tokens[index - 2].kind in CONTINUES):
            return
        self._head = index if token.kind in _HEADS else -1
        if (
            head < 0
            or self._surplus <= 0
            or self._indent(token.start) <= self._indent(tokens[head].start)
        ):
            return
        if any(t.kind in ("LBRACE", "COLON") for t in tokens[index - 2 : index]):
            return
        last = tokens[index - 2]
        self._surplus -= 1
        place = Span(self.source, last.end, last.end)
        message = f"the statement stops after `{self._span(last).text[:24]}`"
        help_ = likely("add `{`", Edit(place, " {"))
        self._report("E0015", message, last, help_, note="expected `{`")
        self.mended.append(last.end)
        brace = Token("LBRACE", last.end, last.end)
        self._stack.append(_Open(brace, len(self.tokens) - 1, self._indent(tokens[head].start)))
        self.tokens.insert(len(self.tokens) - 1, brace)

    def _close(self, tokens: Sequence[Token], index: int, first: bool) -> None:
        token = tokens[index]
        opener = CLOSERS[token.kind]
        if token.kind == "RBRACE" and self._is_stray_brace():
            self._report_stray(token)
            return
        if token.kind == "RBRACE" and first:
            self._close_inner_braces()
        if self._stack and self._stack[-1].token.kind == opener:
            self._stack.pop()
            self.tokens.append(token)
        elif self._is_full() or self._fits_later(tokens, index, skipped=0):
            self._report_stray(token)
        elif not first and self._is_slip(tokens, index):
            self._report_slip(token)
        elif any(o.token.kind == opener for o in self._stack):
            while self._stack[-1].token.kind != opener:
                self._close_virtually()
            self._stack.pop()
            self.tokens.append(token)
        else:
            self._report_stray(token)

    def _is_full(self) -> bool:
        """Whether so much is wrong that guesses are no longer worth their time."""
        return len(self.diagnostics) >= self.limits.kept_diagnostics

    def _is_stray_brace(self) -> bool:
        """Whether a `}` stands deeper than the line it would close, in a file with too many."""
        if self._surplus <= 0 or not self._stack:
            return False
        return self._line_indent > self._stack[-1].indent

    def _close_inner_braces(self) -> None:
        """Closes the braces of deeper lines, where a `}` stands right below an outer one."""
        indent = self._line_indent
        braces = [o for o in self._stack if o.token.kind == "LBRACE"]
        if not any(o.indent == indent for o in braces) or braces[-1].indent <= indent:
            return
        while self._stack[-1].token.kind != "LBRACE" or self._stack[-1].indent > indent:
            self._close_virtually()

    def _is_slip(self, tokens: Sequence[Token], index: int) -> bool:
        """Whether a closer of the wrong kind was written for the open bracket of its own line."""
        if not self._stack or self._stack[-1].token.kind == "LBRACE":
            return False
        opener, token = self._stack[-1].token, tokens[index]
        text = self.source.text
        if text.count("\n", opener.start, token.start):
            return False
        return self._fits_later(tokens, index, skipped=1)

    def _fits_later(self, tokens: Sequence[Token], index: int, skipped: int) -> bool:
        """Whether the rest of the statement closes just what is open now, but for the innermost."""
        wanted = []
        for opened in reversed(self._stack):
            if opened.token.kind == "LBRACE":
                break
            wanted.append(OPENERS[opened.token.kind])
        return bool(wanted) and _unmatched(tokens, index + 1) == wanted[skipped:]

    def _report_slip(self, token: Token) -> None:
        opener = self._stack.pop().token
        right = OPENERS[opener.kind]
        self.tokens.append(Token(right, token.start, token.end))
        found, wanted = _TEXTS[token.kind], _TEXTS[right]
        place = self._span(token)
        help_ = likely(f"write `{wanted}`", Edit(place, wanted))
        label = Label(place, f"`{found}` does not close it")
        message = f"this `{_TEXTS[opener.kind]}` is never closed"
        self._report("E0001", message, opener, help_, label)

    def _report_stray(self, token: Token) -> None:
        if token.kind == "RBRACE":
            self._surplus -= 1
        help_ = likely("remove it", Edit(self._span(token), ""))
        self._report("E0002", f"this `{_TEXTS[token.kind]}` closes nothing", token, help_)

    def _close_virtually(self) -> None:
        """Reports the innermost open bracket, and puts its closer where it was forgotten."""
        opener = self._stack.pop()
        closer = OPENERS[opener.token.kind]
        place = self._closing_place(opener)
        end = self.tokens[place - 1].end
        self.tokens.insert(place, Token(closer, end, end))
        self.mended.append(end)
        text, edit = _TEXTS[closer], Span(self.source, end, end)
        line = self.source.position(end)[0]
        if closer == "RBRACE" and self.source.text.count("\n", opener.token.start, end):
            help_ = likely(f"add `}}` below line {line}", Edit(edit, "\n}"))
        elif self.source.text[end : self._line_end(end)].split("#")[0].strip():
            before = self._span(self.tokens[place - 1]).text
            help_ = likely(f"add `{text}` after `{before[:24]}`", Edit(edit, text))
        else:
            help_ = likely(f"add `{text}` before the end of line {line}", Edit(edit, text))
        message = f"this `{_TEXTS[opener.token.kind]}` is never closed"
        self._report("E0001", message, opener.token, help_)

    def _line_end(self, offset: int) -> int:
        end = self.source.text.find("\n", offset)
        return len(self.source.text) if end < 0 else end

    def _closing_place(self, opener: _Open) -> int:
        """Where the closer goes: the end of the line, if the next one goes on with the pipeline."""
        out = self.tokens
        begins_body = opener.place + 1 < len(out) and out[opener.place + 1].kind == NEWLINE
        depth = 0
        for index in range(opener.place + 1, min(opener.place + _LOOK, len(out))):
            kind = out[index].kind
            depth += (kind in OPENERS) - (kind in CLOSERS)
            if kind != NEWLINE or depth or begins_body:
                continue
            following = out[index + 1].kind if index + 1 < len(out) else NEWLINE
            if opener.token.kind == "LBRACE" or following in CONTINUED_BY:
                return index
        return len(out) - 1 if out[-1].kind == NEWLINE else len(out)

    def _span(self, token: Token) -> Span:
        return Span(self.source, token.start, token.end)

    def _report(
        self, code: str, message: str, token: Token, help_: Help, *labels: Label, note: str = ""
    ) -> None:
        if len(self.diagnostics) < self.limits.kept_diagnostics:
            notes = (note,) if note else ()
            span = self._span(token)
            self.diagnostics.append(
                Diagnostic(code, message, span, labels=labels, notes=notes, helps=(help_,))
            )
