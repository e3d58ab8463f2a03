"""Texts straight from the grammar: every rule of it, whatever they mean."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from lark import Lark

import segdsl

GRAMMAR = Path(segdsl.__file__).parent / "grammar.lark"
NAMES = "x y image A B N H W relu conv concat i n f32 tensor int bool block channels std".split()
NUMBERS = ("0", "1", "2", "3", "64", "1.5", "2x", "3px", "61.1M", "1e-5", "1_000")
STRINGS = ('""', '"a"', '"x.seg"', '"a.*"', r'"\"\\"')
LINES = ("\n", "\n\n", "  # why\n", "\n## What.\n")
PATHS = ("@a", "@.", "@a.{i}", "@{i}.b", "@0")


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A file whose items and statements follow the grammar, with names and numbers from few."""
    items = draw(st.lists(_of("item"), max_size=3))
    body = draw(st.lists(_of("stmt"), min_size=1, max_size=4))
    inside = "\n".join(["input image: f32[N, 3, H, W]", *body, "output last = image"])
    return "\n".join(["seg 1", *items, f"net Any() {{\n{inside}\n}}\n"])


@cache
def _of(start: str) -> st.SearchStrategy[str]:
    """Texts of one rule."""
    grammar = Lark(GRAMMAR.read_text(), parser="lalr", start=start)
    drawn = {"NAME": NAMES, "NUMBER": NUMBERS, "STRING": STRINGS, "PATH": PATHS, "_NL": LINES}
    known = {name: st.sampled_from(values).map(_apart) for name, values in drawn.items()}
    words = [terminal for terminal in grammar.terminals if terminal.pattern.type == "str"]
    known |= {word.name: st.just(_apart(word.pattern.value)) for word in words}
    return from_lark(grammar, start=start, explicit=known, alphabet=st.characters(codec="ascii"))


def _apart(word: str) -> str:
    """A word with a blank behind it, so that it does not grow together with the next."""
    return f"{word} "
