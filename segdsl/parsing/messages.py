"""What a syntax error says: from the state of the parser and the odd token to our own words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segdsl.diagnostics import Diagnostic, Edit, Help
from segdsl.parsing.complaints import certain, likely
from segdsl.parsing.lalr import Machine
from segdsl.parsing.tables import WORDS
from segdsl.parsing.tokens import (
    CONTINUES,
    END,
    HARD_WORDS,
    ITEMS,
    NEWLINE,
    SOFT,
    STATEMENTS,
    Token,
)  # fmt: skip
from segdsl.source import Source, Span
from segdsl.spelling import nearest

_LETS = frozenset({"let", "val", "auto", "local", "mut"})
_HEADS = frozenset({"IF", "FOR", "ELSE", "NET", "BLOCK"})
_ENDS = frozenset({NEWLINE, END, "RBRACE"})
_VALUES = frozenset({"NAME", "NUMBER", "STRING", "TRUE", "FALSE", "NONE", "NOT"})
_ITEM_KINDS = frozenset(WORDS[word] for word in ITEMS)
_WORDLIKE = _VALUES | frozenset(WORDS.values())
_EXPECTED = (
    ("RPAR", "`)`"), ("RSQB", "`]`"), ("COMMA", "`,`"), ("ASSIGN", "`=`"), ("COLON", "`:`"),
    ("LBRACE", "`{`"), (NEWLINE, "the end of the line"), ("RBRACE", "`}`"),
)  # fmt: skip
_GOES_ON = CONTINUES | {"COLON", "DOT", "ARROW"}
_SHORT = 24  # characters of the user's text that a message shows


@dataclass(frozen=True)
class Mistake:
    """A token that does not fit.

    Attributes:
        tokens: all tokens of the file, as the parser sees them.
        index: the token that does not fit.
        first: the first token of its statement.
        machine: the parser, as it stood before the token.
        outside: whether the statement stands outside of blocks and nets.
    """

    source: Source
    tokens: Sequence[Token]
    index: int
    first: int
    machine: Machine
    outside: bool

    def kind(self, index: int) -> str:
        """The terminal at an index; the end token beyond both ends."""
        return self.tokens[index].kind if 0 <= index < len(self.tokens) else END

    def text(self, index: int) -> str:
        """The characters of a token."""
        token = self.tokens[index]
        return self.source.text[token.start : token.end]

    def span(self, index: int, last: int | None = None) -> Span:
        """The place of a token, or of a run of tokens."""
        end = self.tokens[index if last is None else last].end
        return Span(self.source, self.tokens[index].start, end)

    def shown(self, start: int, end: int, otherwise: int) -> str:
        """A piece of the text if it is short, else that of one token."""
        text = self.source.text[start:end]
        if len(text) > _SHORT or "\n" in text:
            text = self.text(otherwise)
        return text if len(text) <= _SHORT else text[: _SHORT - 4] + "…"


def explain(mistake: Mistake) -> Diagnostic:
    """The diagnostic of a syntax error: by the first rule that knows it, or what could stand."""
    for rule in _RULES:
        found = rule(mistake)
        if found is not None:
            return found
    return _cannot_stand(mistake)


def explain_expression(m: Mistake) -> Diagnostic:
    """The diagnostic of a syntax error in the braces of a weight path."""
    if m.kind(m.index) != END:
        return _cannot_stand(m)
    text = m.shown(m.tokens[m.index - 1].start, m.tokens[m.index - 1].end, m.index - 1)
    message = f"the expression stops after `{text}`"
    return Diagnostic("E0015", message, m.span(m.index - 1), notes=_expected(m))


# -- a comma that is missing; it is also mended ----------------------------------------------------


def missing_comma(mistake: Mistake) -> Diagnostic | None:
    """E0009 if a comma before the token would make it fit."""
    m, index = mistake, mistake.index
    if m.kind(index) not in _VALUES or not m.machine.accepts("COMMA"):
        return None
    trial = m.machine.fork()
    if not all(map(trial.feed, (Token("COMMA", 0, 0), *m.tokens[index : index + 2]))):
        return None
    values = m.machine.values
    place = len(values) - 1
    while place >= 0 and not is_token(values[place], "COMMA", "LPAR", "LSQB", "LBRACE"):
        place -= 1
    opener = place
    while opener >= 0 and not is_token(values[opener], "LPAR", "LSQB", "LBRACE"):
        opener -= 1
    if opener < 0 or values[opener].kind == "LBRACE" or place == len(values) - 1:
        return None
    left = m.shown(m.machine.starts[place + 1], m.tokens[index - 1].end, index - 1)
    right = m.shown(m.tokens[index].start, m.tokens[_part_end(m, index)].end, index)
    what = "arguments" if values[opener].kind == "LPAR" else "elements"
    if what == "arguments" and m.kind(m.first) in ("NET", "BLOCK"):
        what = "parameters"
    end = m.tokens[index - 1].end
    help_ = likely("add `,`", Edit(Span(m.source, end, end), ","))
    message = f"a comma is missing between the {what} `{left}` and `{right}`"
    return Diagnostic("E0009", message, m.span(index), helps=(help_,))


def is_token(value: object, *kinds: str) -> bool:
    """Whether a value on the stack of the parser is a token of one of these terminals."""
    return isinstance(value, Token) and value.kind in kinds


def _part_end(m: Mistake, index: int) -> int:
    """The last token of the argument that begins at an index, on its line, within a few tokens."""
    depth = 0
    for i in range(index + 1, min(index + 12, len(m.tokens))):
        kind = m.kind(i)
        if kind in ("LPAR", "LSQB"):
            depth += 1
        elif kind in ("RPAR", "RSQB"):
            depth -= 1
        ends = kind in ("COMMA", NEWLINE, END) or kind in _VALUES
        if depth < 0 or (depth == 0 and ends and m.kind(i - 1) not in _GOES_ON):
            return i - 1
    return index


# -- rules, most telling first ---------------------------------------------------------------------


def _let(m: Mistake) -> Diagnostic | None:
    first = m.first
    if m.kind(first) != "NAME" or m.kind(first + 1) != "NAME":
        return None
    word, name = m.text(first), m.text(first + 1)
    if word not in _LETS or m.kind(first + 2) not in ("ASSIGN", "COLON"):
        return None
    cut = Span(m.source, m.tokens[first].start, m.tokens[first + 1].start)
    helps = (
        certain(f"remove `{word}`", Edit(cut, "")),
        Help(f"`var {name} = …` if it changes in a loop"),
    )
    message = f"names are bound with `{name} = …`; `{word}` is not needed"
    return Diagnostic("E0007", message, m.span(first), helps=helps)


def _keyword_bound(m: Mistake) -> Diagnostic | None:
    """`input = 3`, `const true = 1`: a word of the language where a name is bound."""
    index = m.index
    previous = m.kind(index - 1)
    if m.kind(index) in ("ASSIGN", "APPEND") and previous in SOFT and index - 1 == m.first:
        return _reserved(m, index - 1)
    hard = m.kind(index) in WORDS.values() and m.text(index) in HARD_WORDS
    argument = m.kind(index + 1) == "ASSIGN"
    if hard and m.machine.accepts("NAME") and (argument or not m.machine.accepts("NUMBER")):
        return _reserved(m, index)
    return None


def _reserved(m: Mistake, index: int) -> Diagnostic:
    message = f"`{m.text(index)}` is a word of the language and cannot be a name here"
    return Diagnostic("E1009", message, m.span(index))


def _no_braces(m: Mistake) -> Diagnostic | None:
    index = m.index + 1 if m.kind(m.index) == "ELSE" else m.index
    if m.kind(index) != "COLON" or m.kind(index + 1) != NEWLINE:
        return None
    head = index - 1 if m.kind(index - 1) == "ELSE" else m.first
    if m.kind(head) not in _HEADS:
        return None
    text = " ".join(m.source.text[m.tokens[head].start : m.tokens[index].start].split())
    shown = text if len(text) <= 60 else m.text(head) + " …"
    helps = (Help(f"`{shown} {{ … }}`"),)
    return Diagnostic("E0008", "blocks use braces", m.span(index), helps=helps)


def _stops(m: Mistake) -> Diagnostic | None:
    """The line or the block ends in the middle of a statement."""
    if m.kind(m.index) not in _ENDS or m.index == m.first:
        return None
    return stops_after(m, m.index - 1)


def stops_after(m: Mistake, last: int) -> Diagnostic:
    """E0003 or E0015: the statement ends behind a token that cannot end it."""
    if m.kind(last) == "ARROW":
        note = "an operation must follow, as in `-> relu`"
        return Diagnostic("E0003", "the pipeline stops after `->`", m.span(last), notes=(note,))
    notes = ("a value must follow",) if m.kind(last) in CONTINUES else _expected(m)
    text = m.shown(m.tokens[last].start, m.tokens[last].end, last)
    return Diagnostic("E0015", f"the statement stops after `{text}`", m.span(last), notes=notes)


def _edition_line(m: Mistake) -> Diagnostic | None:
    if m.kind(m.first) != "SEG" or m.index != m.first:
        return None
    message = "`seg 1` must be the first line of the file, and stand once"
    return Diagnostic("E0011", message, m.span(m.first))


def _first_word(m: Mistake) -> str | None:
    """The first word of the statement, if it starts nothing."""
    first = m.first
    if m.kind(first) != "NAME" or m.index - first not in (0, 1):
        return None
    if m.kind(first + 1) not in _WORDLIKE and not (m.outside and m.kind(first + 1) == "LBRACE"):
        return None
    return m.text(first)


def meant_word(m: Mistake) -> Token | None:
    """The word that was probably meant by the first one of the statement, in its place."""
    word = _first_word(m)
    near = nearest(word, ITEMS if m.outside else STATEMENTS) if word else None
    token = m.tokens[m.first]
    return Token(WORDS[near], token.start, token.end) if near else None


def _unknown_word(m: Mistake) -> Diagnostic | None:
    """`fro i in …`: the first word starts nothing."""
    first, word = m.first, _first_word(m)
    if word is None:
        return None
    near = nearest(word, ITEMS if m.outside else STATEMENTS)
    helps: tuple[Help, ...] = ()
    if near is not None:
        helps = (likely(f"did you mean `{near}`?", Edit(m.span(first), near)),)
    return Diagnostic("E0006", f"`{word}` starts no statement", m.span(first), helps=helps)


def _outside(m: Mistake) -> Diagnostic | None:
    """A statement that stands in no block or net, or an item that stands in one."""
    if m.index - m.first not in (0, 1):
        return None
    if m.outside and m.index == m.first:
        what = "only imports, `const`, `block` and `net` stand outside of blocks and nets"
    elif not m.outside and m.kind(m.first) in _ITEM_KINDS:
        what = "imports, `const`, `block` and `net` stand outside of blocks and nets"
    else:
        return None
    return _error(m, notes=(what,), index=m.first)


def _single_equals(m: Mistake) -> Diagnostic | None:
    if m.kind(m.index) != "ASSIGN" or m.kind(m.first) not in ("IF", "CHECK"):
        return None
    return _error(m, helps=(likely("to compare, write `==`", Edit(m.span(m.index), "==")),))


def _comprehension(m: Mistake) -> Diagnostic | None:
    if m.kind(m.index) != "FOR" or not m.machine.accepts("RSQB"):
        return None
    return _error(m, helps=(Help("loops in lists begin with `for`: `[for i in xs: f(i)]`"),))


def brace_on_next_line(m: Mistake) -> Diagnostic | None:
    """E0014 if the `{` of a head stands on the line below it; leaving out the line end mends it."""
    brace = m.index + 1
    below = m.kind(m.index) == NEWLINE and m.kind(brace) == "LBRACE"
    if not below or not m.machine.accepts("LBRACE"):
        return None
    gap = Span(m.source, m.tokens[m.index - 1].end, m.tokens[brace].end)
    helps: tuple[Help, ...] = ()
    if not gap.text[:-1].strip():
        helps = (certain("put it there", Edit(gap, " {")),)
    notes = ("`{` stands at the end of the line that it belongs to",)
    return _error(m, notes, helps, index=brace)


_RULES: tuple[Callable[[Mistake], Diagnostic | None], ...] = (
    _edition_line, _let, _keyword_bound, _no_braces, _stops, _unknown_word, _outside,
    _single_equals, _comprehension,
)  # fmt: skip


def _error(
    m: Mistake,
    notes: tuple[str, ...] = (),
    helps: tuple[Help, ...] = (),
    index: int | None = None,
) -> Diagnostic:
    place = m.index if index is None else index
    token = m.tokens[place]
    text = m.shown(token.start, token.end, place)
    message = f"`{text}` cannot stand here" if text else "something is missing here"
    return Diagnostic("E0014", message, m.span(place), notes=notes, helps=helps)


def _cannot_stand(m: Mistake) -> Diagnostic:
    return _error(m, notes=_expected(m))


def _expected(m: Mistake) -> tuple[str, ...]:
    """A note with at most three things that could stand at the token, in our own words."""
    accepts = m.machine.accepts
    things = []
    if accepts("CHECK"):
        things.append("a statement")
    elif accepts("NET"):
        things.append("`block`, `net`, `const` or an import")
    elif accepts("NAME") and accepts("NUMBER"):
        things.append("a value")
    elif accepts("NAME"):
        things.append("an operation" if m.kind(m.index - 1) == "ARROW" else "a name")
    elif accepts("NUMBER"):
        things.append("a number")
    elif accepts("STRING"):
        things.append("a string in double quotes")
    if accepts("LPAR") and not accepts("ARROW") and not things:
        things.append("`(`")
    if accepts("IN") and not accepts("CMP"):
        things.append("`in`")
    if accepts("AS") and not accepts(NEWLINE) and not things:
        things.append("`as`")
    if accepts("ELSE") and not accepts(NEWLINE):
        things.append("`else`")
    things += [text for kind, text in _EXPECTED if accepts(kind)]
    return (f"expected {_either(things[:3])}",) if things else ()


def _either(things: list[str]) -> str:
    *others, last = things
    return f"{', '.join(others)} or {last}" if others else last
