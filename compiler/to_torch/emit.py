"""The torch target's text: from a graph to the source of a file that needs only torch."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from compiler.to_torch import (  # noqa: F401  (each registers its lowerings)
    activation,
    combine,
    conv,
    crf,
    deform,
    elementwise,
    norm,
    pool,
    ports,
    regularise,
    resize,
    tensor,
)
from compiler.to_torch.body import Step
from compiler.to_torch.classes import ClassPlan
from compiler.to_torch.guard import check_source
from compiler.to_torch.helpers import HELPERS
from compiler.to_torch.library import LIBRARIES, Library, library
from compiler.to_torch.names import (
    Names,
    cleaned,
    identifier,
    is_identifier,
    part_problem,
)
from compiler.to_torch.plan import Outline, outline
from compiler.to_torch.render import ClassWriter
from compiler.to_torch.runtime import Runtime
from segdsl.analysis.params import count, params
from segdsl.analysis.shapes import shapes
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph, Node, Value
from segdsl.ops.ports import Input, Output, Weight
from segdsl.source import Span
from segdsl.types import Feature

TORCH_DTYPES = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "u8": "uint8",
    "i64": "int64",
    "bool": "bool",
}


def emit(
    graph: Graph,
    *,
    flat: bool = False,
    accepts: Sequence[str] = (),
    runtime: Runtime | None = None,
) -> str:
    """The source of a torch module that computes the graph; the last class of the file is the net.

    The file imports torch and the standard library only. Its state_dict has the names and the
    order of `segdsl.analysis.params`. The same graph gives the same bytes.

    Args:
        graph: the network.
        flat: one class with one statement per node, instead of one class per block.
        accepts: what the input sizes must satisfy, for the header, one line each.
        runtime: what the file imports besides, for operators of a target built upon this one.

    Raises:
        SegError: a weight path cannot be an attribute of a module (E6004), or a batch norm was
            folded (E6001).
    """
    _check_paths(graph)
    types = shapes(graph)
    carried = carried_by(graph)
    reserved = _reserved(graph, carried, runtime)
    found = outline(graph, types, reserved, flat=flat)
    text = _File(graph, types, found, flat, accepts, carried, runtime).text()
    check_source(text, carried, runtime)
    return text


def net_class(graph: Graph, runtime: Runtime | None = None) -> str:
    """The name of the net's class in the file that is emitted with the same `runtime`."""
    return Names(_reserved(graph, carried_by(graph), runtime)).fresh(graph.name)


def carried_by(graph: Graph) -> list[Library]:
    """The libraries whose text the file holds."""
    return [library(name) for name in sorted({n.op.name for n in graph.nodes()} & {*LIBRARIES})]


def _reserved(graph: Graph, carried: Sequence[Library], runtime: Runtime | None) -> frozenset[str]:
    """Names that no class of the net may have."""
    libraries = (name for one in carried for name in one.definitions)
    imported = runtime.names if runtime is not None else ()
    return frozenset({*HELPERS, outputs_name(graph), *libraries, *imported})


def outputs_name(graph: Graph) -> str:
    """The name of the NamedTuple of a net with several outputs."""
    return f"{identifier(graph.name).rstrip('_')}Outputs"


def _check_paths(graph: Graph) -> None:
    found: dict[str, Diagnostic] = {}
    for node in graph.nodes():
        if node.folded is not None:
            raise SegError(_folded_error(node))
        for part in node.path.split(".") if node.path is not None else ():
            problem = part_problem(part)
            if problem and part not in found:
                found[part] = _path_error(node, part, problem)
        if isinstance(node.op, Weight) and node.path is not None:
            last = node.path.rsplit(".", 1)[-1]
            if not is_identifier(last) and last not in found:
                found[last] = _path_error(node, last, "is no name that a torch parameter can have")
    if found:
        raise SegError(*found.values())


def _folded_error(node: Node) -> Diagnostic:
    return Diagnostic(
        "E6001",
        f"target `torch` cannot express `{node.name}`, into which a batch norm was folded",
        node.span,
        helps=text_helps("give it the graph as it was loaded: its norms can be trained"),
    )


def _path_error(node: Node, part: str, problem: str) -> Diagnostic:
    return Diagnostic(
        "E6004",
        f"target `torch` cannot write the weight path `{node.path}`: `{part}` {problem}",
        node.span,
        caption=f"`{part}` cannot name a part of a module",
        helps=text_helps(f"another path: `@{part}_`"),
    )


