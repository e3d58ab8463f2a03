"""The summary of a network: stages with shapes, parameters and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from segdsl.analysis.cost import macs, training_only
from segdsl.analysis.params import node_params, params
from segdsl.analysis.shapes import Shapes, shapes
from segdsl.analysis.sizes import SizeSet, in_words, sizes
from segdsl.conflicts import refused_size
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.ir import Const, Graph, Instance, Node, Value
from segdsl.limits import Limits
from segdsl.ops.ports import Input, Output
from segdsl.symbolic import Formula, Size, Symbol
from segdsl.types import Feature


@dataclass(frozen=True)
class Row:
    """One stage: an operation or a block instance; `times` equal ones in a row are one.

    `params` and `macs` are those of all of them; `macs` is None where no size was given, and
    `training` marks what only training computes. `at_most` says that `macs` is a bound.
    """

    name: str
    op: str
    level: int
    times: int
    shape: tuple[str, ...]
    params: int
    macs: int | None
    line: int
    training: bool
    at_most: bool = False


@dataclass(frozen=True)
class Summary:
    """The figures of a network.

    Attributes:
        rows: its stages in source order, blocks opened one level.
        size: the input size of `macs` and the shapes; None: shapes are formulas.
        parameters: learned numbers, frozen ones included.
        frozen: learned numbers that training does not change.
        buffers: other numbers in the state_dict (running statistics).
        macs: multiply-accumulates of inference for the whole batch; None without a size.
        macs_at_most: whether that is a bound, as of a lattice, whose cost depends on the image.
        accepts: the accepted input sizes in words, by symbol.
    """

    net: str
    file: str
    settings: Mapping[str, Const]
    size: tuple[int, int] | None
    batch: int
    accepts: Mapping[str, str]
    inputs: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    parameters: int
    frozen: int
    buffers: int
    macs: int | None
    macs_at_most: bool = False

    def as_json(self) -> dict[str, object]:
        """The same figures as plain data; keys stay in this order."""
        size = None if self.size is None else {"h": self.size[0], "w": self.size[1]}
        return {
            "format": "segdsl.summary",
            "version": 1,
            "file": self.file,
            "net": self.net,
            "settings": dict(self.settings),
            "size": size,
            "batch": self.batch if self.size else None,
            "accepts": dict(self.accepts),
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "outputs": {name: list(shape) for name, shape in self.outputs.items()},
            "parameters": self.parameters,
            "frozen": self.frozen,
            "buffers": self.buffers,
            "macs": self.macs,
            "macs_at_most": self.macs_at_most,
            "stages": [_row_json(row) for row in self.rows],
        }

    def __str__(self) -> str:
        return _text(self)


def summary(graph: Graph, *, size: tuple[int, int] | None = None, batch: int = 1) -> Summary:
    """Shapes, parameters and cost of a network, stage by stage. Allocates no weights.

    Args:
        graph: the network.
        size: height and width of the inputs; without it shapes are formulas and there are no MACs.
        batch: images at once, with a size.

    Raises:
        SegError: the network does not accept the size (E3014).
    """
    accepted = sizes(graph)
    at = {} if size is None else input_sizes(graph, accepted, size, batch)
    table = shapes(graph, at or None)
    cost = macs(graph, at) if at else None
    counted = _counts(graph, table)
    learned = [p for p in params(graph, table).values() if p.learned]
    stored = [p for p in params(graph, table).values() if not p.learned]
    return Summary(
        net=graph.name,
        file=graph.source,
        settings=dict(graph.settings),
        size=size,
        batch=batch,
        accepts={name: str(known) for name, known in accepted.items()},
        inputs={name: _shape(table[Value(name)], accepted) for name in graph.inputs},
        outputs={_output(graph[n]): _shape(table[Value(n)], accepted) for n in graph.outputs},
        rows=tuple(_rows(graph, table, accepted, counted, cost)),
        parameters=sum(p.count for p in learned),
        frozen=sum(p.count for p in learned if not p.trained),
        buffers=sum(p.count for p in stored),
        macs=None if cost is None else sum(cost.values()),
        macs_at_most=cost is not None and any(graph[name].op.macs_at_most for name in cost),
    )


def input_sizes(
    graph: Graph, accepted: Mapping[str, SizeSet], size: tuple[int, int], batch: int
) -> dict[str, int]:
    """The symbols of the inputs at a height, a width and a batch size.

    Raises:
        SegError: a size is not accepted, or not what an input states (E3014).
    """
    values: dict[str, int] = {}
    found: list[Diagnostic] = []
    for name in graph.inputs:
        op = graph[name].op
        assert isinstance(op, Input)
        for axis, stated in enumerate(op.shape):
            wanted = {0: batch, 2: size[0], 3: size[1]}.get(axis)
            if wanted is None or len(op.shape) != 4:
                continue
            known = _symbol(stated)
            if (known is None and stated != wanted) or values.get(known or "", wanted) != wanted:
                what = ("batch", "", "height", "width")[axis]
                message = (
                    f"input `{name}` has {what} {values.get(known or '', stated)}, not {wanted}"
                )
                found.append(Diagnostic("E3014", message, None))
            elif known is not None:
                values[known] = wanted
    cap = Limits().image_side
    wrong = {n: v for n, v in values.items() if v > cap or v not in accepted[n]}
    found += _refused(graph, wrong, accepted)
    if found:
        raise SegError(*found)
    return values


def _refused(
    graph: Graph, wrong: Mapping[str, int], accepted: Mapping[str, SizeSet]
) -> Iterable[Diagnostic]:
    """What is said of refused sizes: once for height and width where they fail alike."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for name, size in wrong.items():
        known = accepted[name]
        alike.setdefault((size, known.modulus, known.stretches), []).append(name)
    for first, *others in alike.values():
        found = refused_size(graph, first, wrong[first], accepted[first])
        also = (f"the same for {' and '.join(others)}",) if others else ()
        yield replace(found, notes=(*found.notes, *also))


