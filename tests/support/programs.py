"""Short programs for tests: a net around a few statements, and what becomes of it."""

from __future__ import annotations

from segdsl.analysis.params import params
from segdsl.analysis.shapes import shapes
from segdsl.elaborate.net import Setting
from segdsl.ir import Graph
from segdsl.limits import Limits
from segdsl.program import Program, examine_source
from segdsl.source import Source

INPUT = "input image: f32[N, 3, H, W]"


def net(
    body: str, items: str = "", *, params: str = "", where: str = "", given: str = INPUT
) -> str:
    """A file with one net `T` around `body`; `items` stand before it."""
    head = f"net T({params})" + (f" where {where}" if where else "")
    return f"seg 1\n{items}\n{head} {{\n{given}\n{body}\n}}\n"


def examined(text: str, limits: Limits | None = None, **settings: Setting) -> Program:
    """What segdsl makes of a text that imports from `std` only; all of its nets are looked at."""
    return examine_source(Source("t.seg", text), None, settings=settings, limits=limits, every=True)


def graph(text: str, limits: Limits | None = None, **settings: Setting) -> Graph:
    """The graph of a program that must be right."""
    program = examined(text, limits, **settings)
    assert [f"{d.code}: {d.message}" for d in program.diagnostics] == []
    assert program.graph is not None
    return program.graph


def codes(text: str, limits: Limits | None = None, **settings: Setting) -> list[str]:
    """The codes of everything that is said about a program, in source order."""
    return [d.code for d in examined(text, limits, **settings).diagnostics]


def places(text: str) -> list[tuple[str, str]]:
    """Every code with the text that it marks."""
    found = examined(text).diagnostics
    return [(d.code, d.span.text if d.span else "") for d in found]


def weights(text: str, **settings: Setting) -> list[str]:
    """The full names of the arrays of a right program, in order."""
    return list(params(graph(text, None, **settings)))


def shape(text: str, **settings: Setting) -> str:
    """The printed type of the first output of a right program."""
    made = graph(text, None, **settings)
    (value,) = made.operands(made.outputs[0])
    return str(shapes(made)[value])
