"""Graphs built by hand: nodes with scopes and paths, without a `.seg` text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from segdsl.ir import Const, Graph, Instance, Node, Ports, Scope, Turn, Value
from segdsl.ops.base import Op
from segdsl.ops.ports import Input, Output, Weight
from segdsl.source import NOWHERE, Source, Span
from segdsl.symbolic import Size, symbol
from segdsl.types import DType

N, H, W = symbol("N"), symbol("H"), symbol("W")


class Builder:
    """Adds nodes to a graph; scopes and path prefixes come from `with` statements."""

    def __init__(self, name: str = "Net", **settings: Const) -> None:
        self.graph = Graph(name, settings)
        self._scope: Scope = ()
        self._prefix: tuple[str, ...] = ("",)
        self._count = 0

    def input(self, *shape: Size, name: str = "image", dtype: DType = "f32") -> Value:
        """An input; `[N, 3, H, W]` if no shape is given."""
        return self.graph.add(Node(name, Input(shape or (N, 3, H, W), dtype), label=name))

    def add(self, op: Op, *operands: Value, at: str | None = None, label: str = "") -> Value:
        """A node on these operands; `at` is its path below the instances around it."""
        self._count += 1
        path = None if at is None else self._path(at)
        node = Node(
            f"{op.name}{self._count}", op, path=path, label=label or op.name, scope=self._scope
        )
        return self.graph.add(node, operands)

    def weight(self, op: Weight, at: str) -> Value:
        """A bare learned array."""
        return self.add(op, at=at)

    def output(self, value: Value, name: str = "out", *, train: bool = False) -> None:
        """An output of the net."""
        self.graph.add(Node(f"output.{name}", Output(name, train), label=name), (value,))

    @contextmanager
    def instance(self, block: str, at: str, **args: Const) -> Iterator[Instance]:
        """An instance of a block around the nodes that are added inside."""
        path = self._path(at) if at else self._prefix[-1]
        instance = Instance(block, path, tuple(args.items()), NOWHERE, NOWHERE)
        before = self._scope
        self._scope = (*before, instance)
        self._prefix = (*self._prefix, path)
        try:
            yield instance
        finally:
            self._scope = before
            self._prefix = self._prefix[:-1]

    @contextmanager
    def turn(self, index: int, count: int, text: str = "repeat") -> Iterator[None]:
        """One turn of a loop."""
        before = self._scope
        self._scope = (*before, Turn(index, count, Span(Source("<built>", text), 0, len(text))))
        try:
            yield
        finally:
            self._scope = before

    def ports(
        self, instance: Instance, inputs: dict[str, Value], outputs: dict[str, Value]
    ) -> None:
        """Say what crossed the border of an instance."""
        self.graph.ports[instance] = Ports(tuple(inputs.items()), tuple(outputs.items()))

    def _path(self, at: str) -> str:
        return ".".join(part for part in (self._prefix[-1], at) if part)
