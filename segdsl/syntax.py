"""The syntax tree of a `.seg` file: frozen dataclasses, each with its place in the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from segdsl.source import Source, Span


@dataclass(frozen=True, slots=True)
class Ident:
    """A name where it stands."""

    name: str
    span: Span


# -- expressions
# ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    """A use of a name."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Number:
    """A number literal. `value` is an int if it was written without `.` and exponent.

    `unit` as `px`, `x`, `K`, `M`, `G`.
    """

    value: int | float
    unit: str
    span: Span


@dataclass(frozen=True, slots=True)
class PlainValue:
    """A string (escapes resolved), `true`, `false` or `none`."""

    value: str | bool | None
    span: Span


@dataclass(frozen=True, slots=True)
class Spread:
    """`*xs` in a list."""

    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Each:
    """`for i, r in xs: element` in a list."""

    names: tuple[Ident, ...]
    iterable: Expr
    body: Element
    span: Span


@dataclass(frozen=True, slots=True)
class When:
    """`if c: element` in a list."""

    condition: Expr
    body: Element
    span: Span


@dataclass(frozen=True, slots=True)
class ListExpr:
    """`[a, *b, for …]`."""

    elements: tuple[Element, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Attr:
    """`value.name`."""

    value: Expr
    name: Ident
    span: Span


@dataclass(frozen=True, slots=True)
class Slice:
    """`start:stop` between index brackets; either may be missing."""

    start: Expr | None
    stop: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Index:
    """`value[index]`."""

    value: Expr
    index: Expr | Slice
    span: Span


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument: unnamed if `name` is None."""

    name: Ident | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """`callee(args)`."""

    callee: Expr
    args: tuple[Arg, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Path:
    """A weight path `@layer{i + 1}.0`: parts split at dots, each a run of texts and expressions.

    `@.` has no parts.
    """

    parts: tuple[tuple[str | Expr, ...], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class At:
    """`value @path` outside a stage."""

    value: Expr
    path: Path
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x` or `not x`."""

    op: Literal["-", "not"]
    operand: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """A flat run of operators of one level, left to right: `a + b - c`, `a * b // c`.

    Also `a ** b`.
    """

    first: Expr
    rest: tuple[tuple[Literal["+", "-", "*", "/", "//", "%", "**"], Expr], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Compare:
    """A chain of comparisons: `a <= b < c`, `x in xs`, `a ~= b`."""

    first: Expr
    rest: tuple[tuple[Literal["==", "!=", "<=", ">=", "<", ">", "~=", "in"], Expr], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Logic:
    """A flat run of `and` or `or`."""

    op: Literal["and", "or"]
    operands: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Choose:
    """`then if condition else otherwise`."""

    condition: Expr
    then: Expr
    otherwise: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipeline: `call @path as tap`."""

    call: Expr
    path: Path | None
    tap: Ident | None
    span: Span


@dataclass(frozen=True, slots=True)
class Repeat:
    """`repeat count as index { stages } as tap`."""

    count: Expr
    index: Ident | None
    stages: tuple[Stage | Repeat, ...]
    tap: Ident | None
    span: Span


@dataclass(frozen=True, slots=True)
class Pipe:
    """`source -> stage -> stage`. A leading `x as y` tap on the source is not in the language."""

    source: Expr
    stages: tuple[Stage | Repeat, ...]
    span: Span


Expr = (
    Name
    | Number
    | PlainValue
    | ListExpr
    | Attr
    | Index
    | Call
    | At
    | Unary
    | Binary
    | Compare
    | Logic
    | Choose
    | Pipe
)
Element = Expr | Spread | Each | When


# -- types
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnyDims:
    """`...`: any number of axes."""

    span: Span


@dataclass(frozen=True, slots=True)
class NamedType:
    """`int`, `block`, `tensor`, `oneof("a", "b")`."""

    name: Ident
    args: tuple[Arg, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ShapeType:
    """`[N, C, h, w]` or `f32[N, 3, H, W]`; also lists of types, `[int]`, `[[int]]`, `[tensor]`.

    A dim that is itself a bracketed list is a ListExpr. The elaborator tells lists from shapes.
    """

    dtype: Ident | None
    dims: tuple[Expr | AnyDims, ...]
    span: Span


Type = NamedType | ShapeType


# -- statements
# ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Constraint:
    """One condition of a `where`, with the author's message."""

    condition: Expr
    message: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Input:
    """`input image: f32[N, 3, H, W] where …`."""

    name: Ident
    type: Type
    where: tuple[Constraint, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Output:
    """`output mask: […] = expr`, `output mask`, and the same behind `train`."""

    name: Ident
    type: Type | None
    value: Expr | None
    train: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Post:
    """`post keep = nms(…)`."""

    names: tuple[Ident, ...]
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class WeightStmt:
    """`weight gamma: [C] = constant(1e-5)`."""

    name: Ident
    type: Type
    value: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Layer:
    """`layer tower = conv(256, 3) @tower`."""

    name: Ident
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Var:
    """`var x = …`."""

    name: Ident
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Bind:
    """`a, b: type = expr`."""

    names: tuple[Ident, ...]
    type: Type | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Append:
    """`xs += [y]`."""

    name: Ident
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    """`if c { … } else { … }`; `else if` is an If alone in `otherwise`."""

    condition: Expr
    then: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] | None
    span: Span


@dataclass(frozen=True, slots=True)
class For:
    """`for i, n in xs { … }`."""

    names: tuple[Ident, ...]
    iterable: Expr
    body: tuple[Stmt, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Check:
    """`check condition within 2% else "message"`; `within` is the fraction 0.02."""

    condition: Expr
    within: float | None
    message: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Init:
    """`init "upscore*.weight" = bilinear`."""

    glob: PlainValue
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Run:
    """An expression as a statement, for its taps."""

    value: Expr
    span: Span


Stmt = (
    Input | Output | Post | WeightStmt | Layer | Var | Bind | Append | If | For | Check | Init | Run
)


# -- items
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a block or net: `out: int = 64`, or a port: `deep: [N, C, h, w]`."""

    name: Ident
    type: Type
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Port:
    """An output port: `y: [N, out, h, w]`, or without a type."""

    name: Ident
    type: Type | None
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    """`block Name(params) -> (outputs) where … { body }`.

    `doc` are the lines of its `##` comment.
    """

    name: Ident
    params: tuple[Param, ...]
    outputs: tuple[Port, ...]
    where: tuple[Constraint, ...]
    body: tuple[Stmt, ...]
    doc: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Net:
    """`net Name(params) where … { body }`."""

    name: Ident
    params: tuple[Param, ...]
    where: tuple[Constraint, ...]
    body: tuple[Stmt, ...]
    doc: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Const:
    """`const ITERATIONS: int = 10`."""

    name: Ident
    type: Type | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class ImportNames:
    """`from std.resnet import ResNet as R`; a name without `as` has itself as alias."""

    module: tuple[Ident, ...]
    names: tuple[tuple[Ident, Ident], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ImportFile:
    """`import "deeplabv3.seg" as dl`."""

    file: PlainValue
    alias: Ident
    span: Span


Item = ImportNames | ImportFile | Const | Block | Net


@dataclass(frozen=True, slots=True)
class Module:
    """One file. `edition` is None where the line is missing (an error was reported)."""

    source: Source
    edition: int | None
    items: tuple[Item, ...]
    tokens: int = 0  # how many were read; a program has a limit
