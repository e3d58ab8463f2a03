"""A graph as `.seg` text: one statement per node, which parses back to an equal graph."""

from __future__ import annotations

import keyword
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace

from segdsl.ir import Graph, Node, Value
from segdsl.ops.base import Op
from segdsl.ops.conv import Conv, ConvTranspose
from segdsl.ops.deform import DeformConv
from segdsl.ops.elementwise import Add, Div, Maximum, Minimum, Mul, Sub
from segdsl.ops.ports import Input, Output, Weight
from segdsl.ops.terms import Term
from segdsl.parsing.tables import WORDS
from segdsl.parsing.tokens import RESERVED
from segdsl.types import Initialiser, Pair, Sides, Slot

SIGNS: Mapping[type[Op], str] = {Add: "+", Sub: "-", Mul: "*", Div: "/"}
JOINS: Mapping[type[Op], str] = {Maximum: "max", Minimum: "min"}
LONGEST = 56


def print_graph(graph: Graph) -> str:
    """The text of a graph, without blocks and loops: every node is a statement.

    `segdsl.parse(print_graph(g)) == g` for every graph of the language. Weights that several nodes
    share become a `layer`. A folded batch norm is printed as the statement it was, so that text
    parses to a graph that computes the same.
    """
    names = _names(graph)
    due = _due(graph, _first_owners(graph))
    layers = _layers(graph, due, set(names.values()))
    body: list[str] = []
    for node in graph.nodes():
        for owner in due.get(node.name, ()):
            if isinstance(owner.op, Weight):
                body.append(_statement(graph, owner, names, layers))
            elif owner.path in layers:
                body.append(_layer(graph, owner, layers[owner.path], names))
        if not isinstance(node.op, Weight):
            body.append(_statement(graph, node, names, layers))
    lines = ["seg 1", "", f"net {graph.name}() {{", *(f"  {line}" for line in body), "}", ""]
    return "\n".join(lines)


def _first_owners(graph: Graph) -> dict[str, Node]:
    """For each weight path the first node that owns it."""
    found: dict[str, Node] = {}
    for node in graph.nodes():
        if node.path is not None:
            found.setdefault(node.path, node)
    return found


def _due(graph: Graph, first: Mapping[str, Node]) -> dict[str, list[Node]]:
    """By node, the owners whose paths must be named before its statement is written.

    That is its own, and those that are earlier in the order of the weights.
    """
    waiting = deque(path for path in graph.path_order if path in first)
    named: set[str] = set()
    found: dict[str, list[Node]] = {}
    for node in graph.nodes():
        if node.path is None or node.path in named:
            continue
        paths = [waiting.popleft()] if waiting else [node.path]
        while waiting and paths[-1] != node.path:
            paths.append(waiting.popleft())
        named.update(paths)
        found[node.name] = [first[path] for path in paths]
    return found


def _layers(graph: Graph, due: Mapping[str, list[Node]], taken: set[str]) -> dict[str | None, str]:
    """Names for the paths that several nodes own, and for those named before they are computed."""
    uses = Counter(n.path for n in graph.nodes() if not isinstance(n.op, Weight))
    early = {owner.path for name, owners in due.items() for owner in owners if owner.name != name}
    return {
        owner.path: _free(identifier(f"layer_{owner.path}"), taken)
        for owners in due.values()
        for owner in owners
        if not isinstance(owner.op, Weight) and (uses[owner.path] > 1 or owner.path in early)
    }


def _layer(graph: Graph, owner: Node, name: str, names: Mapping[Value, str]) -> str:
    reads = [names[value] for value in graph.operands(owner.name)]
    op = owner.op
    if owner.folded is not None and isinstance(op, Conv | ConvTranspose | DeformConv):
        op = replace(op, bias=owner.folded.bias)
    return f"layer {name} = {_call(op, reads=reads if op.slotted else ())} @{owner.path}"


def _names(graph: Graph) -> dict[Value, str]:
    """A legal, unique name for every value; outputs keep theirs."""
    taken = {op.label for n in graph.outputs if isinstance(op := graph[n].op, Output)}
    taken |= set(graph.inputs)
    names: dict[Value, str] = {}
    weights: dict[str | None, str] = {}
    for node in graph.nodes():
        if isinstance(node.op, Weight):
            if node.path not in weights:
                weights[node.path] = _free(identifier(node.name), taken)
            names[Value(node.name)] = weights[node.path]
            continue
        results = node.op.results
        for port, result in enumerate(results):
            wanted = node.name if len(results) == 1 else f"{node.name}.{result}"
            if isinstance(node.op, Input):
                names[Value(node.name)] = node.name
            else:
                names[Value(node.name, port)] = _free(identifier(wanted), taken)
    return names


