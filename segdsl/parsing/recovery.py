"""Going on after a syntax error: one message a statement, then the next statement."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from segdsl.diagnostics import Diagnostic
from segdsl.limits import Limits
from segdsl.parsing.brackets import begins_statement, indent
from segdsl.parsing.lalr import Machine
from segdsl.parsing.messages import (
    Mistake,
    brace_on_next_line,
    explain,
    is_token,
    meant_word,
    missing_comma,
    stops_after,
)  # fmt: skip
from segdsl.parsing.tables import ACTIONS
from segdsl.parsing.tokens import CONTINUES, END, NEWLINE, Token
from segdsl.source import Source

_IN_BODY = frozenset(i for i, row in enumerate(ACTIONS) if row.get("CHECK", -1) >= 0)
_IN_FILE = frozenset(i for i, row in enumerate(ACTIONS) if row.get("NET", -1) >= 0)
_STATEMENT_HEAD = ("IF", "TRUE", "LBRACE")
_ITEM_HEAD = ("NET", "NAME", "LPAR", "RPAR", "LBRACE")


class Recovery:
    """One parse that goes on to the end whatever it meets; `diagnostics` is what it met.

    At an error the parser forgets the statement and goes on behind it. Where the statement opens a
    body, a head without a name is parsed in the place of its own, so that the body is read and the
    braces stay balanced. Each token is parsed once.
    """

    def __init__(
        self, source: Source, tokens: Sequence[Token], machine: Machine, limits: Limits,
        known: Iterable[int],
    ) -> None:  # fmt: skip
        self.source = source
        self.tokens = list(tokens)
        self.machine = machine
        self.limits = limits
        self.diagnostics: list[Diagnostic] = []
        self._starts = [token.start for token in tokens]
        self._known = sorted(known)  # offsets of what was reported before
        self._mistakes = 0
        self._quiet_until = -1  # runs of statements outside of blocks get one message

    def run(self) -> bool:
        """Parses all tokens; False if there were too many errors to go on."""
        index = 0
        while True:
            index = self.machine.run(self.tokens, index)
            if index >= len(self.tokens):
                return True
            self._mistakes += 1
            if self._mistakes > self.limits.kept_diagnostics:
                return False
            index = self._go_on(index)

    def _go_on(self, index: int) -> int:
        """Reports the token at `index` and gets the parser ready for the token that is returned."""
        height = self._statement_height()
        mistake = self._mistake(index, height)
        comma = missing_comma(mistake)
        if comma is not None:
            self._report(comma, mistake, index)
            end = self.tokens[index - 1].end
            if self.machine.feed(Token("COMMA", end, end)):
                return index
        brace = brace_on_next_line(mistake)
        if brace is not None:
            self._report(brace, mistake, index)
            return index + 1
        after = self._cut_short(mistake)
        if after is not None:
            self._report(stops_after(mistake, after - 1), mistake, after)
            self.machine.cut(height)
            return after
        braces = sum(is_token(v, "LBRACE") for v in self.machine.values[height:])
        diagnostic = explain(mistake)
        self.machine.cut(height)
        word = meant_word(mistake)
        if word is not None and self._fits(mistake.first, word):
            self._report(diagnostic, mistake, index)
            self.tokens[mistake.first] = word
            return mistake.first
        end = self._skip(mistake, braces)
        self._report(diagnostic, mistake, end)
        return end

    def _fits(self, first: int, word: Token) -> bool:
        """Whether the line of a statement can be read with another first word."""
        trial = self.machine.fork()
        if not trial.feed(word):
            return False
        for token in self.tokens[first + 1 :]:
            if token.kind in (NEWLINE, END) or not trial.feed(token):
                return token.kind in (NEWLINE, END)
            if token.kind == "LBRACE":
                return True
        return False

    def _statement_height(self) -> int:
        """The height of the stacks at which the current statement began."""
        states = self.machine.states
        for height in range(len(states) - 1, 0, -1):
            if states[height] in _IN_BODY or states[height] in _IN_FILE:
                return height
        return 0

    def _mistake(self, index: int, height: int) -> Mistake:
        machine = self.machine
        first = index
        if height < len(machine.starts):
            first = bisect_left(self._starts, machine.starts[height])
        outside = machine.states[height] in _IN_FILE
        return Mistake(self.source, self.tokens, index, min(first, index), machine, outside)

    def _cut_short(self, m: Mistake) -> int | None:
        """The first token of the next statement, where this one ended in `=` or the like."""
        parts = self.machine.values[self._statement_height() :]
        if m.kind(m.index) in (NEWLINE, END) or any(is_token(v, "LPAR", "LSQB") for v in parts):
            return None
        text = self.source.text
        first = m.index
        while first > m.first:
            if text.count("\n", m.tokens[first - 1].end, m.tokens[first].start):
                break
            first -= 1
        if first <= m.first or m.kind(first - 1) not in CONTINUES:
            return None
        return first if begins_statement(self.tokens, first) else None

    def _skip(self, m: Mistake, braces: int) -> int:
        """The token after the statement; feeds a head where the statement opens a body."""
        index = m.index
        while True:
            kind = self.tokens[index].kind
            if kind == END:
                return index
            if kind == NEWLINE and not braces and not self._goes_on(m, index + 1):
                return index + 1
            if kind == "RBRACE":
                if not braces:
                    return self._leave(m, index)
                braces -= 1
            elif kind == "LBRACE":
                ends_line = self.tokens[index + 1].kind == NEWLINE
                if ends_line and not braces and not self._is_repeat(index, m.first):
                    self._feed_head(m, index)
                    return index + 1
                braces += 1
            index += 1

    def _goes_on(self, m: Mistake, index: int) -> bool:
        """Whether the line that begins at a token belongs to the statement of the mistake."""
        if self.tokens[index].kind == END or begins_statement(self.tokens, index):
            return False
        text = self.source.text
        return indent(text, self.tokens[index].start) > indent(text, self.tokens[m.first].start)

    def _leave(self, m: Mistake, index: int) -> int:
        """A `}` ends the statement: it closes the body around it, if there is one."""
        return index + 1 if m.outside else index

    def _is_repeat(self, index: int, first: int) -> bool:
        """Whether a `{` belongs to a `repeat` stage and not to a body."""
        while index > first:
            index -= 1
            kind = self.tokens[index].kind
            if kind == "REPEAT":
                return True
            if kind in ("ARROW", "LBRACE", "RBRACE", NEWLINE):
                return False
        return False

    def _feed_head(self, m: Mistake, index: int) -> None:
        place = self.tokens[index].start
        for kind in _ITEM_HEAD if m.outside else _STATEMENT_HEAD:
            self.machine.feed(Token(kind, place, place))

    def _report(self, diagnostic: Diagnostic, m: Mistake, end: int) -> None:
        """Keeps a message, unless its statement holds one already or it repeats the one before."""
        start = self.source.text.rfind("\n", 0, self.tokens[m.first].start) + 1
        stop = self.tokens[min(end, len(self.tokens) - 1)].start
        if bisect_right(self._known, stop) > bisect_left(self._known, start):
            return
        quiet = m.outside and m.index == m.first
        if not (quiet and m.first <= self._quiet_until):
            self.diagnostics.append(diagnostic)
        if quiet:
            self._quiet_until = end
