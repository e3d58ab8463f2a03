"""Random programs over all operators: valid ones, with blocks, loops, layers and several heads.

They are written as text, statement by statement, so that a failure shrinks to a small `.seg` file.
Every statement is asked of the operators' own rules twice, at one size and at any size; the checker
then sees the whole text. Conditions on sizes that come up are written as a `where`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hypothesis import reject
from hypothesis import strategies as st

from segdsl.analysis.sizes import SizeSet
from segdsl.ir import Graph
from segdsl.program import Program
from segdsl.symbolic import Size, symbol
from segdsl.types import Feature
from tests.support.grown import examine_text
from tests.support.written_calls import Draw
from tests.support.written_pool import Live
from tests.support.written_statements import STATEMENTS, operator
from tests.support.written_writer import Writer

SIZE_CODES = {"E3001", "E3004", "E3005", "E3006"}
NUMBERS: tuple[str, ...] = ("N", "H", "W")
SIDES = st.integers(5, 16) | st.integers(1, 16)


@dataclass(frozen=True)
class Written:
    """A valid program, and sizes that it accepts."""

    text: str
    program: Program
    sizes: Mapping[str, int]

    @property
    def graph(self) -> Graph:
        """Its graph."""
        assert self.program.graph is not None
        return self.program.graph


def _inputs(draw: Draw, sizes: Mapping[str, int], *, free: bool) -> list[Live]:
    """An image, and sometimes a second one in bytes."""

    def live(name: str, channels: int, dtype: str) -> Live:
        def shape(batch: Size, height: Size, width: Size) -> Feature:
            return Feature((batch, channels, height, width), dtype)  # type: ignore[arg-type]

        known = shape(*(sizes[n] for n in NUMBERS))
        return Live(name, known, shape(*(symbol(n) for n in NUMBERS)) if free else known)

    image = live("image", draw(st.integers(1, 4)), "f32")
    return (
        [image, live("guide", draw(st.integers(1, 3)), "u8")]
        if draw(st.integers(0, 5)) == 0
        else [image]
    )


def _text(writer: Writer, inputs: Sequence[Live], outputs: Iterable[Live], where: str) -> str:
    given = [f"input {x.name}: {x.known.dtype}{x.free}" for x in inputs]
    given[0] += where
    body = "\n".join(f"  {line}" for line in (*given, *writer.lines))
    heads = "".join(f"  output out{i} = {x.name}\n" for i, x in enumerate(outputs))
    items = "\n".join(writer.items)
    return f"seg 1\n\n{items}\nnet Written(deep: bool = true) {{\n{body}\n{heads}}}\n"


def _where(accepted: Mapping[str, SizeSet], sizes: Mapping[str, int]) -> str:
    """The accepted sizes as conditions; where they are many, the size that is tried alone."""
    return " where " + ", ".join(
        part for name in "HW" for part in _conditions(name, accepted[name], sizes[name])
    )


def _conditions(name: str, known: SizeSet, size: int) -> list[str]:
    stretches = [(r, s) for r, s in enumerate(known.stretches) if s is not None]
    if len(stretches) != 1 or stretches[0][1].last is not None or stretches[0][1].holes:
        return [f"{name} == {size}"]
    ((residue, stretch),) = stretches
    period = [f"{name} % {known.modulus} == {residue}"] if known.modulus > 1 else []
    return [*period, f"{name} >= {stretch.first}"]


@st.composite
def written(draw: st.DrawFn, must: str | None = None, most: int = 7) -> Written:
    """A valid program of a few statements; the operator `must` is among them."""
    sizes = {"N": draw(st.integers(1, 3)), "H": draw(SIDES), "W": draw(SIDES)}
    inputs = _inputs(draw, sizes, free=draw(st.integers(0, 3)) > 0)
    writer = Writer(draw, list(inputs))
    count = draw(st.integers(1, most))
    at = draw(st.integers(0, min(2, count - 1)))
    for number in range(count):
        if number == at and must is not None:
            if not writer.attempt(lambda w: operator(w, must), 30):
                reject()
        else:
            writer.attempt(draw(st.sampled_from(STATEMENTS)))
    return _whole(writer, inputs, sizes)


def _whole(writer: Writer, inputs: Sequence[Live], sizes: Mapping[str, int]) -> Written:
    """The program around the statements, with the conditions that its sizes need."""
    outputs = [x for x in writer.live[len(inputs) :] if x.name not in writer.read]
    outputs = outputs or writer.live[:1]
    text = _text(writer, inputs, outputs, "")
    program = examine_text(text)
    found = {d.code for d in program.diagnostics if not d.code.startswith("W")}
    if found:
        assert found <= SIZE_CODES, (text, [d.message for d in program.diagnostics])
        assert all(sizes[name] in program.accepted[name] for name in "HW"), (text, sizes)
        text = _text(writer, inputs, outputs, _where(program.accepted, sizes))
        program = examine_text(text)
        assert not program.failed, (text, [d.message for d in program.diagnostics])
    return Written(text, program, sizes)
