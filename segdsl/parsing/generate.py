"""Turns `grammar.lark` into `tables.py`: `python -m segdsl.parsing.generate`.

Lark builds the LALR(1) tables; the parser reads only the tables, so that no program pays for
building them, or for importing Lark. A test compares the committed file with a fresh one.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import lark

GRAMMAR = Path(__file__).parent.parent / "grammar.lark"
TABLES = Path(__file__).parent / "tables.py"
STARTS = ["start", "expr"]

HEADER = '''\
"""The tables of the grammar. Made by `python -m segdsl.parsing.generate`: do not edit."""

# ruff: noqa
# fmt: off
from __future__ import annotations
'''


def build(grammar: str, strict: bool = False) -> lark.Lark:
    """The grammar as a Lark parser; `strict` refuses every conflict (it needs `interegular`)."""
    return lark.Lark(grammar, parser="lalr", lexer="contextual", start=STARTS, strict=strict)


def generate(grammar: str) -> str:
    """The text of `tables.py` for the text of a grammar."""
    parser = build(grammar)
    table: Any = parser.parser.parser._parse_table
    rules = sorted(_rules(table), key=_rule_key)
    number = {id(rule): i for i, rule in enumerate(rules)}
    order = _states(table)
    renamed = {state: i for i, state in enumerate(order)}
    actions, gotos = [], []
    for state in order:
        rows = _row(table.states[state], renamed, number)
        actions.append(rows[0])
        gotos.append(rows[1])
    parts = [
        HEADER,
        _assign(
            "RULES",
            "tuple[tuple[str, str, int, tuple[int | None, ...], int], ...]",
            *map(_rule, rules),
        ),
        _assign("ACTIONS", "tuple[dict[str, int], ...]", *actions),
        _assign("GOTOS", "tuple[dict[str, int], ...]", *gotos),
        _assign("DEFAULTS", "tuple[int, ...]", *map(_default, actions)),
        f"START_STATES: dict[str, int] = {_numbers(table.start_states, renamed)!r}\n",
        f"END_STATES: dict[str, int] = {_numbers(table.end_states, renamed)!r}\n",
        f"WORDS: dict[str, str] = {_words(parser)!r}\n",
        f"OPERATORS: dict[str, str] = {_operators(parser)!r}\n",
        f"PATTERNS: dict[str, str] = {_patterns(parser)!r}\n",
    ]
    return "\n".join(_wrap(part) for part in parts)


def _numbers(states: dict[str, int], renamed: dict[int, int]) -> dict[str, int]:
    return {start: renamed[states[start]] for start in STARTS}


def _rules(table: Any) -> list[Any]:
    """Every rule that some state reduces by, once."""
    found = {}
    for row in table.states.values():
        for action, target in row.values():
            if action.name == "Reduce":
                found[id(target)] = target
    return list(found.values())


def _rule_key(rule: Any) -> tuple[str, str, int]:
    return (str(rule.origin.name), " ".join(s.name for s in rule.expansion), rule.order)


def _states(table: Any) -> list[int]:
    """The states in an order that depends on the grammar alone: breadth first, by symbol names."""
    order = [table.start_states[s] for s in STARTS]
    seen = set(order)
    for state in order:
        for _, (action, target) in sorted(table.states[state].items()):
            if action.name == "Shift" and target not in seen:
                seen.add(target)
                order.append(target)
    return order


def _row(
    row: Any, renamed: dict[int, int], number: dict[int, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """One state: shifts as states, reductions as `~rule`; and where it goes after a reduction."""
    actions, gotos = {}, {}
    for symbol, (action, target) in sorted(row.items()):
        if action.name == "Reduce":
            actions[symbol] = ~number[id(target)]
        elif symbol.isupper() or symbol.startswith("$END"):
            actions[symbol] = renamed[target]
        else:
            gotos[symbol] = renamed[target]
    return actions, gotos


def _default(actions: dict[str, int]) -> int:
    """The reduction that a state makes whatever comes next, as `~rule`; 0 if it has a choice."""
    targets = set(actions.values())
    only = targets.pop() if len(targets) == 1 else 0
    return min(only, 0)


def _rule(rule: Any) -> tuple[str, str, int, tuple[int | None, ...], int]:
    """A rule: builder, nonterminal, length, plan, and the child that stands for the whole (or -1).

    The plan lists the children of the node: `i` takes symbol i, `~i` all parts of the list at
    symbol i, None stands for an optional part that was left out.
    """
    options = rule.options
    gaps = _gaps(options.empty_indices, len(rule.expansion))
    plan: list[int | None] = [None] * gaps[0]
    for i, symbol in enumerate(rule.expansion):
        if not symbol.is_term and symbol.name.startswith("_"):
            plan.append(~i)
        elif not (symbol.is_term and symbol.filter_out):
            plan.append(i)
        plan.extend([None] * gaps[i + 1])
    only = plan[0] if len(plan) == 1 and plan[0] is not None and plan[0] >= 0 else None
    unit = only if options.expand1 and rule.alias is None and only is not None else -1
    name = str(rule.origin.name)
    return (str(rule.alias or name), name, len(rule.expansion), tuple(plan), unit)


def _gaps(empty: tuple[bool, ...], length: int) -> list[int]:
    """How many left-out optional parts stand before each symbol, and behind the last."""
    if not empty:
        return [0] * (length + 1)
    return [len(run) for run in "".join(str(int(e)) for e in empty).split("0")]


def _texts(parser: lark.Lark) -> dict[str, str]:
    """Every fixed text of the grammar and the terminal that it is."""
    found = {}
    for terminal in parser.terminals:
        if terminal.pattern.type == "str":
            found[terminal.pattern.value] = terminal.name
        elif terminal.name in {"CMP", "SLASH"}:
            found.update({re.sub(r"\\", "", v): terminal.name for v in _alternatives(terminal)})
    return dict(sorted(found.items()))


def _alternatives(terminal: Any) -> list[str]:
    return [str(v) for v in re.sub(r"^\(\?:|\)$", "", terminal.pattern.value).split("|")]


def _words(parser: lark.Lark) -> dict[str, str]:
    return {text: name for text, name in _texts(parser).items() if text.isalpha()}


def _operators(parser: lark.Lark) -> dict[str, str]:
    return {text: name for text, name in _texts(parser).items() if not text.isalpha()}


def _patterns(parser: lark.Lark) -> dict[str, str]:
    named = {t.name: t.pattern.value for t in parser.terminals}
    return {name: named[name] for name in ("NAME", "NUMBER", "STRING", "PATH")}


def _assign(name: str, kind: str, *rows: object) -> str:
    body = "".join(f"    {row!r},\n" for row in rows)
    return f"{name}: {kind} = (\n{body})\n"


def _wrap(part: str) -> str:
    """Breaks lines after commas, outside of strings with blanks."""
    lines = []
    for line in part.split("\n"):
        if len(line) <= 100 or line.startswith('"'):
            lines.append(line)
        else:
            lines.extend(_fill(line))
    return "\n".join(lines)


def _fill(line: str) -> list[str]:
    indent = "    " if line.startswith("    ") else ""
    return textwrap.wrap(
        line, 100, initial_indent="", subsequent_indent=indent + "    ", break_long_words=False,
        break_on_hyphens=False, drop_whitespace=True,
    )  # fmt: skip


if __name__ == "__main__":
    TABLES.write_text(generate(GRAMMAR.read_text(encoding="utf-8")), encoding="utf-8")