def _symbol(size: Size) -> str | None:
    if isinstance(size, Formula) and len(size.terms) == 1 and isinstance(size.terms[0][0], Symbol):
        return size.terms[0][0].name
    return None


def _shape(feature: Feature, accepted: Mapping[str, SizeSet]) -> tuple[str, ...]:
    return tuple(in_words(size, accepted) for size in feature.shape)


def _output(node: Node) -> str:
    assert isinstance(node.op, Output)
    return node.op.label


def _counts(graph: Graph, table: Shapes) -> dict[str, int]:
    """Learned numbers by the node that is the first to use them."""
    seen: set[str] = set()
    counts: dict[str, int] = {}
    for node in graph.nodes():
        inputs = tuple(table[value] for value in graph.operands(node.name))
        for path, param in node_params(node, inputs).items():
            if path not in seen:
                seen.add(path)
                counts[node.name] = counts.get(node.name, 0) + param.count * param.learned
    return counts


@dataclass(frozen=True)
class _Unit:
    """Nodes that make one row: a block instance at some level, or a single node."""

    instance: Instance | None
    nodes: tuple[Node, ...]


def _rows(
    graph: Graph,
    table: Shapes,
    accepted: Mapping[str, SizeSet],
    counted: Mapping[str, int],
    cost: Mapping[str, int] | None,
) -> Iterable[Row]:
    training = training_only(graph)

    def row(unit: _Unit, level: int) -> Row:
        last = unit.nodes[-1]
        value = _result(graph, unit)
        names = [node.name for node in unit.nodes]
        return Row(
            name=unit_name(unit.instance, last),
            op=unit.instance.block if unit.instance else last.op.name,
            level=level,
            times=1,
            shape=_shape(table[value], accepted),
            params=sum(counted.get(name, 0) for name in names),
            macs=None if cost is None else sum(cost.get(name, 0) for name in names),
            line=(unit.instance.span if unit.instance else last.span).line,
            training=all(name in training for name in names),
            at_most=any(node.op.macs_at_most for node in unit.nodes),
        )

    for unit in _units(list(graph.nodes()), 0):
        if isinstance(unit.nodes[-1].op, Input | Output):
            continue
        yield row(unit, 0)
        if unit.instance is not None:
            inner = [row(part, 1) for part in _units(unit.nodes, 1)]
            if any(part.op != inner[0].op for part in inner):
                yield from _folded(inner)


