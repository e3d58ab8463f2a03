"""Random programs over all operators: every target against float64 torch, and against each other.

`SEGDSL_TARGET_PROGRAMS` sets how many programs `test_any_program` tries; a recorded campaign sets
it (`python benchmarks/campaign.py targets --count 20000`).
"""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.support.peers import need

torch = need("torch")
need("onnxruntime")

from segdsl.ops.base import OPS, RuleError, signature  # noqa: E402
from segdsl.ops.elementwise import Arithmetic  # noqa: E402
from segdsl.printer import print_graph  # noqa: E402
from segdsl.types import Feature  # noqa: E402
from tests.compiler.to_onnx.agreement import compare  # noqa: E402
from tests.support.grown import examine_text  # noqa: E402
from tests.support.written import Written, written  # noqa: E402
from tests.support.written_operators import ENTRIES  # noqa: E402
from tests.support.written_pool import Live  # noqa: E402
from tests.support.written_writer import Writer  # noqa: E402

PROGRAMS = int(os.environ.get("SEGDSL_TARGET_PROGRAMS", "40"))
EACH = 10
NAMES = sorted(ENTRIES)

quiet = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def hold(program: Written) -> None:
    """The targets agree, and the printed graph is the graph."""
    if compare(program):
        event("a departure that rounding explains")
    again = examine_text(print_graph(program.graph))
    assert again.graph == program.graph


def names_in(program: Written) -> set[str]:
    """The operators of a program."""
    return {node.op.name for node in program.graph.nodes()}


def test_every_operator_is_written() -> None:
    """`input`, `output` and `weight` are in programs by themselves, arithmetic has signs."""
    spoken = {name for name, op in OPS.items() if not op.internal or issubclass(op, Arithmetic)}
    assert set(ENTRIES) == spoken


@pytest.mark.parametrize("name", NAMES)
@settings(quiet, max_examples=EACH)
@given(data=st.data())
def test_programs_with(name: str, data: st.DataObject) -> None:
    program = data.draw(written(must=name))
    assert name in names_in(program) or "-> identity" in program.text  # which makes no node
    hold(program)


@settings(quiet, max_examples=PROGRAMS)
@given(program=st.sampled_from(NAMES).flatmap(lambda name: written(must=name)))
def test_any_program(program: Written) -> None:
    hold(program)


UNWRITTEN: dict[tuple[str, str], str] = {
    ("layer_norm", "axis"): "has one choice",
    ("maximum", "number"): "`max` takes maps",
    ("maximum", "number_first"): "`max` takes maps",
    ("minimum", "number"): "`min` takes maps",
    ("minimum", "number_first"): "`min` takes maps",
}
"""(operator, argument) -> why its values do not vary."""


REFUSED = {"split": {"height", "width"}, "mean_field": {"lattice"}}
"""Choices that are not written; `auto` becomes a number, a lattice is tested by itself."""


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_takes_several_values(name: str) -> None:
    """All choices of an argument, and two values of anything else."""
    seen: dict[str, set[Any]] = defaultdict(set)

    @settings(quiet, max_examples=30, phases=[Phase.generate], database=None)
    @given(data=st.data())
    def look(data: st.DataObject) -> None:
        image = Feature((2, 4, 8, 9))
        writer = Writer(data.draw, [Live("image", image, image)])
        for _ in range(8):
            with suppress(RuleError):
                op = ENTRIES[name](data.draw, writer).op
                for argument in signature(type(op)):
                    seen[argument].add(getattr(op, argument))

    look()
    for argument, (_, kind) in signature(OPS[name]).items():
        if (name, argument) not in UNWRITTEN:
            found = seen[argument]
            assert len(found) >= 2, (argument, found)
            missing = _choices(kind) - REFUSED.get(name, {"auto"}) - found
            assert not missing, (argument, missing)


def _choices(kind: Any) -> set[str]:
    """The words that an argument may be."""
    words = {word for word in get_args(kind) if isinstance(word, str)}
    return words.union(*(_choices(part) for part in get_args(kind) if not isinstance(part, str)))
