"""The operator `mean_field`: types, refusals, slots, taps, multiply-accumulates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from segdsl.infer import requirements
from segdsl.ops.base import OPS, RuleError
from segdsl.ops.crf import MeanField
from segdsl.ops.terms import TERMS, Bilateral, Gaussian, Pairwise, Term, term_fields
from segdsl.symbolic import symbol
from segdsl.taps import Blurred, Nothing, Sliding, Whole
from segdsl.types import POINTWISE, Feature, Slot, Window

N, H, W = symbol("N"), symbol("H"), symbol("W")
SCORES = Feature((N, 5, H, W))
RGB = Feature((N, 3, H, W), "u8")
BOTH = (Gaussian(), Bilateral(Slot(1)))


def refusal(op: MeanField, *inputs: Feature) -> RuleError:
    try:
        op.infer(*inputs)
        requirements(op, inputs)
    except RuleError as error:
        return error
    raise AssertionError("nothing was refused")


def test_it_keeps_the_type_of_the_scores() -> None:
    assert MeanField(BOTH).infer(SCORES, RGB) == SCORES
    assert requirements(MeanField(BOTH), (SCORES, RGB)) == ()


def test_defaults_are_those_of_the_field() -> None:
    op = MeanField(BOTH)
    assert (op.method, op.iterations, op.size, op.coarseness, op.cutoff) == (
        "lattice", 10, 7, 1, 6e-6,
    )  # fmt: skip
    assert [term.weight for term in (*BOTH, Pairwise(Slot(1), 1.0))] == [3.0, 10.0, 1.0]
    assert Gaussian(energy=2.0).weight == 2.0
    assert (Gaussian().weighted_by, Gaussian(energy=2.0).weighted_by) == ("compat", "energy")
    assert (Gaussian().sxy, Bilateral(Slot(1)).sxy, Bilateral(Slot(1)).srgb) == (3.0, 80.0, 13.0)


def test_terms_state_their_fields_in_order() -> None:
    assert list(TERMS) == ["gaussian", "bilateral", "pairwise"]
    assert list(term_fields(Bilateral)) == ["guide", "sxy", "srgb", "compat", "energy", "norm"]
    assert not TERMS.keys() & OPS.keys()


def test_slots_name_the_fields_they_serve() -> None:
    terms = (Gaussian(compat=Slot(1)), Bilateral(Slot(2), srgb=Slot(3)))
    op = MeanField(terms, method="window", mix=Slot(4), unary_weight=Slot(5))
    names = ["x", "terms.0.compat", "terms.1.guide", "terms.1.srgb", "mix", "unary_weight"]
    assert [op.operand_name(i) for i in range(6)] == names
    weights = [Feature((5, 5)), RGB, Feature((3,)), Feature((5, 5)), Feature((5,))]
    assert op.infer(SCORES, *weights) == SCORES
    assert op.guides == (2,)


@pytest.mark.parametrize(
    ("fields", "code", "blame"),
    [
        ({"iterations": -1}, "E2005", ("iterations",)),
        ({"iterations": 1001}, "E2009", ("iterations",)),
        ({"window": 7}, "E2017", ("window", "method")),
        ({"blur": 1}, "E2017", ("blur", "method")),
        ({"method": "exact", "window": 7}, "E2017", ("window", "method")),
        ({"method": "window", "window": 4}, "E2005", ("window",)),
        ({"method": "window", "window": 0}, "E2005", ("window",)),
        ({"method": "window", "window": 103}, "E2009", ("window",)),
        ({"method": "window", "blur": 3}, "E2005", ("blur",)),
        ({"method": "window", "blur": 0}, "E2005", ("blur",)),
        ({"method": "window", "blur": 66}, "E2009", ("blur",)),
        ({"include_self": False}, "E2017", ("include_self", "method")),
        ({"tail": 0.0}, "E2017", ("tail", "method")),
        ({"method": "exact", "tail": 1.0}, "E2005", ("tail",)),
        ({"unary_weight": float("nan")}, "E2005", ("unary_weight",)),
    ],
)
def test_arguments_that_are_wrong_alone(
    fields: dict[str, Any], code: str, blame: tuple[str, ...]
) -> None:
    with pytest.raises(RuleError) as caught:
        MeanField(BOTH, **fields)
    assert (caught.value.code, caught.value.blame) == (code, blame)


@pytest.mark.parametrize(
    ("fields", "code", "blame"),
    [
        ({"sxy": 0.0}, "E2005", ("sxy",)),
        ({"sxy": -1.0}, "E2005", ("sxy",)),
        ({"sxy": float("nan")}, "E2005", ("sxy",)),
        ({"sxy": 1e-9}, "E2009", ("sxy",)),
        ({"sxy": 1e9}, "E2009", ("sxy",)),
        ({"sxy": (3.0, 0.0)}, "E2005", ("sxy",)),
        ({"sxy": (1.0, 2.0, 3.0)}, "E2005", ("sxy",)),
        ({"srgb": (1.0, 0.0, 1.0)}, "E2005", ("srgb",)),
        ({"compat": 1.0, "energy": 1.0}, "E2017", ("energy", "compat")),
        ({"compat": (1.0, float("inf"))}, "E2005", ("compat",)),
    ],
)
def test_terms_that_are_wrong_alone(
    fields: dict[str, Any], code: str, blame: tuple[str, ...]
) -> None:
    with pytest.raises(RuleError) as caught:
        Bilateral(Slot(1), **fields)
    assert (caught.value.code, caught.value.blame) == (code, blame)


@pytest.mark.parametrize(
    ("term", "code", "blame"),
    [
        (Gaussian(compat=(1.0, 2.0)), "E3002", ("terms.0.compat",)),
        (Gaussian(compat=()), "E3002", ("terms.0.compat",)),
        (Gaussian(energy=((1.0,) * 5,) * 4), "E3002", ("terms.0.energy",)),
        (Gaussian(energy=((1.0, 2.0), (1.0,))), "E3002", ("terms.0.energy",)),
        (Bilateral(Slot(1), srgb=(1.0, 2.0)), "E3002", ("terms.0.srgb",)),
        (Pairwise(Slot(1), (1.0,) * 4), "E3002", ("terms.0.sigma",)),
    ],
)
def test_numbers_that_do_not_fit_the_maps(term: Term, code: str, blame: tuple[str, ...]) -> None:
    inputs = (SCORES,) if term.guide is None else (SCORES, RGB)
    found = refusal(MeanField((term,)), *inputs)
    assert (found.code, found.blame) == (code, blame)


@pytest.mark.parametrize(
    ("op", "weight", "code"),
    [
        (MeanField((Gaussian(compat=Slot(1)),)), Feature((4,)), "E3002"),
        (MeanField((Gaussian(compat=Slot(1)),)), Feature((5, 4)), "E3002"),
        (MeanField((Gaussian(compat=Slot(1)),)), Feature((5, 5, 1)), "E3016"),
        (MeanField((Gaussian(compat=Slot(1)),)), Feature((H,)), "E2010"),
        (MeanField((Gaussian(compat=Slot(1)),)), Feature((5,), "i64"), "E3017"),
        (MeanField((Gaussian(sxy=Slot(1)),), method="window"), Feature((3,)), "E3002"),
        (MeanField((Gaussian(sxy=Slot(1)),)), Feature((2,)), "E2017"),
        (MeanField((Gaussian(),), mix=Slot(1)), Feature((5,)), "E3016"),
        (MeanField((Gaussian(),), unary_weight=Slot(1)), Feature((5, 5)), "E3016"),
    ],
)
def test_weights_that_do_not_fit(op: MeanField, weight: Feature, code: str) -> None:
    found = refusal(op, SCORES, weight)
    assert found.code == code
    assert found.blame[0] == 1


@pytest.mark.parametrize(
    ("guide", "code"),
    [
        (Feature((N, 3, H, H), "u8"), None),
        (Feature((1, 3, 8, 9), "u8"), "E3004"),
        (Feature((1, 3, 7, 8), "u8"), "E3004"),
        (Feature((2, 3, 8, 8), "u8"), "E3004"),
        (Feature((1, 3, 8), "u8"), "E3016"),
        (Feature((1, 3, 8, 8), "i64"), "E3017"),
    ],
)
def test_a_guide_has_the_pixels_of_the_scores(guide: Feature, code: str | None) -> None:
    op = MeanField((Bilateral(Slot(1)),))
    if code is None:
        (need,) = requirements(op, (SCORES, guide))
        assert (need.kind, need.left, need.right, need.blame) == ("equal", W, H, (0, 1))
        return
    found = refusal(op, Feature((1, 5, 8, 8)), guide)
    assert found.code == code
    assert 1 in found.blame


# -- reach


def taps(op: MeanField, slot: int, inputs: tuple[Feature, ...] = (SCORES, RGB)) -> object:
    assert op.taps(slot, 0, *inputs) == op.taps(slot, 1, *inputs)
    return op.taps(slot, 0, *inputs)


@pytest.mark.parametrize("method", ["lattice", "exact"])
def test_dense_methods_reach_everywhere(method: Any) -> None:
    op = MeanField(BOTH, method=method)
    assert taps(op, 0) == Sliding(window=POINTWISE, also="crf")
    assert taps(op, 1) == Whole(tag="crf")


@pytest.mark.parametrize(
    ("norm", "further"), [("symmetric", 1), ("before", 1), ("after", 0), (None, 0)]
)
def test_a_window_grows_by_its_radius_in_each_iteration(norm: Any, further: int) -> None:
    op = MeanField((Gaussian(), Bilateral(Slot(1), norm=norm)), method="window", window=5)
    reach = 10 * 2
    messages = Sliding(tag="crf", window=Window(2 * reach + 1, 1, reach, reach))
    assert taps(op, 0) == Sliding(window=POINTWISE, also="crf", beyond=messages)
    reach += further * 2
    assert taps(op, 1) == Sliding(tag="crf", window=Window(2 * reach + 1, 1, reach, reach))


def test_the_mean_norm_sees_the_whole_guide() -> None:
    op = MeanField((Bilateral(Slot(1), norm="mean"),), method="window")
    assert taps(op, 1) == Whole(tag="crf")


def test_without_messages_a_pixel_is_alone() -> None:
    for op in (MeanField(BOTH, iterations=0), MeanField((Gaussian(),), iterations=0)):
        assert taps(op, 0) == Sliding(window=POINTWISE)
    assert taps(MeanField(()), 0) == Sliding(window=POINTWISE)
    assert taps(MeanField(BOTH, iterations=0), 1) == Nothing()
    assert taps(MeanField(BOTH, method="window", window=1), 1) == Nothing()


def test_weights_are_no_pixels() -> None:
    op = MeanField((Gaussian(compat=Slot(1)),), method="window")
    assert taps(op, 1, (SCORES, Feature((5,)))) == Whole(tag="crf")


def test_blur_makes_the_taps_depend_on_the_size() -> None:
    op = MeanField(BOTH, method="window", window=3, blur=4, iterations=2)
    messages = Blurred(tag="crf", radius=1, rounds=2, blur=4)
    assert taps(op, 0) == Sliding(window=POINTWISE, also="crf", beyond=messages)
    assert taps(op, 1) == Blurred(tag="crf", radius=1, rounds=3, blur=4)


# -- cost


def test_multiply_accumulates() -> None:
    x, rgb = Feature((2, 5, 8, 9)), Feature((2, 3, 8, 9), "u8")
    pixels, classes = 2 * 8 * 9, 5
    window = MeanField((Bilateral(Slot(1)),), method="window", window=3, iterations=4)
    build, message, update = pixels * 9 * 5, pixels * 9 * classes, pixels * classes
    assert window.macs(x, rgb) == build + pixels * 9 + 4 * (message + update)
    exact = MeanField((Bilateral(Slot(1), norm=None),), method="exact", iterations=1)
    assert exact.macs(x, rgb) == 2 * 72**2 * (5 + 5) + update
    lattice = MeanField((Bilateral(Slot(1), norm=None),), iterations=1)
    assert lattice.macs(x, rgb) == 2 * 2 * 6 * 5 * (72 + 6 * 72) + update
    matrix = MeanField((Gaussian(norm=None),), method="exact", iterations=1, mix=((1.0,) * 5,) * 5)
    assert matrix.macs(x) == 2 * 72**2 * (2 + 5) + update + 5 * update
    assert MeanField(BOTH, iterations=0).macs(x, rgb) == MeanField(()).macs(x) == 0


def test_the_cost_of_a_lattice_is_a_bound() -> None:
    assert MeanField(BOTH).macs_at_most
    assert not MeanField(BOTH, method="exact").macs_at_most
    assert not MeanField(()).macs_at_most
    assert not replace(MeanField(BOTH), iterations=0).macs_at_most


def test_a_blurred_window_costs_as_many_pixels_as_its_grid_has() -> None:
    x = Feature((1, 5, 9, 8))
    op = MeanField((Gaussian(norm=None),), method="window", window=3, blur=4, iterations=1)
    assert op.macs(x) == 3 * 2 * 9 * (2 + 5) + 72 * 5
