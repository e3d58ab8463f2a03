"""Texts straight from the grammar: every rule of it, whatever they mean."""

from __future__ import annotations

import random
from collections import defaultdict
from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from lark import Lark
from lark.grammar import NonTerminal, Symbol

import segdsl

GRAMMAR = Path(segdsl.__file__).parent / "grammar.lark"
WORDS = {
    "NAME": [*"xyABNHWin", "image", "relu", "conv", "concat", "f32", "int", "bool", "block", "std"],
    "NUMBER": ["0", "1", "2", "3", "64", "1.5", "2x", "3px", "61.1M", "1e-5", "1_000"],
    "STRING": ['""', '"a"', '"x.seg"', '"a.*"', r'"\"\\"'],
    "PATH": ["@a", "@.", "@a.{i}", "@{i + 1}.b", "@0"],
    "_NL": ["\n", "\n\n", "  # why\n", "\n## What.\n"],
    "CMP": ["==", "<", "<=", ">", ">=", "~=", "!="],
    "SLASH": ["/", "//"],
}
DEEP = 9
"""Levels below which only the shortest way to an end is taken."""

NAMED = 0.6
"""How often a name is taken where one may stand."""


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A file whose items and statements follow the grammar, with names and numbers from few."""
    dice = random.Random(draw(st.integers(0, 2**32 - 1)))
    items = [text_of("item", dice) for _ in range(draw(st.integers(0, 3)))]
    body = [text_of("stmt", dice) for _ in range(draw(st.integers(1, 4)))]
    inside = "\n".join(["input image: f32[N, 3, H, W]", *body, "output last = image"])
    return "\n".join(["seg 1", *items, f"net Any() {{\n{inside}\n}}\n"])


@cache
def _grammar() -> tuple[dict[str, list[list[Symbol]]], dict[str, str], dict[str, int]]:
    """The expansions of each rule, the words of fixed terminals, the least depth of each rule."""
    grammar = Lark(GRAMMAR.read_text(), parser="lalr", start=["start", "item", "stmt"])
    rules = defaultdict[str, list[list[Symbol]]](list)
    for rule in grammar.rules:
        rules[rule.origin.name].append(list(rule.expansion))
    words = {t.name: str(t.pattern.value) for t in grammar.terminals if t.pattern.type == "str"}
    least = dict.fromkeys(rules, 1000)
    for _ in rules:
        least = {name: min(map(lambda e: _depth(e, least), rules[name])) for name in rules}
    return dict(rules), words, least


def _depth(expansion: list[Symbol], least: dict[str, int]) -> int:
    inner = [least[part.name] for part in expansion if isinstance(part, NonTerminal)]
    return 1 + max(inner, default=0)


def text_of(start: str, dice: random.Random) -> str:
    """One text of a rule; a blank stands between any two of its words."""
    rules, words, least = _grammar()

    def expand(symbol: Symbol, depth: int) -> str:
        if not isinstance(symbol, NonTerminal):
            known: list[str] = WORDS.get(symbol.name) or [words[symbol.name]]
            return dice.choice(known)
        ways = rules[symbol.name]
        names = [way for way in ways if [part.name for part in way] == ["NAME"]]
        if names and dice.random() < NAMED:
            ways = names
        if depth > DEEP:
            ways = [way for way in ways if _depth(way, least) == least[symbol.name]]
        return " ".join(expand(part, depth + 1) for part in dice.choice(ways))

    return expand(NonTerminal(start), 0)
