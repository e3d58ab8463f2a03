"""The parser itself: a stack machine over the tables that Lark made from the grammar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from segdsl.parsing.tables import ACTIONS, DEFAULTS, END_STATES, GOTOS, RULES, START_STATES
from segdsl.parsing.tokens import END, SOFT, Token

Build = Callable[[str, list[Any], int, int, int], tuple[Any, int]]
"""Makes the node of a rule: (rule, children, start, end, depth of children) to node, depth."""


class Machine:
    """One parse. Its stacks survive an error, so that recovery can go on from an earlier place.

    Attributes:
        states: the state stack; the other stacks run beside it, one entry shorter.
        values: what was built for each symbol on the stack: tokens, nodes, and lists of them.
        starts: where each symbol begins in the text.
        ends: where it ends.
        depths: how many levels of nodes each value holds.
    """

    def __init__(self, start: str, build: Build) -> None:
        self.states = [START_STATES[start]]
        self.values: list[Any] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.depths: list[int] = []
        self._build = build
        self._end = END_STATES[start]

    @property
    def result(self) -> Any:
        """The node of the whole input, once `run` has passed the end token."""
        return self.values[-1]

    def run(self, tokens: Sequence[Token], index: int) -> int:
        """Parses from a token on; the index of the first that does not fit, or their number."""
        count = len(tokens)
        while index < count and self.feed(tokens[index]):
            index += 1
        return index

    def feed(self, token: Token) -> bool:
        """Takes one token; False, and nothing lost but reductions, if it does not fit."""
        states = self.states
        kind = token[0]
        row = ACTIONS[states[-1]]
        if kind in SOFT and kind not in row:
            kind = "NAME"
        if kind == END and states[-1] == self._end:
            return True
        action = row.get(kind)
        while action is not None and action < 0:
            self._reduce(~action)
            if kind == END and states[-1] == self._end:
                return True
            action = ACTIONS[states[-1]].get(kind)
        if action is None:
            return False
        states.append(action)
        self.values.append(token)
        self.starts.append(token[1])
        self.ends.append(token[2])
        self.depths.append(0)
        while default := DEFAULTS[states[-1]]:
            self._reduce(~default)
        return True

    def _reduce(self, number: int) -> None:
        name, origin, length, plan, unit = RULES[number]
        states = self.states
        if length != 1 or unit != 0:
            self._replace(name, length, plan, unit)
        if length:
            del states[-length:]
        states.append(GOTOS[states[-1]][origin])

    def _replace(self, name: str, length: int, plan: tuple[int | None, ...], unit: int) -> None:
        """Puts one value in the place of the last `length` ones."""
        cut = len(self.values) - length
        values = self.values[cut:]
        start = self.starts[cut] if length else 0
        end = self.ends[-1] if length else 0
        depth = max(self.depths[cut:], default=0)
        if unit >= 0:
            value = values[unit]
        elif name[0] == "_":
            value = _children(plan, values)
        else:
            value, depth = self._build(name, _children(plan, values), start, end, depth)
        self.values[cut:] = [value]
        self.starts[cut:] = [start]
        self.ends[cut:] = [end]
        self.depths[cut:] = [depth]

    def cut(self, height: int) -> None:
        """Forgets all symbols above a height of the stacks."""
        del self.states[height + 1 :]
        for stack in (self.values, self.starts, self.ends, self.depths):
            del stack[height:]

    def fork(self) -> Machine:
        """A parser in the same state that builds nothing: to try what would fit."""
        other = object.__new__(Machine)
        other.states = list(self.states)
        other.values = [[] for _ in self.values]
        other.starts, other.ends = list(self.starts), list(self.ends)
        other.depths = [0] * len(self.depths)
        other._build = _build_nothing
        other._end = self._end
        return other

    def accepts(self, kind: str) -> bool:
        """Whether a token of this terminal would be taken now; changes nothing."""
        states = list(self.states)
        while True:
            action = ACTIONS[states[-1]].get(kind)
            if action is None or action >= 0:
                return action is not None
            _, origin, length, _, _ = RULES[~action]
            if length:
                del states[-length:]
            states.append(GOTOS[states[-1]][origin])
            if kind == END and states[-1] == self._end:
                return True


def _build_nothing(*_: object) -> tuple[None, int]:
    return None, 0


def _children(plan: tuple[int | None, ...], values: list[Any]) -> list[Any]:
    """The children of a node; the list of a left-recursive rule grows in place."""
    children: list[Any] = []
    for position, entry in enumerate(plan):
        if entry is None:
            children.append(None)
        elif entry >= 0:
            children.append(values[entry])
        elif position == 0:
            children = values[~entry]
        else:
            children.extend(values[~entry])
    return children
