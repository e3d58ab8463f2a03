"""Proving sizes: what is refused, and what the refusal says."""

from __future__ import annotations

import pytest

from segdsl.analysis.sizes import Condition, solve
from segdsl.claims import first_outside
from segdsl.conflicts import refused_size
from segdsl.diagnostics import Diagnostic
from segdsl.fixes import fix
from segdsl.symbolic import symbol
from tests.support.grown import examine_text

H = symbol("H")


def hourglass(levels: int, where: str = "") -> str:
    down = "".join(
        f" -> max_pool(2) -> conv({8 + i}, 3, pad=1) @d{i} as d{i}" for i in range(levels)
    )
    ups = "\n".join(
        f"  u{i} = concat([{'x' if i == 0 else f'd{i - 1}'}, "
        f"{f'd{i}' if i == levels - 1 else f'u{i + 1}'} -> resize(2x, mode=nearest)])"
        for i in reversed(range(levels))
    )
    return (
        f"seg 1\nnet Hourglass() {{\n  input image: f32[N, 3, H, W]{where}\n"
        f"  image -> conv(8, 3, pad=1) @stem as x{down}\n{ups}\n  output y = u0\n}}\n"
    )


def errors(text: str) -> list[Diagnostic]:
    return list(examine_text(text).diagnostics)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_the_condition_is_that_of_the_whole_net(levels: int) -> None:
    (error,) = errors(hourglass(levels))
    step = 2**levels
    assert error.code == "E3004"
    assert f"accepts H = {step}k, k >= 1" in " ".join(error.notes)
    assert "the same for W" in " ".join(error.notes)
    assert f"where H % {step} == 0, W % {step} == 0" in error.helps[0].text


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_the_advised_condition_mends_the_program(levels: int) -> None:
    (error,) = errors(hourglass(levels))
    advice = error.helps[0].text.split(" where ")[1]
    program = examine_text(hourglass(levels, f" where {advice}"))
    assert program.diagnostics == ()
    assert str(program.accepted["H"]) == f"H = {2**levels}k, k >= 1"


@pytest.mark.parametrize(
    "where", ["", " where H % 4 == 0, W % 8 == 0", " where H >= 100, W >= 8, W % 2 == 0"]
)
def test_a_where_that_is_too_weak_is_mended_by_its_fix(where: str) -> None:
    found = errors(hourglass(3, where))
    assert {error.code for error in found} == {"E3004"}
    mended = fix(found[0].span.source, found)  # type: ignore[union-attr]
    assert len(mended.applied) == len(found)
    assert errors(mended.text) == []
    program = examine_text(mended.text)
    assert program.accepted["H"].modulus == program.accepted["W"].modulus == 8
    assert program.accepted["H"].minimum == (104 if "100" in where else 8)


def test_a_where_that_a_parameter_shapes_is_not_rewritten() -> None:
    where = " where H % k == 0, W % k == 0"
    text = hourglass(2, where).replace("Hourglass()", "Hourglass(k: int = 2)")
    (error,) = errors(text)
    assert error.helps[0].text.startswith("say so at the input")
    assert error.helps[0].edits == ()


def test_a_weaker_where_is_not_enough() -> None:
    (error,) = errors(hourglass(3, " where H % 4 == 0, W % 8 == 0"))
    assert error.code == "E3004"
    assert "for H = 12 the two sides are" in error.notes[0]
    assert "W" not in error.notes[1]
    assert error.helps[0].text.endswith(" where H % 8 == 0, W % 8 == 0")


def test_the_advice_keeps_what_the_author_states() -> None:
    (error,) = errors(hourglass(2, " where H >= 100, W >= 8, W % 4 == 0"))
    advice = error.helps[0].text.split(" where ")[1]
    assert advice == "H % 4 == 0, H >= 100, W % 4 == 0, W >= 8"
    assert examine_text(hourglass(2, f" where {advice}")).diagnostics == ()


def test_a_stronger_where_is_accepted() -> None:
    assert errors(hourglass(2, " where H % 16 == 0, H >= 64, W % 4 == 0")) == []


def test_a_window_that_does_not_fit_names_the_smallest_size() -> None:
    text = (
        "seg 1\nnet A() {\n  input x: f32[N, 3, H, W]\n"
        "  output y = x -> max_pool(2) -> max_pool(2) -> conv(4, 7)\n}\n"
    )
    (error,) = errors(text)
    assert error.code == "E3006"
    assert "where H >= 28, W >= 28" in error.helps[0].text
    assert "for H = 27" in error.notes[0]
    assert error.span is not None
    assert error.span.text == "7"


def test_sizes_that_never_agree_say_so() -> None:
    text = "seg 1\nnet A() {\n  input x: f32[N, 3, H, W]\n  output y = x + (x -> conv(3, 3))\n}\n"
    assert [e.code for e in errors(text)] == ["E3004", "E3006"]
    assert "differ in height: H and H - 2" in errors(text)[0].message


def test_a_where_that_nothing_meets_is_an_error() -> None:
    text = "seg 1\nnet A() {\n  input x: f32[N, 3, H, W] where H >= 5, H < 5\n  output y = x\n}\n"
    assert [e.code for e in errors(text)] == ["E3013"]


def test_the_operator_that_rounded_is_named() -> None:
    (error,) = errors(hourglass(1))
    assert "the floor of 3/2 at `max_pool(2)`, line 4" in error.notes[0]


def test_claims_hold_for_every_accepted_size() -> None:
    head = "seg 1\nnet A() {\n  input x: f32[N, 3, H, W]\n"
    body = "  y: [N, 4, H/2, W/2] = x -> conv(4, 3, stride=2, pad=1)\n  output z = y\n}\n"
    assert errors(head + body) == []
    (error,) = errors(head + body.replace("H/2", "H//2"))
    assert error.code == "E3007"
    assert "for H = 1" in error.notes[0]
    (error,) = errors(head + body.replace("H/2", "H/4"))
    assert error.code == "E3007"


def test_first_outside_is_the_smallest_difference() -> None:
    sixteen = solve("H", [Condition(H % 16, "==", 0)])
    eight = solve("H", [Condition(H % 8, "==", 0)])
    assert first_outside(eight, sixteen) == 8
    assert first_outside(sixteen, eight) is None


def test_a_refused_size_names_its_neighbours_and_the_first_conflict() -> None:
    program = examine_text(hourglass(4, " where H % 16 == 0, W % 16 == 0"))
    assert program.graph is not None
    error = refused_size(program.graph, "H", 500, program.accepted["H"])
    assert error.code == "E3014"
    conflict, accepted = error.notes
    assert "the two sides are 125 and 124: the floor of 125/2 at `max_pool(2)`" in conflict
    assert accepted == "this net accepts H = 16k, k >= 1"
    assert error.helps[0].text == "nearest: 496 or 512 (pad 6+6)"
    assert [(label.span.text, label.text) for label in error.labels] == [
        ("d1", "125 pixels"),
        ("u3 -> resize(2x, mode=nearest)", "124 pixels"),
    ]


def test_a_size_that_only_the_author_refuses() -> None:
    text = (
        "seg 1\nnet A() {\n  input x: f32[N, 3, H, W] where H % 2 == 0\n"
        "  output y = x -> max_pool(2, ceil=true)\n}\n"
    )
    program = examine_text(text)
    assert program.graph is not None
    error = refused_size(program.graph, "H", 33, program.accepted["H"])
    assert error.notes[0] == "only the `where` of the input refuses it"
    assert error.span is not None
    assert error.span.text.startswith("input x")
