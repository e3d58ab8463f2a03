"""The statements of a random program as they are written: names, types, what the rules accept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from segdsl.infer import infer, requirements
from segdsl.ops.base import Op, RuleError
from segdsl.ops.norm import GroupNorm
from segdsl.ops.pool import MaxPool
from segdsl.ops.window import out_size
from segdsl.symbolic import symbols
from segdsl.types import HEIGHT, WIDTH, Axis, Feature
from tests.support.written_calls import Draw, expression
from tests.support.written_pool import Live, NoOperandError, Offer, values

MOST_VALUES = 12_000
"""Values that a map may hold: small ones try as much and cost less."""

AXES: tuple[Axis, Axis] = (HEIGHT, WIDTH)


def accepted_types(op: Op, inputs: Sequence[Live]) -> list[tuple[Feature, Feature]]:
    """The results' types at the known size and at any size.

    Raises:
        RuleError: the operator refuses one of them, or the result is too large to try, or the
            condition on sizes would couple two of them.
    """
    known, free = tuple(x.known for x in inputs), tuple(x.free for x in inputs)
    requirements(op, known)
    for need in requirements(op, free):
        if symbols(need.left) | symbols(need.right) not in ({"H"}, {"W"}):
            raise NoOperandError
    results = infer(op, known)
    if any(values(result) > MOST_VALUES for result in results):
        raise NoOperandError
    if isinstance(op, GroupNorm) and values(known[0]) == op.groups * known[0].shape[0]:
        raise NoOperandError  # torch refuses a group of one value: see test_disagreements.py
    if isinstance(op, MaxPool) and not sees_pixels(op, known[0]):
        raise NoOperandError  # -inf in torch, the lowest f32 in ONNX Runtime: see test_traps.py
    return list(zip(results, infer(op, free), strict=True))


def sees_pixels(op: MaxPool, x: Feature) -> bool:
    """Whether every window lies on some pixel; dilated ones can lie on padding alone."""
    for axis in AXES:
        window, size = op.window(axis), int(str(x.spatial(axis)))
        for i in range(int(str(out_size(size, window, op.ceil)))):
            start = i * window.stride - window.before
            if not any(0 <= start + k * window.dilation < size for k in range(window.kernel)):
                return False
    return True


@dataclass
class Writer:
    """Writes the statements of one body; a `Pool` for the entries of the operators."""

    draw: Draw
    live: list[Live]
    first: str = "x"
    lines: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    items: list[str] = field(default_factory=list)
    count: int = 0

    def name(self, prefix: str = "") -> str:
        """A new name."""
        self.count += 1
        return f"{prefix or self.first}{self.count}"

    def bind(self, op: Op, reads: Sequence[Live]) -> tuple[Live, ...]:
        """The results of an operator under new names; nothing is written."""
        types = accepted_types(op, reads)
        made = tuple(Live(self.name(), known, free) for known, free in types)
        self.read |= {x.name for x in reads}
        self.live += made
        return made

    def put(self, offer: Offer) -> tuple[Live, ...]:
        made = self.bind(offer.op, offer.reads)
        reads, names = [x.name for x in offer.reads], ", ".join(x.name for x in made)
        path = self.path(offer) if self.draw(st.booleans()) else ""
        self.lines.append(f"{names} = {expression(self.draw, offer.op, reads, path, offer.other)}")
        return made

    def path(self, offer: Offer, index: str = "") -> str:
        """A path for an operator that has arrays."""
        owns = offer.op.params(*(x.known for x in offer.reads))
        return f" @{self.name('w')}{index}" if owns else ""

    def weight(self, *sizes: int) -> Live:
        name, feature = self.name("gamma"), Feature(sizes)
        start = self.draw(st.sampled_from(["ones", "constant(0.5)", "normal(1.0)"]))
        self.lines.append(f"weight {name}: {list(sizes)} = {start}")
        return Live(name, feature, feature)

    def attempt(self, statement: Callable[[Writer], object], times: int = 6) -> bool:
        """Write a statement, drawn again while the operators refuse it."""
        for _ in range(times):
            before = len(self.lines), len(self.live), set(self.read)
            try:
                statement(self)
            except RuleError:
                lines, live, self.read = before
                del self.lines[lines:], self.live[live:]
            else:
                return True
        return False
