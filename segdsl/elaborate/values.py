"""What an expression of the language can be while a program is elaborated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segdsl import syntax
from segdsl.ir import Const, Value
from segdsl.ops.base import Op
from segdsl.ops.terms import Term
from segdsl.source import Span
from segdsl.symbolic import Formula, Size
from segdsl.types import Feature, Initialiser, Slot

if TYPE_CHECKING:
    from segdsl.elaborate.frame import Frame
    from segdsl.imports import Module


@dataclass(frozen=True, slots=True)
class Map:
    """A value of the graph with its type."""

    value: Value
    feature: Feature


@dataclass(frozen=True, slots=True)
class Record:
    """The results of a block with several outputs, or of an operator with several results."""

    of: str
    fields: Mapping[str, Anything]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a unit: `8x`, `3px`."""

    value: int | float
    unit: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """`H/8` in a shape: between the floor and the ceiling of the quotient.

    Whatever the rounding.
    """

    numerator: Size
    divisor: int

    def __str__(self) -> str:
        return f"{self.numerator}/{self.divisor}"


@dataclass(frozen=True, slots=True)
class OperatorRef:
    """An operator in callable position."""

    cls: type[Op]


@dataclass(frozen=True, slots=True)
class TermRef:
    """A pairwise term in callable position."""

    cls: type[Term]


@dataclass(frozen=True, slots=True)
class TermValue:
    """A pairwise term with its arguments, and where each stands; it becomes part of an operator."""

    cls: type[Term]
    fields: Mapping[str, Anything]
    spans: Mapping[str, Span]


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block with the module it was written in."""

    block: syntax.Block
    module: Module


@dataclass(frozen=True, eq=False)
class LayerRef:
    """A declared layer: one set of weights, used as often as it is called."""

    name: str
    callee: Callee
    args: tuple[syntax.Arg, ...]
    path: str
    frame: Frame
    span: Span


@dataclass(frozen=True, slots=True)
class BuiltinRef:
    """A compile-time function of the language (`len`, `range`, ...).

    Or an operator made of others.
    """

    name: str


Callee = OperatorRef | TermRef | BlockRef | LayerRef | BuiltinRef

Anything = (
    int
    | float
    | bool
    | str
    | None
    | Formula
    | Ratio
    | Quantity
    | Initialiser
    | Map
    | Record
    | OperatorRef
    | TermRef
    | TermValue
    | BlockRef
    | LayerRef
    | BuiltinRef
    | Slot
    | Term
    | tuple["Anything", ...]
)
"""Any value of the language; lists are tuples."""


class Unknown(Exception):
    """A name whose statement already failed was used: say nothing more."""


def describe(value: Anything) -> str:
    """A value as a message calls it, with its article."""
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case None:
            return "`none`"
        case int() | float() | Quantity():
            return number_text(value)
        case str():
            return f'"{value}"'
        case Map(feature=feature):
            return f"a map {feature}"
        case Record(of=name):
            return f"the several results of `{name}`"
        case tuple():
            return f"a list of {len(value)}"
        case Formula() | Ratio():
            return f"the size {value}"
        case Initialiser():
            return f"the initialiser {value}"
        case TermValue(cls=cls):
            return f"a term `{cls.name}`"
        case Slot() | Term():
            return str(value)
    return f"`{callee_name(value)}`, something to call"


def number_text(value: float | Quantity) -> str:
    """A number as it is written in the language."""
    if isinstance(value, Quantity):
        return f"{number_text(value.value)}{value.unit}"
    return repr(value)


def callee_name(value: Callee) -> str:
    """The name of something that can be called."""
    match value:
        case OperatorRef(cls) | TermRef(cls):
            return cls.name
        case BlockRef(block, _):
            return block.name.name
        case LayerRef(name=name) | BuiltinRef(name=name):
            return name


def as_const(value: Anything) -> Const:
    """A compile-time value as the graph keeps it; callables by their name, maps as none."""
    match value:
        case bool() | int() | float() | str() | None:
            return value
        case Quantity():
            return value.value
        case tuple():
            return tuple(as_const(item) for item in value)
        case OperatorRef() | TermRef() | BlockRef() | LayerRef() | BuiltinRef():
            return callee_name(value)
        case Map() | Record() | TermValue():
            return None
    return str(value)
