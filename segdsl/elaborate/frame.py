"""Where the elaborator stands.

The instance it is in, the names it can see, the statement it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from segdsl.elaborate.values import Anything, LayerRef
from segdsl.ir import Scope, Turn
from segdsl.source import Span
from segdsl.symbolic import Size

if TYPE_CHECKING:
    from segdsl.imports import Module


class Failed:
    """Stands for the value of a name whose statement failed."""


FAILED = Failed()


@dataclass
class Binding:
    """A name with its value; only `var`s may change."""

    value: Anything | Failed
    span: Span
    variable: bool = False


class Names:
    """Lexical scopes of one block instance, innermost last."""

    def __init__(self, parent: Names | None = None) -> None:
        self.parent = parent
        self.own: dict[str, Binding] = {}

    def chain(self) -> Iterator[Names]:
        """This scope and those around it."""
        scope: Names | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def find(self, name: str) -> Binding | None:
        """The binding a name has here."""
        for scope in self.chain():
            if name in scope.own:
                return scope.own[name]
        return None

    def visible(self) -> set[str]:
        """All names bound here."""
        return {name for scope in self.chain() for name in scope.own}


@dataclass(frozen=True)
class Dim:
    """A dimension variable of an instance: its size and the port that bound it."""

    size: Size
    span: Span
    port: str


@dataclass
class Statement:
    """The statement that runs: its binding.

    And how often each callee occurs in it (for default paths).
    """

    binding: str = ""
    totals: dict[str, int] = field(default_factory=dict[str, int])
    seen: dict[str, int] = field(default_factory=dict[str, int])


@dataclass
class Frame:
    """One block instance (or the net) while its body runs.

    Attributes:
        module: the file the body was written in.
        scope: provenance of nodes made here.
        prefix: weight path of the instance, "" or ending without a dot.
        label: prefix of node names.
        names: bindings visible now.
        dims: dimension variables of the instance.
        layer: the layer that shares the weights made here, if any.
        turns: indices of the loops around the current statement, inside this instance.
        statement: the statement that runs.
    """

    module: Module
    scope: Scope = ()
    prefix: str = ""
    label: str = ""
    names: Names = field(default_factory=Names)
    dims: dict[str, Dim] = field(default_factory=dict[str, Dim])
    layer: LayerRef | None = None
    turns: tuple[int, ...] = ()
    statement: Statement = field(default_factory=Statement)

    def nested(self) -> Frame:
        """The same instance with a fresh innermost scope of names."""
        return replace(self, names=Names(self.names))

    def turn(self, turn: Turn) -> Frame:
        """The same instance inside one turn of a loop."""
        inner = self.nested()
        inner.scope = (*self.scope, turn)
        inner.turns = (*self.turns, turn.index)
        return inner


def join(*parts: str) -> str:
    """Weight path levels joined by dots; empty ones add nothing."""
    return ".".join(part for part in parts if part)
