"""The body of a region: its attributes and its calls, before classes are shared and written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal as Choice
from typing import Protocol

from compiler.to_torch.expressions import Expression
from compiler.to_torch.lower import REQUIRED, Literal
from segdsl.ir import Value
from segdsl.source import NOWHERE, Span

Kind = Choice["leaf", "class", "sequential", "list", "dict", "module"]


class Callee(Protocol):
    """What is constructed: a class with a name."""

    @property
    def name(self) -> str:
        """The class's name in the emitted file."""


@dataclass(frozen=True)
class Library:
    """A class of torch, or a helper of the file."""

    name: str


@dataclass(eq=False)
class Bound:
    """An argument at its place in a region: a value, and perhaps how it follows from parameters.

    `text` is what is written, once the class is known; None leaves the argument out.
    """

    value: Literal
    name: str = ""
    default: Literal = REQUIRED
    guess: Expression | None = None
    hint: str = ""
    text: str | None = None


@dataclass(eq=False)
class Construction:
    """`callee(args)` in a constructor, `count` times in a row where it is part of a sequence.

    In a series one argument differs from turn to turn: `moving` is its place in `args`, and its
    values are those of `series`, or `first + i * step` for the first `count` of i.
    """

    callee: Callee
    args: list[Bound] = field(default_factory=list[Bound])
    frozen: bool = False
    count: Bound | None = None
    series: Bound | None = None
    first: Bound | None = None
    step: Bound | None = None
    moving: int = -1
    origin: Span = NOWHERE
    """Where it is called: only what stands in one place of the text is merged to a loop."""
    turns: Expression | None = None
    """How the turns of the loop around it were written."""


@dataclass(eq=False)
class Slot:
    """A level of the weight paths inside a region: an attribute, an element or an entry.

    `entries` are the parts of a sequence, fills included; other containers construct their
    children.
    """

    key: str
    parent: Slot | None = None
    children: dict[str, Slot] = field(default_factory=dict[str, "Slot"])
    make: Construction | None = None
    array: bool = False
    kind: Kind = "dict"
    entries: list[Construction | Slot] = field(default_factory=list["Construction | Slot"])
    optional: str = ""

    def child(self, key: str) -> Slot:
        """The slot below, made when first asked for."""
        if key not in self.children:
            self.children[key] = Slot(key, self)
        return self.children[key]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys from the region's root down."""
        found: list[str] = []
        slot: Slot = self
        while slot.parent is not None:
            found.append(slot.key)
            slot = slot.parent
        return tuple(reversed(found))

    def walk(self) -> Iterator[Slot]:
        """This slot and those below, parents first."""
        stack = [self]
        while stack:
            slot = stack.pop()
            yield slot
            stack.extend(reversed(slot.children.values()))


@dataclass(eq=False)
class Step:
    """One call in `forward`. `call` is a template as in `Layer`; `{self}` is `slot`.

    Attributes:
        fill: the same as a module without arrays, for sequences.
        block: whether it calls a class or a container of the file.
        atom: whether it is no call but a name (a bare array), and may be repeated in the text.
        loop: whether it runs over the region itself, a sequence.
        grows: whether it makes a list of maps that every child of `slot` makes longer (DenseNet).
        label: the writer's word for the result, "" if there is none.
        ports: what an inner region calls its results.
        train: whether only training outputs need it.
    """

    call: str
    args: list[Bound]
    reads: list[Value]
    writes: list[Value]
    slot: Slot | None = None
    fill: Construction | None = None
    infix: bool = False
    block: bool = False
    atom: bool = False
    loop: bool = False
    grows: bool = False
    random: bool = False
    label: str = ""
    ports: tuple[str, ...] = ()
    span: Span = NOWHERE
    train: bool = False

    @property
    def single(self) -> bool:
        """Whether it takes one value and gives one."""
        return len(self.reads) == 1 and len(self.writes) == 1

    @property
    def chained(self) -> bool:
        """Whether a module of one map does all of it."""
        whole = self.slot is not None and self.call == "{self}({0})"
        return self.single and not self.atom and (whole or self.fill is not None)


@dataclass(eq=False)
class Body:
    """A region, ready to be compared with others of its block.

    `inputs` and `outputs` carry port names; `channels` are those of the outputs, over the
    region's symbols.
    """

    root: Slot
    steps: list[Step]
    inputs: list[tuple[str, Value]]
    outputs: list[tuple[str, Value]]
    symbols: dict[str, Literal]
    channels: list[Expression | None]
    structural: frozenset[str] = frozenset()
    """Symbols from which no number but a count is computed."""
    train_outputs: frozenset[int] = frozenset()
    """Which outputs exist only in training."""

    def uses(self) -> dict[Value, int]:
        """How often each value is read or returned."""
        count: dict[Value, int] = {}
        for step in self.steps:
            for value in step.reads:
                count[value] = count.get(value, 0) + 1
        for _, value in self.outputs:
            count[value] = count.get(value, 0) + 1
        return count
