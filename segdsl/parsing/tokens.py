"""Tokens, and which words of the language are names elsewhere."""

from __future__ import annotations

import keyword
from typing import NamedTuple

from segdsl.parsing.tables import WORDS


class Token(NamedTuple):
    """A token: its terminal in the grammar, and its characters `start` to `end` of the source."""

    kind: str
    start: int
    end: int


HARD_WORDS = frozenset({
    "and", "as", "else", "false", "for", "from", "if", "import", "in", "none", "not", "or", "true",
})  # fmt: skip
"""Words of the language that are never names."""

SOFT = frozenset(kind for text, kind in WORDS.items() if text not in HARD_WORDS)
"""Terminals of words that are names wherever the grammar has no use for the word."""

RESERVED = frozenset({"extern", "while", "match", "fn"})
"""Words kept for later editions."""

PYTHON_WORDS = frozenset(keyword.kwlist) - HARD_WORDS
"""Keywords of Python that are no words of the language."""

NEWLINE = "_NL"
END = "$END"

OPENERS = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}

CONTINUES = frozenset({
    "ASSIGN", "APPEND", "COMMA", "PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "POWER", "CMP",
    "AND", "OR", "NOT", "IF", "IN",
})  # fmt: skip
"""Terminals after which a statement goes on in the next line."""

CONTINUED_BY = frozenset({"ARROW", "ELSE", "WHERE"})
"""Terminals that carry on the statement of the line before."""

STATEMENTS = frozenset({
    "input", "output", "train", "post", "weight", "layer", "var", "if", "for", "check", "init",
})  # fmt: skip
"""Words that begin a statement."""

ITEMS = frozenset({"seg", "from", "import", "const", "block", "net"})
"""Words that begin an item of a file."""
