"""W7101: weights whose path was left to the compiler beside weights whose path was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from segdsl import syntax
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, Label, Severity
from segdsl.infer import is_library
from segdsl.ir import Graph, Node, Turn
from segdsl.source import Span
from segdsl.walk import nodes


@dataclass(frozen=True)
class _Call:
    """A call that makes weights: its path, and the loops around it in its body."""

    span: Span
    path: str
    turns: bool


def default_paths(
    graph: Graph, bodies: Sequence[syntax.Block | syntax.Net]
) -> Iterator[Diagnostic]:
    """The calls without `@` in bodies that write the path of other calls.

    A body without any path is fine: all its names are the compiler's.
    """
    calls = _weighted(graph)
    for body in bodies:
        layers = {s.name.name: s for s in nodes(body.body) if isinstance(s, syntax.Layer)}
        written: list[Span] = []
        bare: dict[Span, _Call] = {}
        for span, path, callee in _written(body):
            call = calls.get(span)
            if call is None:
                continue
            if callee in layers:  # its path is that of the declaration
                value = layers[callee].value
                call = replace(call, span=value.span)
                path = value.path if isinstance(value, syntax.At) else None
            if path is None:
                bare[call.span] = call
            else:
                written.append(path.span)
        if written:
            yield from (_mixed(call, written[0]) for call in bare.values())


def _weighted(graph: Graph) -> dict[Span, _Call]:
    """Every call that makes weights, of operators and of blocks, by its place."""
    found: dict[Span, _Call] = {}
    for node in graph.nodes():
        if node.path is None:
            continue
        for call in _chain(node):
            if not is_library(call.span):
                found.setdefault(call.span, call)
    return found


def _chain(node: Node) -> Iterator[_Call]:
    """The calls that led to a node, and its own, with the part of the path that each added."""
    prefix, turns = "", False
    for step in node.scope:
        if isinstance(step, Turn):
            turns = True
            continue
        yield _Call(step.span, _below(prefix, step.path), turns)
        prefix, turns = step.path, False
    yield _Call(node.span, _below(prefix, node.path or ""), turns)


def _below(prefix: str, path: str) -> str:
    return path[len(prefix) + 1 :] if prefix and path.startswith(f"{prefix}.") else path


def _written(
    body: syntax.Block | syntax.Net,
) -> Iterator[tuple[Span, syntax.Path | None, str]]:
    """The calls of a body: the path that is written behind each, and the name of its callee."""
    located: set[Span] = set()
    for node in nodes(body.body):
        match node:
            case syntax.Stage():
                located.add(node.call.span)
                yield node.span, node.path, _callee(node.call)
            case syntax.At(value=syntax.Call()):
                located.add(node.value.span)
                yield node.span, node.path, _callee(node.value)
            case syntax.Call() if node.span not in located:
                yield node.span, None, _callee(node)


def _callee(expr: syntax.Expr) -> str:
    name = expr.callee if isinstance(expr, syntax.Call) else expr
    return name.name if isinstance(name, syntax.Name) else ""


def _mixed(call: _Call, other: Span) -> Diagnostic:
    message = "these weights have no path of their own beside others that have one"
    labels = (Label(other, "a path is written here"),)
    notes = (f"they are called `{call.path}.…` after the statement they stand in",)
    help = Help("write their path behind the call, as `@name`")
    if not call.turns:
        # Behind the call, before a tap: the same names as before, now in the text.
        edit = Edit(Span(call.span.source, _end(call.span), _end(call.span)), f" @{call.path}")
        help = Help(f"write `@{call.path}`", (edit,), Applicability.CERTAIN)
    return Diagnostic(
        "W7101", message, call.span, Severity.WARNING, labels=labels, notes=notes, helps=(help,)
    )


def _end(span: Span) -> int:
    """Where the call of a stage ends, without the tap behind it."""
    head, _, tap = span.text.rpartition(" as ")
    return span.start + len(head.rstrip()) if head and tap.strip().isidentifier() else span.end
