"""Where the numbers of a region come from: arithmetic over its block's parameters and its input channels.

The text of the .seg file says how an argument was written (`4 * planes`); channels are followed from
operator to operator. Every guess has the right value for the instance at hand; that it is right for every
instance of a class is checked in `compiler.to_torch.classes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from compiler.to_torch import expressions as ex
from compiler.to_torch.expressions import Expression
from compiler.to_torch.lower import Literal
from compiler.to_torch.regions import Region, instances
from segdsl.ir import Const, Graph, Instance, Node, Value
from segdsl.types import Feature

MAX_TURN: Final = 64
"""Loop variables are tried from 0 up to here."""

CHANNELS: Final = "__c"
"""Prefix of the symbol for the channels of an input; no name of the language begins so."""


class Guesses:
    """What is known about the numbers of one region.

    Attributes:
        symbols: the block's parameters with their values, and the channels of input i as `__c<i>`.
        channels: the channels of values, as expressions over the symbols.
    """

    def __init__(
        self,
        graph: Graph,
        types: Mapping[Value, Feature],
        region: Region,
        inputs: Sequence[Value],
        settings: Mapping[str, Const],
    ) -> None:
        self._graph = graph
        self._types = types
        self._region = region
        self.symbols: dict[str, Literal] = {}
        self.channels: dict[Value, Expression] = {}
        for name, value in settings.items():
            if _usable(value):
                self.symbols[name] = value
        for i, value in enumerate(inputs):
            count = self.count(value)
            if count is not None and region.instance is not None:
                self.symbols[f"{CHANNELS}{i}"] = count
                self.channels[value] = ex.name(f"{CHANNELS}{i}")
            elif count is not None:
                self.channels[value] = ex.constant(count)

    def count(self, value: Value) -> int | None:
        """The channels of a value, or None if axis 1 is no number."""
        shape = self._types[value].shape
        return shape[1] if len(shape) > 1 and isinstance(shape[1], int) else None

    def follow(self, value: Value, guesses: Sequence[Expression | None]) -> None:
        """Note the channels of a value: the first guess that is right, else the number."""
        count = self.count(value)
        if count is None:
            return
        fit = next((g for g in guesses if g is not None and ex.gives(g, self.symbols, count)), None)
        self.channels[value] = ex.constant(count) if fit is None else fit

    def attribute(self, node: Node, attribute: str, value: Literal) -> Expression | None:
        """How an attribute of a node was written, if that is arithmetic with this value."""
        span = node.parts.get(attribute)
        if span is None:
            return None
        around = self._around(instances(node))
        return self._written(span.text, value, around, self._graph.operands(node.name))

    def argument(self, child: Region, name: str, value: Literal, reads: Sequence[Value]) -> Expression | None:
        """How an argument of a block was written in its call."""
        assert child.instance is not None
        around = self._around(self._chain(child))
        for text in call_texts(self._graph, child.instance, name):
            guess = self._written(text, value, around, reads)
            if guess is not None:
                return guess
        return None

    def turns(self, text: str, count: int, around: Sequence[Instance]) -> Expression | None:
        """How the number of turns of a loop was written."""
        return self._written(text, count, self._around(around), ())

    def _chain(self, child: Region) -> list[Instance]:
        node = self._graph[child.deep_nodes()[0]]
        found = instances(node)
        assert child.instance is not None
        return found[: found.index(child.instance)]

    def _around(self, found: Sequence[Instance]) -> list[Instance]:
        """The dissolved instances between the region and something inside it, outermost first."""
        own = self._region.instance
        return list(found) if own is None else list(found[found.index(own) + 1 :])

    def _written(
        self, text: str, value: Literal, around: Sequence[Instance], reads: Sequence[Value]
    ) -> Expression | None:
        tree = ex.parse(text)
        if tree is None:
            return None
        for guess in self._resolved(tree, around, reads):
            if ex.gives(guess, self.symbols, value):
                return guess
        return None

    def _resolved(
        self, tree: Expression, around: Sequence[Instance], reads: Sequence[Value]
    ) -> Iterator[Expression]:
        """The expression over this region's symbols; several where a name is not known here."""
        values: dict[str, Expression] = {}
        unknown: list[str] = []
        for name in ex.names(tree):
            known = self._lookup(name, around, reads)
            if known is None:
                unknown.append(name)
            else:
                values[name] = known
        if not unknown:
            yield ex.replace_names(tree, values)
        elif len(unknown) == 1:
            for guess in chain(self._local_channels(reads), map(ex.constant, range(MAX_TURN))):
                yield ex.replace_names(tree, {**values, unknown[0]: guess})

    def _local_channels(self, reads: Sequence[Value]) -> Iterator[Expression]:
        own = [name for name in self.symbols if name.startswith(CHANNELS)]
        yield from (ex.name(name) for name in own)
        yield from (self.channels[value] for value in reads if value in self.channels)

    def _lookup(
        self, name: str, around: Sequence[Instance], reads: Sequence[Value]
    ) -> Expression | None:
        if not around:
            return ex.name(name) if name in self.symbols else None
        instance = around[-1]
        for parameter, value in instance.args:
            if parameter != name:
                continue
            if not _usable(value):
                return None
            for text in call_texts(self._graph, instance, name):
                guess = self._written(text, value, around[:-1], reads)
                if guess is not None:
                    return guess
            return ex.constant(value)
        return None


def _usable(value: object) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    return isinstance(value, int | float | bool)


def call_texts(graph: Graph, instance: Instance, name: str) -> list[str]:
    """The texts in the call of an instance that may be the argument `name`, the likeliest first."""
    unnamed, named = call_arguments(instance.span.text)
    if name in named:
        return [named[name]]
    order = [parameter for parameter, _ in instance.args]
    place = order.index(name)
    ports = graph.ports.get(instance)
    count = len(ports.inputs) if ports is not None else 1
    places = [place + given for given in (count - 1, count, *range(count - 1))]
    return [unnamed[i] for i in places if 0 <= i < len(unnamed)]


def is_given(graph: Graph, instance: Instance, name: str) -> bool:
    """Whether the call of an instance states the argument `name`, or may do so."""
    return bool(call_texts(graph, instance, name))


def call_arguments(text: str) -> tuple[list[str], dict[str, str]]:
    """Unnamed and named arguments of the first bracket in a call, as texts."""
    start = text.find("(")
    if start < 0:
        return [], {}
    parts = _top_level(text[start + 1 :])
    unnamed: list[str] = []
    named: dict[str, str] = {}
    for part in parts:
        name, sign, value = part.partition("=")
        if sign and name.strip().isidentifier() and not value.startswith("="):
            named[name.strip()] = value.strip()
        elif part.strip():
            unnamed.append(part.strip())
    return unnamed, named


def _top_level(text: str) -> list[str]:
    """The pieces between commas up to the bracket that closes; strings are not split."""
    depth, quoted, start = 0, False, 0
    parts: list[str] = []
    for i, c in enumerate(text):
        if c == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            if depth == 0:
                return [*parts, text[start:i]]
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]