def _result(graph: Graph, unit: _Unit) -> Value:
    """The value a reader takes a unit for: its first declared output, or its last node."""
    ports = graph.ports.get(unit.instance) if unit.instance is not None else None
    outputs = [v for _, v in ports.outputs if isinstance(v, Value)] if ports is not None else []
    inside = {node.name for node in unit.nodes}
    known = [value for value in outputs if value.node in inside]
    return known[-1] if known else Value(unit.nodes[-1].name)


def unit_name(instance: Instance | None, last: Node) -> str:
    """How a report calls a block instance (its weight path) or a node."""
    return instance.path if instance is not None and instance.path else last.name


def _units(nodes: Sequence[Node], depth: int) -> list[_Unit]:
    """Group nodes by their block instance at a depth of instances; the others stand alone."""
    groups: dict[object, list[Node]] = {}
    for node in nodes:
        instances = [step for step in node.scope if isinstance(step, Instance)]
        key: object = instances[depth] if len(instances) > depth else node.name
        groups.setdefault(key, []).append(node)
    return [
        _Unit(key if isinstance(key, Instance) else None, tuple(members))
        for key, members in groups.items()
    ]


def _folded(rows: Sequence[Row]) -> Iterable[Row]:
    """Rows of equal blocks with equal shapes and counts in a row become one."""
    run: list[Row] = []
    for row in rows:
        if run and not _alike(run[0], row):
            yield _merged(run)
            run = []
        run.append(row)
    if run:
        yield _merged(run)


def _alike(a: Row, b: Row) -> bool:
    return (a.op, a.shape, a.params, a.macs, a.training) == (
        b.op,
        b.shape,
        b.params,
        b.macs,
        b.training,
    )


def _merged(run: Sequence[Row]) -> Row:
    first = run[0]
    if len(run) == 1:
        return first
    return Row(
        f"{first.name} … {run[-1].name.rsplit('.', 1)[-1]}",
        first.op,
        first.level,
        len(run),
        first.shape,
        first.params * len(run),
        None if first.macs is None else first.macs * len(run),
        first.line,
        first.training,
        first.at_most,
    )


def _row_json(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "op": row.op,
        "level": row.level,
        "times": row.times,
        "line": row.line,
        "shape": list(row.shape),
        "params": row.params,
        "macs": row.macs,
        "macs_at_most": row.macs is not None and row.at_most,
        "training": row.training,
    }


def _text(s: Summary) -> str:
    settings = ", ".join(f"{k}={_setting(v)}" for k, v in s.settings.items())
    head = f"{s.net}({settings})"
    head += f"  {s.file}" if s.file else ""
    header = ["stage", "op", "shape", "params"] + (["MACs"] if s.size else [])
    lines = [header, *(_cells(s, row) for row in s.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    right = {3, 4}
    body = [
        "  ".join(
            c.rjust(w) if i in right else c.ljust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "─" * max(map(len, body))
    return "\n".join([head, rule, body[0], rule, *body[1:], rule, *_footer(s)])


def _setting(value: Const) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_setting, value)) + "]"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _cells(s: Summary, row: Row) -> list[str]:
    op = row.op + (f" ×{row.times}" if row.times > 1 else "")
    op += " (training)" if row.training else ""
    count = f"{row.params:,}" if row.params else ""
    cells = ["  " * row.level + row.name, op, "[" + ", ".join(row.shape) + "]", count]
    cost = f"{'≤ ' if row.at_most else ''}{row.macs:,}" if row.macs else ""
    return cells + ([cost] if s.size else [])


def _footer(s: Summary) -> Iterable[str]:
    frozen = f", {s.frozen:,} of them frozen" if s.frozen else ""
    yield f"parameters  {s.parameters:,}{frozen}; {s.buffers:,} more in buffers"
    if s.macs is not None and s.size is not None:
        at = f"{s.size[0]}x{s.size[1]}" + (f", batch {s.batch}" if s.batch > 1 else "")
        bound = "at most " if s.macs_at_most else ""
        yield f"MACs        {bound}{s.macs:,} ({s.macs / 1e9:.4f} G) at {at}"
    for name, shape in s.inputs.items():
        yield f"input       {name} [{', '.join(shape)}]"
    for name, shape in s.outputs.items():
        yield f"output      {name} [{', '.join(shape)}]"
    spatial = [text for name, text in s.accepts.items() if name != "N"]
    if spatial:
        yield f"accepts     {'; '.join(spatial)}"