class _File:
    def __init__(
        self,
        graph: Graph,
        types: Mapping[Value, Feature],
        found: Outline,
        flat: bool,
        accepts: Sequence[str],
        carried: Sequence[Library],
        runtime: Runtime | None,
    ) -> None:
        self._runtime = runtime
        self._graph = graph
        self._carried = carried
        self._types = types
        self._found = found
        self._flat = flat
        self._accepts = accepts
        classes = {plan.name for plan in found.classes}
        calls = (name for carried in self._carried for name in carried.calls)
        own = runtime.names if runtime is not None else ()
        self._taken = frozenset({*classes, *own, *found.helpers, *calls, outputs_name(graph)})
        self._shapes = _ShapeText(types)

    def text(self) -> str:
        blocks = [self._header(), self._imports()]
        blocks += [HELPERS[name].rstrip("\n") for name in HELPERS if name in self._found.helpers]
        blocks += [carried.text for carried in self._carried]
        if self._several:
            blocks.append(self._outputs())
        blocks += ["\n".join(self._class(plan)) for plan in self._found.classes]
        return f"{blocks[0]}\n\n" + "\n\n\n".join(blocks[1:]) + "\n"

    @property
    def _several(self) -> bool:
        graph = self._graph
        return len(graph.outputs) > 1 or any(_is_train(graph[name]) for name in graph.outputs)

    # -- the head

    def _header(self) -> str:
        graph = self._graph
        source = f" from {cleaned(_file_name(graph.source))}" if graph.source else ""
        lines = [f'"""{identifier(graph.name)}: written by segdsl{source}.', ""]
        doc = [row for line in graph.doc for row in textwrap.wrap(cleaned(line, 2000), 98)]
        lines += [*doc, ""] if doc else []
        lines += self._port_lines()
        lines += [f"accepts  {cleaned(text, 90)}" for text in self._accepts]
        total = count(params(graph, dict(self._types)))
        lines += [
            "",
            f"{total:,} parameters. The numbers in comments are lines of the .seg file.",
            '"""',
        ]
        return "\n".join(lines)

    def _port_lines(self) -> list[str]:
        graph = self._graph
        rows = [("input", graph[n].label or n, Value(n), "") for n in graph.inputs]
        for name in graph.outputs:
            op = graph[name].op
            assert isinstance(op, Output)
            note = "  (in training only)" if op.train else ""
            rows.append(("output", op.label, graph.operands(name)[0], note))
        width = max(len(row[1]) for row in rows)
        lines = []
        for kind, label, value, note in rows:
            feature = self._types[value]
            dtype = TORCH_DTYPES[feature.dtype]
            lines.append(
                f"{kind:<7}  {cleaned(label):<{width}}  {dtype}{cleaned(str(feature))}{note}"
            )
        return lines

    def _imports(self) -> str:
        names = {name for carried in self._carried for name in carried.names}
        names |= {("typing", "NamedTuple")} if self._several else set()
        modules = sorted({name for carried in self._carried for name in carried.modules})
        lines = ["from __future__ import annotations", ""] if self._carried else []
        lines += [f"import {name}" for name in modules]
        for module in sorted({module for module, _ in names}):
            own = sorted(name for home, name in names if home == module)
            lines.append(f"from {module} import {', '.join(own)}")
        lines += [""] if names or modules else []
        lines += ["import torch"]
        lines += ["import torch.nn.functional as F", "from torch import Tensor, nn"]
        lines += ["", self._runtime.line] if self._runtime is not None else []
        return "\n".join(lines)

    def _outputs(self) -> str:
        lines = [f"class {outputs_name(self._graph)}(NamedTuple):"]
        used: set[str] = set()
        for name in self._graph.outputs:
            op = self._graph[name].op
            assert isinstance(op, Output)
            field = identifier(op.label.lstrip("_") or "out")
            while field in used:
                field += "_"
            used.add(field)
            lines.append(f"    {field}: {'Tensor | None' if op.train else 'Tensor'}")
        return "\n".join(lines)

    # -- classes

    def _class(self, plan: ClassPlan) -> list[str]:
        net = plan is self._found.classes[-1]
        writer = ClassWriter(
            plan,
            heading=self._heading(plan),
            doc=self._doc(plan),
            taken=self._taken,
            comment=self._comments(plan),
            results=outputs_name(self._graph) if net and self._several else "",
            nest=not self._flat,
        )
        return writer.lines()

    def _heading(self, plan: ClassPlan) -> str:
        instance = plan.regions[0].instance
        if instance is None or not instance.definition.source.text:
            return ""
        return f"{cleaned(_file_name(instance.definition.source.name))}:{instance.definition.line}"

    def _doc(self, plan: ClassPlan) -> list[str]:
        instance = plan.regions[0].instance
        if instance is None or plan.name == identifier(plan.block):
            return []
        paths = ", ".join(region.path for region in plan.regions)
        return textwrap.wrap(cleaned(f"`{plan.block}` as it is at {paths}.", 400), 88)

    def _comments(self, plan: ClassPlan) -> _Comments:
        instance = plan.regions[0].instance
        home = instance.definition if instance is not None else None
        return _Comments(self._shapes, home, len(plan.regions) == 1, self._graph.source)


class _Comments:
    """What may stand behind a statement, best first: the line of the .seg file and the shape.

    A shape is given only where the class has one instance.
    """

    def __init__(self, shapes: _ShapeText, home: Span | None, single: bool, source: str) -> None:
        self._shapes = shapes
        self._home = home
        self._single = single
        self._source = source

    def __call__(self, step: Step, value: Value) -> tuple[str, ...]:
        place = self._place(step.span)
        shape = self._shapes.of(value) if self._single else ""
        both = f"{place}: {shape}" if place and shape else ""
        return tuple(text for text in (both, shape, place) if text)

    def _place(self, span: Span) -> str:
        if not span.source.text:
            return ""
        local = span.source is self._home.source if self._home else span.source.name == self._source
        return f"{span.line}" if local else f"{cleaned(_file_name(span.source.name))}:{span.line}"


class _ShapeText:
    def __init__(self, types: Mapping[Value, Feature]) -> None:
        self._types = types

    def of(self, value: Value) -> str:
        """The shape of a value, as a comment."""
        return cleaned(str(self._types[value]), 60) if value in self._types else ""


def _is_train(node: Node) -> bool:
    return isinstance(node.op, Output) and node.op.train


def _file_name(name: str) -> str:
    """A source name without the folders of this machine."""
    path = PurePath(name)
    return path.name if path.is_absolute() else path.as_posix()


__all__ = ["Input", "carried_by", "emit", "net_class", "outputs_name"]
