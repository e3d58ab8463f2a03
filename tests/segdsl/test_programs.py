"""Properties of whole programs, on programs that nobody wrote."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from segdsl.acceptance import prove
from segdsl.analysis.shapes import shapes
from segdsl.analysis.sizes import sizes
from segdsl.infer import infer, requirements
from segdsl.ir import Graph, Value
from segdsl.ops.base import RuleError
from segdsl.ops.elementwise import Add, Maximum, Mul
from segdsl.printer import print_graph
from segdsl.symbolic import evaluate
from segdsl.types import Feature
from tests.support.grown import Grown, examine_text, programs


def runs_at(graph: Graph, height: int, width: int) -> bool:
    """Whether every operator accepts these known sizes: the rules alone, without any symbolic step.

    Known sizes broadcast from 1; a size that only happens to be 1 must not.
    """
    table: dict[Value, Feature] = {}
    formulas = shapes(graph)
    for node in graph.nodes():
        inputs = tuple(table[v] for v in graph.operands(node.name))
        if not inputs:
            inputs_at = {"N": 2, "H": height, "W": width}
            (feature,) = infer(node.op, ())
            results: tuple[Feature, ...] = (
                Feature(tuple(evaluate(s, inputs_at) for s in feature.shape), feature.dtype),
            )
        else:
            try:
                results = infer(node.op, inputs)
                requirements(node.op, inputs)
            except RuleError:
                return False
            if isinstance(node.op, Add | Mul | Maximum) and by_chance(
                inputs, tuple(formulas[v] for v in graph.operands(node.name))
            ):
                return False
        table.update({Value(node.name, port): f for port, f in enumerate(results)})
    return True


def by_chance(known: tuple[Feature, ...], formulas: tuple[Feature, ...]) -> bool:
    """Whether one size is 1, the other is not, and the formula of the first is not 1."""
    sizes_of = [
        list(zip(k.shape, f.shape, strict=True)) for k, f in zip(known, formulas, strict=True)
    ]
    if len(sizes_of) < 2:
        return False
    return any(
        (a == 1 and fa != 1 and b != 1) or (b == 1 and fb != 1 and a != 1)
        for (a, fa), (b, fb) in zip(*sizes_of, strict=True)
    )


@settings(max_examples=120)
@given(programs())
def test_printed_programs_parse_back(grown: Grown) -> None:
    graph = grown.program.graph
    assert graph is not None
    again = examine_text(print_graph(graph)).graph
    assert again == graph


@settings(max_examples=60)
@given(programs())
def test_accepted_sizes_are_those_at_which_every_rule_holds(grown: Grown) -> None:
    graph, accepted = grown.program.graph, grown.program.accepted
    assert graph is not None
    good = {name: known.minimum for name, known in accepted.items()}
    for n in range(1, 70):
        assert (n in accepted["H"]) == runs_at(graph, n, good["W"] or 1)
        assert (n in accepted["W"]) == runs_at(graph, good["H"] or 1, n)


@settings(max_examples=60)
@given(programs())
def test_symbolic_shapes_evaluate_to_known_ones(grown: Grown) -> None:
    graph, accepted = grown.program.graph, grown.program.accepted
    assert graph is not None
    symbolic = shapes(graph)
    for start in (1, 33):
        at = {name: known.at_least(start) or 1 for name, known in accepted.items()}
        known = shapes(graph, at)
        for value, feature in symbolic.items():
            assert tuple(evaluate(s, at) for s in feature.shape) == known[value].shape


@settings(max_examples=40)
@given(programs())
def test_a_graph_alone_accepts_what_its_program_accepts(grown: Grown) -> None:
    graph = grown.program.graph
    assert graph is not None
    alone = sizes(graph)
    assert {k: str(v) for k, v in alone.items()} == {
        k: str(v) for k, v in grown.program.accepted.items()
    }


def test_prove_is_part_of_the_public_steps() -> None:
    program = examine_text("seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n  output y = x\n}\n")
    assert program.diagnostics == ()
    assert callable(prove)
    assert [str(program.accepted[s]) for s in "HW"] == ["H >= 1", "W >= 1"]


@pytest.mark.parametrize("n", [1, 2, 7])
def test_an_empty_repeat_passes_the_map_through(n: int) -> None:
    text = (
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n"
        f"  output y = x -> repeat {n} as k {{ conv(1, 3, pad=1) @c{{k}} }}"
        " -> repeat 0 { relu }\n}\n"
    )
    graph = examine_text(text).graph
    assert graph is not None
    assert len(graph) == n + 2
