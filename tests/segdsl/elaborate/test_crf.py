"""`mean_field` in programs: lists of terms, operands from fields, units, printing, remarks."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

import segdsl
from segdsl.diagnostics import SegError
from segdsl.ir import Graph, Value
from segdsl.ops.crf import MeanField
from segdsl.ops.terms import Bilateral, Gaussian, Pairwise
from segdsl.printer import print_graph
from segdsl.program import examine_source
from segdsl.source import Source
from segdsl.types import Slot
from tests.support.crf_cases import Case, cases

HEAD = """seg 1
net T(n: int = 2) {
  input s: f32[N, 4, H, W]
  input rgb: u8[N, 3, H, W]
"""


def graph(body: str) -> Graph:
    return segdsl.parse(f"{HEAD}  {body}\n}}\n")


def field_of(made: Graph) -> tuple[MeanField, tuple[Value, ...]]:
    (name,) = (node.name for node in made.nodes() if isinstance(node.op, MeanField))
    op = made[name].op
    assert isinstance(op, MeanField)
    return op, made.operands(name)


def codes(body: str) -> list[str]:
    source = Source("net.seg", f"{HEAD}  {body}\n}}\n")
    return [d.code for d in examine_source(source, None).diagnostics]


def test_terms_repeat_and_take_if_and_for() -> None:
    op, operands = field_of(
        graph("""output y = s -> mean_field([
    gaussian(),
    if n > 1: bilateral(rgb, 60px, 5),
    if n > 2: bilateral(rgb, 1, 1),
    for i in range(n): pairwise(rgb, sigma=i + 1),
    *[gaussian(sxy=[4px, 2])],
  ])""")
    )
    assert op.terms == (
        Gaussian(),
        Bilateral(Slot(1), 60.0, 5.0),
        Pairwise(Slot(2), 1.0),
        Pairwise(Slot(3), 2.0),
        Gaussian((4.0, 2.0)),
    )
    assert [value.node for value in operands] == ["s", "rgb", "rgb", "rgb"]


def test_a_term_is_a_value() -> None:
    op, _ = field_of(
        graph("""var terms = [gaussian(3)]
  terms += [rgb -> bilateral(sxy=9px)]
  near = gaussian(sxy=1px)
  output y = mean_field(s, [*terms, near], iterations=n)""")
    )
    assert op.terms == (Gaussian(3.0), Bilateral(Slot(1), 9.0), Gaussian(1.0))
    assert op.iterations == 2


def test_maps_in_fields_are_operands_in_field_order() -> None:
    made = graph("""weight a: [4, 4] = eye(3.0)
  weight b: [4] = ones
  weight c: [1] = constant(5.0)
  weight d: [4, 4] = eye(1.0)
  output y = s -> mean_field([gaussian(energy=a, sxy=c), bilateral(rgb, srgb=c, compat=b)],
    unary_weight=b, mix=d, method=window)""")
    op, operands = field_of(made)
    assert [value.node for value in operands] == ["s", "c", "a", "rgb", "c", "b", "d", "b"]
    assert [op.operand_name(i) for i in range(8)] == [
        "x", "terms.0.sxy", "terms.0.energy", "terms.1.guide", "terms.1.srgb", "terms.1.compat",
        "mix", "unary_weight",
    ]  # fmt: skip
    made.verify()


def test_none_is_a_norm_and_choices_are_bare_words() -> None:
    op, _ = field_of(
        graph("output y = s -> mean_field([gaussian(norm=none)], method=exact, returns=logits)")
    )
    assert (op.terms[0].norm, op.method, op.returns) == (None, "exact", "logits")


def test_a_matrix_is_a_list_of_rows() -> None:
    rows = "[[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]"
    op, _ = field_of(graph(f"output y = s -> mean_field([gaussian(energy={rows})])"))
    assert op.terms[0].energy == tuple(tuple(float(i != j) for j in range(4)) for i in range(4))


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("mean_field(3)", "E2003"),
        ("mean_field(gaussian(3))", "E2003"),
        ("mean_field([gaussian(sxy=3x)])", "E2013"),
        ("mean_field([gaussian(sxy=3px, srgb=1)])", "E2001"),
        ("mean_field([pairwise(rgb)])", "E2004"),
        ("mean_field([bilateral(sxy=3)])", "E2004"),
        ("mean_field([bilateral(3)])", "E2003"),
        ("mean_field([bilateral(rgb, norm=row)])", "E2007"),
        ("mean_field([gaussian(sxy=3px) @a])", "E2017"),
        ("mean_field([gaussian(sxy=s.height)])", "E2010"),
        ("mean_field([guassian(sxy=3)])", "E1001"),
        ("mean_field([gaussian(compat=s)])", "E3016"),
        ("mean_field([gaussian(3)], method=grid)", "E2007"),
        ("mean_field([gaussian(3)], 7)", "E2002"),
    ],
)
def test_refusals(call: str, code: str) -> None:
    assert codes(f"output y = s -> {call}") == [code]


def test_a_misspelt_term_is_guessed() -> None:
    with pytest.raises(SegError) as caught:
        graph("output y = s -> mean_field([bilatral(rgb)])")
    assert "did you mean `bilateral`?" in caught.value.diagnostics[0].helps[0].text


def test_a_block_may_be_called_as_a_term() -> None:
    text = """seg 1
block pairwise(x: [N, C, h, w]) -> (y: [N, C, h, w]) { y = x -> relu }
net T() {
  input s: f32[N, 4, H, W]
  output y = s -> pairwise
}
"""
    assert [node.op.name for node in segdsl.parse(text).nodes()] == ["input", "relu", "output"]


def test_a_branch_that_is_not_taken_is_checked_too() -> None:
    body = "output y = s -> mean_field([gaussian(), if n > 5: gaussian(sx=3)])"
    assert codes(body) == ["E2001"]


# -- remarks


@pytest.mark.parametrize(
    ("guide", "options", "found"),
    [
        ("image", "", ["W7020"]),
        ("image, srgb=1.9", "", []),
        ("image, srgb=[13, 0.1, 13]", "", []),
        ("image * 255.0", "", []),
        ("rgb", "", []),
        ("image", "method=window, window=3", ["W7020"]),
        ("image -> conv(3, 1) @c", "", ["W7022"]),
        ("image -> conv(3, 1) @c", "method=window", []),
        ("image -> conv(3, 1, train=false) @c", "", []),
    ],
)
def test_what_is_said_about_guides(guide: str, options: str, found: list[str]) -> None:
    text = f"""input image: f32[N, 3, H, W]
  output y = s -> mean_field([bilateral({guide}), pairwise(rgb, sigma=20)], {options})"""
    assert codes(text) == found


def test_no_terms_is_remarked_and_silenced() -> None:
    assert codes("output y = s -> mean_field([])") == ["W7021"]
    assert codes("output y = s -> mean_field([])  # allow(W7021): as it is") == []


# -- printing


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_printed_programs_parse_to_the_same_graph(case: Case) -> None:
    made = segdsl.parse(case.text)
    made.verify()
    assert segdsl.parse(print_graph(made)) == made
