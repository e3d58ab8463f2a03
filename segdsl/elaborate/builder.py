"""The growing graph: nodes with names, paths and types, and the conditions they put on sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from segdsl.analysis.reach.alignment import Memory, Place
from segdsl.diagnostics import (
    Applicability,
    Diagnostic,
    Edit,
    Help,
    Label,
    SegError,
    text_helps,
)
from segdsl.elaborate.frame import Frame
from segdsl.elaborate.order import PathOrder
from segdsl.elaborate.values import LayerRef, Map
from segdsl.infer import at_user, explain, infer, requirements
from segdsl.ir import Graph, Instance, Node, Scope, Turn, Value
from segdsl.limits import Limits
from segdsl.ops.base import Op, RuleError
from segdsl.ops.ports import Input, Output
from segdsl.source import Span
from segdsl.symbolic import symbols
from segdsl.types import Axis, Feature, Param, Requirement


@dataclass(frozen=True)
class Need:
    """A condition on sizes that depends on the input, with the node that first stated it."""

    requirement: Requirement
    node: str
    span: Span
    parts: Mapping[str | int, Span]
    scope: Scope


@dataclass(frozen=True)
class _Owner:
    """Who owns a weight path."""

    op: Op
    params: Mapping[str, Param]
    span: Span
    layer: LayerRef | None
    scope: Scope


@dataclass
class Builder:
    """Adds nodes to a graph and remembers what must hold for its sizes.

    Attributes:
        graph: the network so far.
        types: the type of every value so far.
        needs: conditions that depend on the input size, in source order, each once.
        places: where maps lie in the input, as far as somebody asked.
    """

    graph: Graph
    limits: Limits
    types: dict[Value, Feature] = field(default_factory=dict[Value, Feature])
    needs: dict[tuple[object, ...], Need] = field(default_factory=dict[tuple[object, ...], Need])
    owners: dict[str, _Owner] = field(default_factory=dict[str, _Owner])
    tensors: dict[str, Span] = field(default_factory=dict[str, Span])
    levels: dict[str, Span] = field(default_factory=dict[str, Span])
    order: PathOrder = field(default_factory=PathOrder)
    learned: int = 0
    ports: int = 0
    symbols: frozenset[str] = frozenset()
    places: Memory = field(default_factory=dict[tuple[str, Axis], Place])

    def apply(
        self,
        op: Op,
        operands: Sequence[Map],
        frame: Frame,
        *,
        span: Span,
        parts: Mapping[str | int, Span],
        path: str | None,
        path_span: Span | None = None,
        label: str,
    ) -> tuple[Map, ...]:
        """Add a node for `op` and answer its results.

        `path` is the full weight path (None where the writer gave none and the operator has no
        arrays).

        Raises:
            SegError: the operator refuses its operands, the path is taken, or a limit is reached.
        """
        inputs = tuple(operand.feature for operand in operands)
        self._check_borders(op, len(operands), span, frame)
        try:
            results = infer(op, inputs)
            needs = requirements(op, inputs)
        except RuleError as error:
            raise SegError(
                explain(error, span=span, parts=parts, inputs=inputs, scope=frame.scope)
            ) from error
        params = op.params(*inputs)
        owned = path if params else None
        if owned is not None:
            self._own(owned, op, params, frame, path_span or span)
        self._check_count(span, frame)
        name = self._node_name(owned, label, frame)
        node = Node(name, op, owned, label.rsplit(".", 1)[-1], span, parts, frame.scope)
        self.graph.add(node, [operand.value for operand in operands])
        for need in needs:
            key = (need.kind, need.left, need.right)
            self.needs.setdefault(key, Need(need, name, span, parts, frame.scope))
        return self._typed(name, results)

    def _typed(self, name: str, results: tuple[Feature, ...]) -> tuple[Map, ...]:
        maps = tuple(Map(Value(name, port), feature) for port, feature in enumerate(results))
        self.types.update((m.value, m.feature) for m in maps)
        return maps

    def _check_count(self, span: Span, frame: Frame) -> None:
        if len(self.graph) >= self.limits.nodes:
            message = f"this network has more than {self.limits.nodes:,} nodes"
            helps = text_helps("raise the limit with `--max-nodes`")
            counts = [step.count for step in frame.scope if isinstance(step, Turn)]
            product = " x ".join(f"{count:,}" for count in counts)
            notes = (f"the loops around this make {product} = {prod(counts):,} turns",)
            diagnostic = Diagnostic("E4003", message, span, notes=notes * bool(counts), helps=helps)
            raise SegError(at_user(diagnostic, frame.scope))

    def _check_borders(self, op: Op, operands: int, span: Span, frame: Frame) -> None:
        """Refuse too many operands, inputs and outputs, or size symbols."""
        if operands > self.limits.operands:
            message = (
                f"`{op.name}` has {operands:,} operands; the limit is {self.limits.operands:,}"
            )
            raise SegError(at_user(Diagnostic("E4007", message, span), frame.scope))
        if not isinstance(op, Input | Output):
            return
        self.ports += 1
        if self.ports > self.limits.ports:
            message = f"this net has more than {self.limits.ports} inputs and outputs"
            raise SegError(at_user(Diagnostic("E4007", message, span), frame.scope))
        if isinstance(op, Input):
            self.symbols |= frozenset().union(*map(symbols, op.shape))
        if len(self.symbols) > self.limits.symbolic_sizes:
            message = f"this net has more than {self.limits.symbolic_sizes} symbolic sizes"
            helps = text_helps("give equal sizes one name, or write known sizes as numbers")
            raise SegError(at_user(Diagnostic("E2018", message, span, helps=helps), frame.scope))

    def _node_name(self, path: str | None, label: str, frame: Frame) -> str:
        base = path or label
        if base not in self.graph:
            return base
        count = 2
        while f"{base}_{count}" in self.graph:
            count = self._next.get(base, count) + 1
            self._next[base] = count
        self._next[base] = count
        return f"{base}_{count}"

    _next: dict[str, int] = field(default_factory=dict[str, int])

    def _own(
        self, path: str, op: Op, params: Mapping[str, Param], frame: Frame, span: Span
    ) -> None:
        if len(path) > self.limits.path:
            message = (
                f"this weight path has {len(path)} characters; the limit is {self.limits.path}"
            )
            raise SegError(at_user(Diagnostic("E5010", message, span), frame.scope))
        other = self.owners.get(path)
        if other is None:
            self._claim_tensors(path, params, frame, span)
            self.order.add(path)
            self.owners[path] = _Owner(op, params, span, frame.layer, frame.scope)
            return
        if frame.layer is None or other.layer is not frame.layer:
            raise SegError(at_user(_twice(path, other, span, frame), frame.scope))
        if other.op != op or other.params != params:
            raise SegError(at_user(_other_channels(frame.layer, other, params, span), frame.scope))

    def _claim_tensors(
        self, path: str, params: Mapping[str, Param], frame: Frame, span: Span
    ) -> None:
        for tensor in params:
            full = ".".join(part for part in (path, tensor) if part)
            levels = self._new_levels(full)
            clash = self.levels.get(full) or self.tensors.get(full)
            clash = clash or next((self.tensors[p] for p in levels if p in self.tensors), None)
            if clash is not None:
                message = f"`{full}` would be a tensor and a level of other weight paths"
                label = Label(clash, "the other use is here")
                raise SegError(
                    at_user(Diagnostic("E5007", message, span, labels=(label,)), frame.scope)
                )
            self.tensors[full] = span
            self.levels.update(dict.fromkeys(levels, span))
        self.learned += sum(p.count for p in params.values() if p.learned)
        if self.learned > self.limits.parameters:
            cap = self.limits.parameters
            message = f"this network has more than {cap:,} parameters: {self.learned:,} so far"
            helps = text_helps("raise the limit with `--max-params`")
            raise SegError(at_user(Diagnostic("E5008", message, span, helps=helps), frame.scope))

    def _new_levels(self, full: str) -> list[str]:
        """The prefixes of a tensor's name that are no levels yet, innermost first.

        A known level ends the search: all its prefixes are levels too, and none is a tensor.
        """
        found: list[str] = []
        dot = full.rfind(".")
        while dot > 0 and full[:dot] not in self.levels:
            found.append(full[:dot])
            dot = full.rfind(".", 0, dot)
        return found

    def with_op(self, name: str, op: Op) -> None:
        """Give a node another operator of the same shape rule (an initialiser changed)."""
        self.graph.replace(name, replace(self.graph[name], op=op))


def _twice(path: str, other: _Owner, span: Span, frame: Frame) -> Diagnostic:
    """Two owners of one path: two turns of a loop, two calls of a block, or two places."""
    pairs = zip(other.scope, frame.scope, strict=False)
    first, second = next(((a, b) for a, b in pairs if a != b), (None, None))
    if isinstance(second, Turn) and other.span == span:
        return _same_in_every_turn(path, second, span)
    before, here, label = other.span, span, "first used here"
    if isinstance(first, Instance) and isinstance(second, Instance) and before == here:
        before, here, label = first.span, second.span, "first used by this call"
    help = "add an index, as in `@layer1.{i}`, or share the weights on purpose with `layer`"
    message = f"`{path}` names two different weights"
    labels = (Label(before, label),)
    return Diagnostic("E5001", message, here, labels=labels, helps=text_helps(help))


_INDEX = re.compile(r"^for\s+(\w+)|^repeat\b[^{]*?\bas\s+(\w+)")


def _same_in_every_turn(path: str, loop: Turn, span: Span) -> Diagnostic:
    message = f"all {loop.count} turns of this loop use the weight path `{path}`"
    found = _INDEX.match(loop.span.text)
    index = (found[1] or found[2]) if found else ""
    written = span.text
    if not index or not written.startswith("@"):
        help = Help("name the turn with `as i` or `for i in …`, and put `{i}` into the path")
        return Diagnostic("E5002", message, span, helps=(help,))
    text = re.sub(r"(\.\d+|\.)?$", f".{{{index}}}", written, count=1)
    help = Help(f"write `{text}`", (Edit(span, text),), Applicability.LIKELY)
    return Diagnostic("E5002", message, span, helps=(help,))


def _other_channels(
    layer: LayerRef, other: _Owner, params: Mapping[str, Param], span: Span
) -> Diagnostic:
    shapes = ", ".join(f"{name} {list(p.shape)}" for name, p in params.items())
    before = ", ".join(f"{name} {list(p.shape)}" for name, p in other.params.items())
    return Diagnostic(
        "E5009",
        f"the layer `{layer.name}` has one set of weights, but this use needs others",
        span,
        labels=(Label(other.span, f"first used here, with {before}"),),
        notes=(f"this use needs {shapes}",),
    )
