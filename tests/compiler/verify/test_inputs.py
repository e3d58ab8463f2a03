"""Which sizes, batches and pictures a verification runs on."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.verify.inputs import Bounds, accepted_sizes, arrays, cases
from segdsl.analysis.sizes import SizeSet
from segdsl.diagnostics import SegError
from segdsl.ir import Graph
from segdsl.limits import Limits
from segdsl.program import load
from tests.support.programs import graph, net


def made(given: str, body: str = "output y = image -> relu") -> Graph:
    return graph(net(body, given=given))


def symbols(of: Graph, **options: object) -> list[tuple[int, ...]]:
    found = cases(of, images=("noise",), **options)  # type: ignore[arg-type]
    return [tuple(case.symbols.values()) for case in found]


def multiples(of: int) -> SizeSet:
    return accepted_sizes(made(f"input image: f32[N, 3, H, W] where H % {of} == 0"))["H"]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("", [(65, 97), (64, 96)]),
        ("where H % 32 == 0, W % 32 == 0", [(96, 128), (64, 96)]),
        ("where H % 32 == 1, W % 32 == 1", [(65, 97), (97, 129)]),
        ("where H >= 200, W >= 100", [(201, 101), (200, 100)]),
        ("where H <= 20, W == 40", [(19, 40), (20, 40)]),
        ("where H % 64 == 0, W % 3 == 0", [(128, 99), (64, 96)]),
    ],
)
def test_sizes_are_accepted_and_one_is_odd(where: str, wanted: list[tuple[int, int]]) -> None:
    of = made(f"input image: f32[N, 3, H, W] {where}")
    assert symbols(of, batches=[1]) == [(1, *size) for size in wanted]


def test_batches_are_one_and_two() -> None:
    of = made("input image: f32[N, 3, 8, 8]")
    assert symbols(of) == [(1,), (2,)]
    assert symbols(of, batches=[5]) == [(5,)]


def test_what_is_stated_stays() -> None:
    of = made("input image: f32[2, 3, 8, W]")
    assert [case.shape for case in cases(of, images=("noise",))] == [(2, 3, 8, 97), (2, 3, 8, 96)]


def test_sizes_that_are_asked_for() -> None:
    of = made("input image: f32[N, 3, H, W] where H >= 9")
    assert symbols(of, at=[(9, 8), (31, 7)], batches=[3]) == [(3, 9, 8), (3, 31, 7)]
    for wrong in [(8, 8)], [(Limits().image_side + 1, 8)]:
        with pytest.raises(SegError):
            symbols(of, at=wrong)


def test_vectors_have_no_size() -> None:
    of = made("input v: f32[N, 12]", "output y = v -> relu")
    assert symbols(of) == [(1,), (2,)]
    with pytest.raises(SegError, match="E3014"):
        symbols(of, at=[(8, 8)])


def test_bounds_of_others() -> None:
    of = made("input image: f32[N, 3, H, W]")
    assert symbols(of, bounds=Bounds(fixed={"H": 40, "W": 50, "N": 4})) == [(4, 40, 50)]
    found = symbols(of, bounds=Bounds(sets={"H": multiples(48)}), batches=[1])
    assert [row[1] % 48 for row in found] == [0] * len(found)
    for fixed in {"H": 41}, {"N": 3}:
        with pytest.raises(SegError, match="E3014"):
            symbols(of, at=[(40, 50)], batches=[4], bounds=Bounds(fixed=fixed))


def test_a_fixed_size_that_the_network_refuses() -> None:
    of = made("input image: f32[N, 3, H, W] where H % 32 == 0")
    with pytest.raises(SegError, match="E3014"):
        cases(of, bounds=Bounds(fixed={"H": 33}))


def test_nothing_that_both_accept() -> None:
    of = made("input image: f32[N, 3, H, W] where H % 2 == 1")
    with pytest.raises(SegError, match="E3014"):
        cases(of, bounds=Bounds(sets={"H": multiples(2)}))


def test_no_constant_image_where_places_are_passed_on() -> None:
    body = "y, i = image -> max_pool(2, indices=true)\noutput z = max_unpool(y, i, like=image)"
    of = made("input image: f32[N, 3, H, W] where H % 2 == 0, W % 2 == 0", body)
    assert {case.image for case in cases(of)} == {"noise"}
    assert {case.image for case in cases(made("input image: f32[N, 3, H, W]"))} == {
        "noise",
        "constant",
    }


def test_arrays_are_seeded_and_have_the_stated_type() -> None:
    of = graph(
        net(
            "output y = image -> relu\noutput z = other * 1.0",
            given="input image: f32[N, 3, H, W]\ninput other: u8[N, 1, H, W]",
        )
    )
    noise, flat = cases(of, at=[(5, 6)], batches=[2])
    first, again, other = (arrays(of, noise, seed) for seed in (0, 0, 1))
    assert {n: (a.shape, a.dtype.name) for n, a in first.items()} == {
        "image": ((2, 3, 5, 6), "float32"),
        "other": ((2, 1, 5, 6), "uint8"),
    }
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not any(np.array_equal(first[name], other[name]) for name in first)
    assert np.abs(first["image"]).max() <= 1
    assert first["image"].min() < -0.5
    constant = arrays(of, flat, 0)
    assert np.unique(constant["image"]).tolist() == [0.5]
    assert np.unique(constant["other"]).tolist() == [128]


def test_stock_networks_have_sizes() -> None:
    for name in ("unet", "deeplabv3", "tiramisu"):
        of = load(name)
        known = accepted_sizes(of)
        for case in cases(of):
            assert all(n in known[symbol] for symbol, n in case.symbols.items())
