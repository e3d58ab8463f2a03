"""The kernel of the pyramid's branches in the interpreter, against float64; its table of work."""

from __future__ import annotations

from itertools import product

import pytest

pytest.importorskip("triton")
pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from compiler.to_triton.kernels import aspp, conv
from compiler.to_triton.kernels.common import INTERPRETED
from compiler.to_triton.kernels.router import policy, recorded

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

GATES = {torch.float32: 1e-6, torch.float16: 4e-4}
"""Largest |error| / |reference|, as norms: a correct kernel rounds once."""

TILE = aspp.AsppConfig(64, 32, 16, 4, 2)


def cl(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def operands(
    n: int, c: int, h: int, w: int, k: int, rates: list[int], dtype: torch.dtype = torch.float32
) -> tuple[Tensor, list[Tensor], Tensor]:
    torch.manual_seed(n * h + w)
    sizes = [1 if rate == 0 else 3 for rate in rates]
    weights = [torch.randn(k, c, s, s, dtype=dtype) / (c * s * s) ** 0.5 for s in sizes]
    return cl(torch.randn(n, c, h, w, dtype=dtype)), weights, torch.randn(len(rates) * k)


def distance(y: Tensor, reference: Tensor) -> float:
    return float((y.double() - reference).norm() / reference.norm())


def wide(weights: list[Tensor]) -> list[Tensor]:
    return [weight.double() for weight in weights]


@pytest.mark.parametrize(
    ("rates", "size", "n"),
    [
        ([4, 8, 12], (13, 17), 1),
        ([0, 6, 12], (13, 10), 2),
        ([0, 6, 12, 18], (19, 21), 1),
        ([6, 12, 18], (7, 1), 2),  # every rate at or beyond the map, or beyond its half
        ([4, 5], (5, 8), 2),  # a rate of just the size, and of just its half
    ],
)
@pytest.mark.parametrize("dtype", GATES, ids=str)
def test_ragged_maps(rates: list[int], size: tuple[int, int], n: int, dtype: torch.dtype) -> None:
    x, weights, bias = operands(n, 32, *size, 40, rates, dtype)
    reference = aspp.reference(x.double(), wide(weights), bias, rates, "relu", 0.0)
    out = cl(torch.full(reference.shape, torch.nan, dtype=dtype))
    y = aspp.launch(x, aspp.pack(weights), bias, rates, "relu", 0.0, config=TILE, out=out)
    assert y is out
    assert distance(y, reference) <= GATES[dtype]


def test_slices_of_wider_maps() -> None:
    """An input and an output that are channels of larger maps: the neighbours stay untouched."""
    _, weights, bias = operands(1, 16, 6, 5, 8, [0, 2])
    source = cl(torch.randn(1, 48, 6, 5))
    x = source[:, 16:32]
    target = cl(torch.full((1, 32, 6, 5), 7.0))
    aspp.launch(
        x, aspp.pack(weights), bias, [0, 2], "none", 0.0, config=TILE, out=target[:, 8:24]
    )  # fmt: skip
    reference = aspp.reference(x.double(), wide(weights), bias, [0, 2], "none", 0.0)
    assert distance(target[:, 8:24], reference) <= GATES[torch.float32]
    assert (target[:, :8] == 7).all()
    assert (target[:, 24:] == 7).all()


@given(st.integers(1, 40), st.integers(0, 45))
def test_bands_hold_just_the_valid_taps(size: int, rate: int) -> None:
    taps: list[list[int]] = []
    for band in aspp.bands(size, rate):
        assert band.start == len(taps)
        assert band.size > 0
        taps += [list(range(band.low, band.low + band.taps))] * band.size
    if rate == 0:
        assert taps == [[1]] * size
    else:
        wanted = [[t for t in range(3) if 0 <= y + (t - 1) * rate < size] for y in range(size)]
        assert taps == wanted


@settings(max_examples=40)
@given(
    st.integers(1, 3),
    st.integers(1, 20),
    st.integers(1, 20),
    st.lists(st.integers(0, 22), min_size=1, max_size=4),
    st.sampled_from([16, 64, 128]),
)
def test_every_pixel_of_every_branch_once(
    n: int, h: int, w: int, rates: list[int], bm: int
) -> None:
    seen = []
    table = aspp.work_table(n, h, w, tuple(rates), bm)
    for y0, x0, height, width, start, total, *_, branch, _, _, _, _ in table:
        assert total == n * height * width
        for place in range(start, min(start + bm, total)):
            image, inside = divmod(place, height * width)
            seen.append((branch, image, y0 + inside // width, x0 + inside % width))
    assert sorted(seen) == list(product(range(len(rates)), range(n), range(h), range(w)))
    work = [row[7] * row[9] for row in table]
    assert work == sorted(work, reverse=True)
    assert {len(row) for row in table} == {aspp.COLUMNS}


@pytest.mark.parametrize(
    ("size", "n", "rates", "tiles", "fractions"),
    [
        ((65, 65), 1, (12, 24, 36), [38, 39, 37], (0.6575, 0.6155)),
        ((65, 65), 8, (12, 24, 36), [266, 267, 268], (0.5847, 0.5817)),
        ((33, 33), 8, (6, 12, 18), [72, 70, 73], (0.6111, 0.5999)),
        ((64, 64), 8, (12, 24, 36), [256, 256, 256], (0.5729, 0.5729)),
        ((128, 256), 1, (12, 24, 36), [261, 258, 261], (0.8299, 0.8251)),
    ],
)
def test_counts_of_known_maps(
    size: tuple[int, int],
    n: int,
    rates: tuple[int, ...],
    tiles: list[int],
    fractions: tuple[float, float],
) -> None:
    """Counted by another program, when the kernel was designed."""
    table = aspp.work_table(n, *size, rates, 128)
    assert [sum(row[11] == branch for row in table) for branch in range(3)] == tiles
    for bm, wanted in zip((128, 64), fractions, strict=True):
        work = sum(row[7] * row[9] * bm for row in aspp.work_table(n, *size, rates, bm))
        assert work / (n * size[0] * size[1] * 27) == pytest.approx(wanted, abs=5e-5)


def test_the_op_is_one_of_torch() -> None:
    x, weights, bias = operands(2, 16, 5, 4, 8, [0, 2, 6])
    call = (x, weights, aspp.pack(weights), bias, [0, 2, 6], "relu", 0.0)
    for name in ("measured", "all"):
        with policy(name), recorded() as routes:
            torch.library.opcheck(aspp.aspp_branches._opoverload, call)
        assert set(routes.values()) == {"library" if name == "measured" else "m64n64w4"}


@pytest.mark.parametrize(
    ("x", "k", "reason"),
    [
        (torch.randn(1, 3, 4, 4), 8, "3 input channels"),
        (torch.randn(1, 16, 4, 4), 21, "21 output channels"),
        (torch.randn(1, 16, 4, 4).to(torch.bfloat16), 8, "bfloat16"),
        (torch.randn(1, 16, 4, 5).contiguous(), 8, "channels last"),
    ],
    ids=["channels", "out", "dtype", "layout"],
)
def test_what_the_kernel_does_not_take(x: Tensor, k: int, reason: str) -> None:
    """It goes to the library, and the reason can be read."""
    weights = [torch.randn(k, x.shape[1], 3, 3, dtype=x.dtype)]
    packed, bias = aspp.pack(weights), torch.zeros(k)
    assert reason in aspp.fallback_reason(x, packed, 1)
    with pytest.raises((ValueError, TypeError), match=reason):
        aspp.launch(x, packed, bias, [2], "none", 0.0, config=TILE)
    with policy("all"):
        y = aspp.aspp_branches(x, weights, packed, bias, [2], "none", 0.0)
    assert torch.equal(y, aspp.reference(x, weights, bias, [2], "none", 0.0))


@pytest.mark.parametrize("wrong", ["weight", "bias", "out", "rate"])
def test_operands_that_do_not_go_together(wrong: str) -> None:
    x, weights, bias = operands(1, 16, 4, 4, 8, [0, 2])
    packed = aspp.pack(weights)[: -16 if wrong == "weight" else None]
    rates = [0, -2] if wrong == "rate" else [0, 2]
    out = cl(torch.randn(1, 8, 4, 4)) if wrong == "out" else None
    with pytest.raises(ValueError, match=r"is not|the bias is|the output is"):
        aspp.launch(
            x, packed, bias[:8] if wrong == "bias" else bias, rates, "none", 0.0,
            config=TILE, out=out,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", GATES, ids=str)
def test_a_bias_for_every_image(dtype: torch.dtype) -> None:
    """The pooled branch, worked into the projection."""
    torch.manual_seed(0)
    x, weight = cl(torch.randn(3, 32, 5, 7, dtype=dtype)), torch.randn(24, 32, 1, 1, dtype=dtype)
    own, bias = torch.randn(3, 24), torch.randn(24)
    geometry = ([1, 1], [0, 0], [1, 1], "relu", "none", 0.0)
    tile = conv.ConvConfig(64, 16, 16, 4, 2)
    y = conv.launch(
        x, conv.pack(weight), bias, None, [1, 1], *geometry, config=tile, image_bias=own
    )  # fmt: skip
    reference = conv.reference(
        x.double(), weight.double(), bias.double(), None, *geometry, own.double()
    )  # fmt: skip
    assert distance(y, reference) <= GATES[dtype]
    with pytest.raises(ValueError, match="bias of images"):
        conv.launch(
            x, conv.pack(weight), bias, None, [1, 1], *geometry, config=tile, image_bias=own[:2]
        )  # fmt: skip
