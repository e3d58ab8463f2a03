"""One size at which a network fails: where, which two sides meet there, and what rounded them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segdsl.analysis.shapes import shapes
from segdsl.analysis.sizes import SizeSet, condition_of
from segdsl.diagnostics import Diagnostic, Label, text_helps
from segdsl.infer import at_user, requirements
from segdsl.ir import Graph, Node, Value
from segdsl.limits import Limits
from segdsl.source import NOWHERE, Span
from segdsl.symbolic import evaluate, symbols
from segdsl.types import Everywhere, Feature, Requirement


@dataclass(frozen=True)
class Conflict:
    """A condition of a node that is false at one size of the input."""

    requirement: Requirement
    node: str
    symbol: str
    size: int

    @property
    def values(self) -> dict[str, int]:
        """The size by its symbol."""
        return {self.symbol: self.size}

    @property
    def sides(self) -> tuple[int, int]:
        """What the condition compares, at this size."""
        need, values = self.requirement, self.values
        return evaluate(need.left, values), evaluate(need.right, values)


def first_conflict(
    graph: Graph, types: Mapping[Value, Feature], symbol: str, size: int
) -> Conflict | None:
    """The first node, in the order of the graph, that one size of the input makes impossible."""
    for node in graph.nodes():
        inputs = tuple(types[value] for value in graph.operands(node.name))
        for need in requirements(node.op, inputs):
            condition = condition_of(need)
            if symbols(condition.left) | symbols(condition.right) != {symbol}:
                continue
            if not condition.holds({symbol: size}):
                return Conflict(need, node.name, symbol, size)
    return None


def meeting(conflict: Conflict, graph: Graph, types: Mapping[Value, Feature]) -> str:
    """`the two sides are 37 and 36: the floor of 37/2 at `max_pool(2)`, line 22`."""
    left, right = conflict.sides
    if conflict.requirement.kind == "at_least":
        return f"this would have size {left}"
    if conflict.requirement.kind == "multiple":
        return f"the size is {left}, no multiple of {right}"
    text = f"the two sides are {left} and {right}"
    culprit = _rounding(conflict, graph, types)
    return f"{text}: {culprit}" if culprit else text


def _rounding(conflict: Conflict, graph: Graph, types: Mapping[Value, Feature]) -> str:
    """The nearest operator before the join that lost a remainder at this size."""
    pending = [v.node for v in graph.operands(conflict.node)]
    seen: set[str] = set()
    while pending:
        name = pending.pop(0)
        if name in seen:
            continue
        seen.add(name)
        node = graph[name]
        inputs = [types[v] for v in graph.operands(name)]
        for axis in (0, 1):
            lost = _lost(node, inputs, axis, conflict.values)
            if lost:
                return f"{lost} at `{_shown(node)}`, line {node.span.line}"
        pending.extend(v.node for v in graph.operands(name))
    return ""


def _lost(node: Node, inputs: Sequence[Feature], axis: int, values: Mapping[str, int]) -> str:
    if not inputs or inputs[0].rank != 4 or not hasattr(node.op, "kernel"):
        return ""
    try:
        window = node.op.window(0 if axis == 0 else 1)
    except NotImplementedError:
        return ""
    size = inputs[0].shape[2 + axis]
    if isinstance(window, Everywhere) or window.stride == 1 or symbols(size) != set(values):
        return ""
    free = evaluate(size, values) + window.before + window.after - window.extent
    if free % window.stride == 0:
        return ""
    number = evaluate(size, values)
    if window.before or window.after or window.extent != window.stride:
        return f"stride {window.stride} rounds the size {number}"
    return f"the floor of {number}/{window.stride}"


def _shown(node: Node) -> str:
    text = node.span.text.split("\n")[0].strip()
    return text if text and len(text) <= 40 else node.op.name


def choice(size: int, wanted: int) -> str:
    """A near size, with the padding that reaches it."""
    missing = size - wanted
    return f"{size} (pad {missing // 2}+{missing - missing // 2})" if missing > 0 else str(size)


def refused_size(graph: Graph, name: str, size: int, known: SizeSet) -> Diagnostic:
    """A size that the net does not accept (E3014), or that is too large (E2019).

    With the nearest accepted sizes, and the first place at which it fails.
    """
    if size > Limits().image_side:
        message = f"{name} = {size:,} is too large; the limit is {Limits().image_side:,}"
        return Diagnostic("E2019", message, None)
    near = " or ".join(choice(n, size) for n in known.nearest(size))
    verdict = f"this net accepts {known}"
    helps = text_helps(f"nearest: {near}") if near else ()
    types = shapes(graph)
    conflict = first_conflict(graph, types, name, size)
    node = graph[conflict.node if conflict else _stating(graph, name)]
    note = "only the `where` of the input refuses it"
    labels: tuple[Label, ...] = ()
    if conflict is not None:
        note = f"the first conflict is here: {meeting(conflict, graph, types)}"
        labels = _sides(conflict, node)
    diagnostic = Diagnostic(
        "E3014", f"{name} = {size} is not accepted", _place(conflict, node),
        labels=labels, notes=(note, verdict), helps=helps,
    )  # fmt: skip
    return at_user(diagnostic, node.scope)


def _stating(graph: Graph, symbol: str) -> str:
    """The first input that has a size."""
    stated = (n for n in graph.inputs if any(symbol in symbols(s) for s in graph[n].op.shape))  # type: ignore[attr-defined]
    return next(stated)


def _place(conflict: Conflict | None, node: Node) -> Span | None:
    blame = conflict.requirement.blame if conflict else ()
    blamed = (node.parts[p] for p in blame if isinstance(p, str) and p in node.parts)
    span = next(blamed, node.span)
    return None if span.source is NOWHERE.source else span


def _sides(conflict: Conflict, node: Node) -> tuple[Label, ...]:
    """The size of each operand of a join under its name."""
    slots = [slot for slot in conflict.requirement.blame if isinstance(slot, int)]
    if conflict.requirement.kind != "equal" or len(slots) != 2:
        return ()
    pairs = zip(slots, conflict.sides, strict=True)
    return tuple(Label(node.parts[s], f"{n} pixels") for s, n in pairs if s in node.parts)