def identifier(text: str) -> str:
    """A name of the language that resembles `text`."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)[-LONGEST:].lstrip("_") or "x"
    if not name[0].isalpha() or name in WORDS or name in RESERVED or keyword.iskeyword(name):
        name = f"x_{name}"
    return name


def _free(name: str, taken: set[str]) -> str:
    count, free = 2, name
    while free in taken:
        free, count = f"{name}_{count}", count + 1
    taken.add(free)
    return free


def _statement(
    graph: Graph, node: Node, names: Mapping[Value, str], shared: Mapping[str | None, str]
) -> str:
    op = node.op
    reads = [names[value] for value in graph.operands(node.name)]
    if isinstance(op, Input):
        return f"input {node.name}: {op.dtype}[{_list(op.shape)}]{_where(op)}"
    if isinstance(op, Output):
        train = "train " if op.train else ""
        same = names[graph.operands(node.name)[0]] == op.label
        return f"{train}output {op.label}" + ("" if same else f" = {reads[0]}")
    results = [names[Value(node.name, port)] for port in range(len(op.results))]
    if isinstance(op, Weight):
        return f"weight {results[0]}: [{_list(op.shape)}] = {op.init} @{node.path}"
    return f"{', '.join(results)} = {_expression(node, reads, shared)}"


def _where(op: Input) -> str:
    return " where " + ", ".join(map(str, op.where)) if op.where else ""


def _expression(node: Node, reads: list[str], shared: Mapping[str | None, str]) -> str:
    op = node.op
    if type(op) in SIGNS and isinstance(op, Add | Sub | Mul | Div):
        return _arithmetic(SIGNS[type(op)], reads, op.number, op.number_first)
    if type(op) in JOINS:
        return f"{JOINS[type(op)]}([{', '.join(reads)}])"
    path = f" @{node.path}" if node.path is not None else ""
    if node.folded is not None and isinstance(op, Conv | ConvTranspose | DeformConv):
        own = replace(node, op=replace(op, bias=node.folded.bias), folded=None)
        norm = f"{_call(node.folded.norm)} @{node.folded.path}"
        return f"{_expression(own, reads, shared)} -> {norm}"
    layer = shared.get(node.path)
    if op.slotted:
        return f"{reads[0]} -> {layer or _call(op, reads=reads) + path}"
    if op.variadic:
        return f"[{', '.join(reads)}] -> {layer or _call(op) + path}"
    first_optional = len(op.operands) - op.optional
    extra = reads[1:first_optional]
    named = [f"{op.operands[i]}={reads[i]}" for i in range(first_optional, len(reads))]
    if layer is not None:
        maps = ", ".join([*extra, *named])
        return f"{reads[0]} -> {layer}" + (f"({maps})" if maps else "")
    return f"{reads[0]} -> {_call(op, *extra, named=named)}{path}"


def _arithmetic(sign: str, reads: list[str], number: float | None, first: bool) -> str:
    if number is None:
        return f"{reads[0]} {sign} {reads[1]}"
    return (
        f"{_number(number)} {sign} {reads[0]}" if first else f"{reads[0]} {sign} {_number(number)}"
    )


def _number(number: float) -> str:
    return repr(number) if number >= 0 else f"({number!r})"


def _call(op: Op | Term, *first: str, named: Iterable[str] = (), reads: Sequence[str] = ()) -> str:
    arguments = [*first, *_arguments(op, reads), *named]
    return f"{op.name}({', '.join(arguments)})" if arguments else op.name


def _arguments(op: Op | Term, reads: Sequence[str]) -> Iterator[str]:
    """The fields that differ from their defaults; `reads` are the names of the operands.

    Positional ones without a name, as far as none is skipped.
    """
    unnamed = True
    for field in fields(op):  # type: ignore[arg-type]
        value = getattr(op, field.name)
        unnamed = unnamed and not field.kw_only
        if (
            field.default is not MISSING
            and value == field.default
            and type(value) is type(field.default)
        ):
            unnamed = False
            continue
        text = literal(value, reads)
        yield text if unnamed else f"{field.name}={text}"


def literal(value: object, reads: Sequence[str] = ()) -> str:
    """A value of a field as it is written in the language; slots name one of `reads`."""
    match value:
        case Slot(index):
            return reads[index]
        case Term():
            return _call(value, reads=reads)
        case bool() | None:
            return {True: "true", False: "false", None: "none"}[value]
        case Pair() | Sides() if len(set(value)) == 1:
            return str(value[0])
        case tuple():
            return f"[{_list(value, reads)}]"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Initialiser() | int():
            return str(value)
    return repr(value)


def _list(values: Iterable[object], reads: Sequence[str] = ()) -> str:
    return ", ".join(
        literal(v, reads) if isinstance(v, float | str | tuple | Slot | Term) else str(v)
        for v in values
    )
