"""A graph as `.seg` text: one statement per node, which parses back to an equal graph."""

from __future__ import annotations

import keyword
import re
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
    shared = _shared(graph)
    body: list[str] = []
    declared: set[str] = set()
    for node in graph.nodes():
        if node.path is not None and node.path in shared and node.path not in declared:
            declared.add(node.path)
            body.append(f"layer {shared[node.path]} = {_call(node.op)} @{node.path}")
        body.append(_statement(graph, node, names, shared))
    lines = ["seg 1", "", f"net {graph.name}() {{", *(f"  {line}" for line in body), "}", ""]
    return "\n".join(lines)


def _names(graph: Graph) -> dict[Value, str]:
    """A legal, unique name for every value; outputs keep theirs."""
    taken = {op.label for n in graph.outputs if isinstance(op := graph[n].op, Output)}
    taken |= set(graph.inputs)
    names: dict[Value, str] = {}
    for node in graph.nodes():
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


def _shared(graph: Graph) -> dict[str | None, str]:
    """The layers: paths that several nodes own, with a name each."""
    uses: dict[str, int] = {}
    for node in graph.nodes():
        if node.path is not None and not isinstance(node.op, Weight):
            uses[node.path] = uses.get(node.path, 0) + 1
    taken = set(_names(graph).values())
    return {
        path: _free(identifier(f"layer_{path}"), taken) for path, count in uses.items() if count > 1
    }


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
    if node.path in shared:
        return f"{reads[0]} -> {shared[node.path]}"
    path = f" @{node.path}" if node.path is not None else ""
    if node.folded is not None and isinstance(op, Conv | ConvTranspose | DeformConv):
        own = replace(node, op=replace(op, bias=node.folded.bias), folded=None)
        norm = f"{_call(node.folded.norm)} @{node.folded.path}"
        return f"{_expression(own, reads, shared)} -> {norm}"
    if op.slotted:
        return f"{reads[0]} -> {_call(op, reads=reads)}{path}"
    if op.variadic:
        return f"[{', '.join(reads)}] -> {_call(op)}{path}"
    first_optional = len(op.operands) - op.optional
    extra = reads[1:first_optional]
    named = [f"{op.operands[i]}={reads[i]}" for i in range(first_optional, len(reads))]
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
