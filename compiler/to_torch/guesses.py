"""Where the numbers of a region come from: its block's parameters and its input channels.

The text of the .seg file says how an argument was written (`4 * planes`); channels are
followed from operator to operator. Every guess has the right value for the instance at hand; that
it is right for every instance of a class is checked in `compiler.to_torch.classes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Final

from compiler.to_torch import expressions as ex
from compiler.to_torch.expressions import Expression
from compiler.to_torch.lower import Literal
from compiler.to_torch.regions import Region, instances
from segdsl.ir import Const, Graph, Instance, Node, Scope, Turn, Value
from segdsl.types import Feature

MAX_TURN: Final = 64
"""Loop variables are tried from 0 up to here."""

CHANNELS: Final = "__c"
"""Prefix of the symbol for the channels of an input; no name of the language begins so."""


class Guesses:
    """What is known about the numbers of one region.

    Attributes:
        symbols: the block's parameters with their values, and the channels of input i as `__c<i>`.
        structural: parameters that say how often something is repeated: other values of them
            would be another network, so no other number is computed from them.
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
        self.structural = structural_names(graph, region)
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
        text = re.sub(rf"^{re.escape(attribute)}\s*=", "", span.text)
        around = self._around(instances(node))
        loops = loop_names(node)
        return self._written(text, value, around, self._graph.operands(node.name), loops)

    def argument(
        self, child: Region, name: str, value: Literal, reads: Sequence[Value]
    ) -> Expression | None:
        """How an argument of a block was written in its call."""
        assert child.instance is not None
        around = self._around(self._chain(child))
        loops = loop_names(self._graph[child.deep_nodes()[0]])
        for text in call_texts(self._graph, child.instance, name):
            guess = self._written(text, value, around, reads, loops)
            if guess is not None:
                return guess
        return None

    def turns(self, scope: Scope) -> Expression | None:
        """How the number of turns of the loop around a scope was written."""
        turn = next((frame for frame in reversed(scope) if isinstance(frame, Turn)), None)
        own = self._region.instance
        if turn is None or (scope and scope[-1] is not turn):
            return None
        found = _REPEAT.match(turn.span.text) or _RANGE.match(turn.span.text)
        around = [frame for frame in scope if isinstance(frame, Instance)]
        if found is None or (around[-1] if around else None) is not own:
            return None
        tree = ex.parse(found.group(1).strip())
        known = tree is not None and all(name in self.symbols for name in ex.names(tree))
        return (
            tree
            if known and tree is not None and ex.gives(tree, self.symbols, turn.count)
            else None
        )

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
        self,
        text: str,
        value: Literal,
        around: Sequence[Instance],
        reads: Sequence[Value],
        loops: AbstractSet[str],
    ) -> Expression | None:
        tree = ex.parse(text)
        if tree is None:
            return None
        for guess in self._resolved(tree, around, reads, loops):
            if ex.gives(guess, self.symbols, value):
                return guess
        return None

    def _resolved(
        self,
        tree: Expression,
        around: Sequence[Instance],
        reads: Sequence[Value],
        loops: AbstractSet[str],
    ) -> Iterator[Expression]:
        """The expression over this region's symbols; several where a name is not known here."""
        values: dict[str, Expression] = {}
        unknown: list[str] = []
        for name in ex.names(tree):
            known = self._lookup(name, around, reads, loops)
            if known is None:
                unknown.append(name)
            else:
                values[name] = known
        if not unknown:
            yield ex.replace_names(tree, values)
        elif len(unknown) == 1:
            channels = () if unknown[0] in loops else self._local_channels(reads)
            for guess in chain(channels, map(ex.constant, range(MAX_TURN))):
                yield ex.replace_names(tree, {**values, unknown[0]: guess})

    def _local_channels(self, reads: Sequence[Value]) -> Iterator[Expression]:
        own = [name for name in self.symbols if name.startswith(CHANNELS)]
        yield from (ex.name(name) for name in own)
        yield from (self.channels[value] for value in reads if value in self.channels)

    def _lookup(
        self, name: str, around: Sequence[Instance], reads: Sequence[Value], loops: AbstractSet[str]
    ) -> Expression | None:
        if not around:
            return self._symbol(name)
        instance = around[-1]
        for parameter, value in instance.args:
            if parameter != name:
                continue
            if not _usable(value):
                return None
            for text in call_texts(self._graph, instance, name):
                guess = self._written(text, value, around[:-1], reads, loops)
                if guess is not None:
                    return guess
            return ex.constant(value)
        return None

    def _symbol(self, name: str) -> Expression | None:
        value = self.symbols.get(name)
        if value is None or name not in self.structural:
            return None if value is None else ex.name(name)
        return ex.constant(value) if isinstance(value, int | float | bool) else None


_REPEAT = re.compile(r"\s*repeat\s+(.*?)(?:\s+as\s+\w+)?\s*\{", re.DOTALL)
_RANGE = re.compile(r"\s*for\s+\w+\s+in\s+range\(([^,()]*)\)\s*[{:]")
_FOR = re.compile(r"\s*for\s+(.*?)\s+in\s+(.*?)\s*[{:]", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*")


def loop_names(node: Node) -> frozenset[str]:
    """The variables of the loops around a node."""
    found: set[str] = set()
    for frame in node.scope:
        if isinstance(frame, Turn):
            text = frame.span.text
            header = _FOR.match(text)
            if header is not None:
                found.update(_WORD.findall(header.group(1)))
            elif " as " in text.partition("{")[0]:
                found.update(_WORD.findall(text.partition("{")[0].rpartition(" as ")[2]))
    return frozenset(found)


def structural_names(graph: Graph, region: Region) -> frozenset[str]:
    """The words in the headers of the loops that the region itself runs."""
    texts: dict[str, None] = {}
    for name in region.deep_nodes():
        inside = region.instance is None
        for frame in graph[name].scope:
            if isinstance(frame, Turn) and inside:
                texts.setdefault(frame.span.text)
            elif isinstance(frame, Instance):
                if inside:
                    break
                inside = frame is region.instance
    found: set[str] = set()
    for text in texts:
        header = _FOR.match(text) or _REPEAT.match(text)
        if header is not None:
            found.update(_WORD.findall(header.group(header.lastindex or 1)))
    return frozenset(found)


def _usable(value: object) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    return isinstance(value, int | float | bool)


def call_texts(graph: Graph, instance: Instance, name: str) -> list[str]:
    """The texts in the call of an instance that may be the argument `name`, the likeliest first."""
    unnamed, named = call_arguments((instance.written or instance.span).text)
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
