"""Degenerate inputs, wrong inputs, precision, memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from compiler.crf import MeanField, bilateral, gaussian, mean_field, pairwise
from compiler.crf.keys import found as looked_up
from compiler.crf.keys import numbered
from compiler.crf.lattice import lattice_of

METHODS = ("lattice", "window", "exact")
NORMS = ("symmetric", "before", "after", "mean", "none")


def noise(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def picture(h: int, w: int, n: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 3, h, w), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("method", METHODS)
class TestDegenerate:
    def test_one_class_is_certain(self, method: str) -> None:
        terms = [gaussian(), bilateral(picture(5, 6), 3, 20, energy=2.0, norm="before")]
        assert torch.equal(
            mean_field(noise(2, 1, 5, 6), terms[:1], method=method), torch.ones(2, 1, 5, 6)
        )
        out = mean_field(noise(1, 1, 5, 6), terms, method=method)
        assert torch.equal(out, torch.ones(1, 1, 5, 6))

    def test_nothing_to_do_is_the_softmax(self, method: str) -> None:
        scores = noise(2, 3, 4, 5)
        wanted = torch.softmax(scores, 1)
        torch.testing.assert_close(mean_field(scores, [], method=method), wanted)
        torch.testing.assert_close(
            mean_field(scores, [gaussian()], method=method, iterations=0), wanted
        )
        kept = mean_field(scores, [gaussian()], method=method, iterations=0, returns="logits")
        assert torch.equal(kept, scores)
        assert kept.data_ptr() != scores.data_ptr()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
    def test_narrow_images(self, method: str, shape: tuple[int, int]) -> None:
        """Both orientations agree; a single pixel follows the formula."""
        guide, scores = picture(*shape), noise(1, 3, *shape)
        terms = [gaussian(2.0), bilateral(guide, 8, 20)]
        turned = [gaussian(2.0), bilateral(guide.mT, 8, 20)]
        out = mean_field(scores, terms, method=method, iterations=3)
        torch.testing.assert_close(out.sum(1), torch.ones(1, *shape))
        if method != "lattice":  # which is not symmetric in its axes
            mirrored = mean_field(scores.mT.contiguous(), turned, method=method, iterations=3)
            torch.testing.assert_close(mirrored.mT, out)
        if shape == (1, 1):
            q = torch.softmax(scores, 1)
            for _ in range(3):
                q = torch.softmax(scores + 13 * q, 1)
            torch.testing.assert_close(out, q)

    @pytest.mark.parametrize("norm", NORMS)
    def test_constant_guide_is_the_place_alone(self, method: str, norm: str) -> None:
        scores, flat = noise(1, 3, 6, 7), torch.full((1, 1, 6, 7), 200.0)
        term = bilateral(flat, 4.0, 10.0, compat=1.0, norm=norm)
        out = mean_field(scores, [term], method=method, iterations=2)
        if method != "lattice":
            alone = mean_field(
                scores, [gaussian(4.0, compat=1.0, norm=norm)], method=method, iterations=2
            )
            torch.testing.assert_close(out, alone, rtol=1e-4, atol=1e-5)
        assert bool(out.isfinite().all())

    @pytest.mark.parametrize("norm", NORMS)
    def test_extreme_energies(self, method: str, norm: str) -> None:
        scores = noise(1, 3, 6, 7, scale=1e4).requires_grad_()
        weight = torch.tensor(3.0, requires_grad=True)
        terms = [gaussian(compat=weight, norm=norm), bilateral(picture(6, 7), 9, 1, norm=norm)]
        out = mean_field(scores, terms, method=method)
        torch.autograd.backward(out.square().sum())
        for found in (out, scores.grad, weight.grad):
            assert found is not None
            assert bool(found.isfinite().all())
        torch.testing.assert_close(out.sum(1), torch.ones(1, 6, 7))

    def test_impossible_classes_stay_so(self, method: str) -> None:
        scores = noise(1, 3, 4, 5)
        scores[:, 1, :, 2:] = -torch.inf
        out = mean_field(scores, [gaussian()], method=method)
        assert float(out[:, 1, :, 2:].max()) == 0
        assert bool(out.isfinite().all())

    def test_images_of_a_batch_do_not_touch(self, method: str) -> None:
        scores, guide = noise(3, 4, 6, 5), picture(6, 5, 3)
        together = mean_field(scores, [gaussian(), bilateral(guide, 9, 30)], method=method)
        for image in range(3):
            own = slice(image, image + 1)
            alone = mean_field(
                scores[own], [gaussian(), bilateral(guide[own], 9, 30)], method=method
            )
            torch.testing.assert_close(together[own], alone, rtol=1e-4, atol=1e-5)

    def test_runs_are_equal_to_the_bit(self, method: str) -> None:
        terms = [gaussian(), bilateral(picture(20, 24), 9, 30)]
        scores = noise(1, 4, 20, 24)
        assert torch.equal(*(mean_field(scores, terms, method=method) for _ in range(2)))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_single(self, method: str, dtype: torch.dtype) -> None:
        scores = noise(1, 3, 8, 9).to(dtype)
        terms = [gaussian(), bilateral(picture(8, 9), 9, 30)]
        wanted = mean_field(scores.float(), terms, method=method)
        out = mean_field(scores, terms, method=method)
        assert out.dtype == dtype
        assert torch.equal(out, wanted.to(dtype))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(mean_field(scores, terms, method=method), wanted)

    def test_memory_of_the_caller_is_left_alone(self, method: str) -> None:
        scores, guide = noise(1, 3, 8, 9), picture(8, 9)
        kept = scores.clone(), guide.clone()
        strided = scores.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        terms = [gaussian(), bilateral(guide, 9, 30)]
        out = mean_field(scores, terms, method=method)
        assert torch.equal(mean_field(strided, terms, method=method), out)
        assert torch.equal(scores, kept[0])
        assert torch.equal(guide, kept[1])


@pytest.mark.parametrize("method", ["window", "exact"])
@pytest.mark.parametrize("norm", NORMS)
def test_pixels_without_neighbours(method: str, norm: str) -> None:
    """n = 0: no message, and no NaN in any gradient."""
    guide = (1e4 * torch.arange(20.0).reshape(1, 1, 4, 5)).requires_grad_()
    scores = noise(1, 3, 4, 5).requires_grad_()
    term = bilateral(guide, 3.0, 1.0, norm=norm)
    out = mean_field(scores, [term], method=method, include_self=False, iterations=2)
    torch.testing.assert_close(out, torch.softmax(scores, 1))
    torch.autograd.backward(out.square().sum())
    assert guide.grad is not None
    assert not guide.grad.any()


def test_many_guide_channels_on_the_lattice() -> None:
    """Keys of 40 dimensions need far more than 64 bits."""
    guide = noise(1, 40, 5, 6, scale=20.0)
    scores = noise(1, 3, 5, 6)
    out = mean_field(scores, [pairwise(guide, 2.0, compat=4.0)], iterations=2)
    alone = torch.softmax(scores, 1)
    for _ in range(2):
        alone = torch.softmax(scores + 4 * alone, 1)
    torch.testing.assert_close(out, alone)  # every pixel stands alone there


class TestKeys:
    @pytest.mark.parametrize("digits", [1, 3, 12])
    def test_numbers_are_those_of_unique_columns(self, digits: int) -> None:
        generator = torch.Generator().manual_seed(digits)
        few = torch.randint(-(2**23), 2**23, (digits, 90), generator=generator, dtype=torch.int32)
        keys = few[:, torch.randint(90, (400,), generator=generator)]
        levels, numbers = numbered(keys, pad=3)
        _, wanted = torch.unique(keys, dim=1, return_inverse=True)
        assert torch.equal(numbers, wanted)
        assert len(levels) == {1: 1, 3: 2, 12: 6}[digits]

    @pytest.mark.parametrize("digits", [2, 12])
    def test_neighbours_are_found_and_strangers_are_not(self, digits: int) -> None:
        generator = torch.Generator().manual_seed(digits)
        keys = torch.randint(-3, 4, (digits, 300), generator=generator, dtype=torch.int32)
        keys[0] *= 1_000_000
        levels, numbers = numbered(keys, pad=2)
        table = {tuple(column): int(n) for column, n in zip(keys.T.tolist(), numbers, strict=True)}
        for step in (-2, -1, 0, 1, 2):
            moved = keys + step
            moved[-1] -= 2 * step
            wanted = [table.get(tuple(column), -1) for column in moved.T.tolist()]
            assert looked_up(moved, levels).tolist() == wanted


GUIDE = picture(4, 5)
SCORES = noise(1, 3, 4, 5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"terms": [bilateral(picture(5, 5))]}, r"guide is \[1, 3, 5, 5\].*\[1, channels, 4, 5\]"),
        ({"terms": [bilateral(GUIDE[0])]}, r"guide is \[3, 4, 5\]"),
        ({"terms": [bilateral(None)]}, "has no guide"),
        ({"terms": [bilateral(GUIDE, 80, 0)]}, "must be positive"),
        ({"terms": [gaussian(-1.0)]}, "sxy must be positive"),
        ({"terms": [gaussian(float("nan"))]}, "sxy must be positive"),
        ({"terms": [bilateral(GUIDE, 80, [1, 2])]}, r"one number or 3, not \[2\]"),
        ({"terms": [gaussian([1, 2, 3])]}, r"one number or 2, not \[3\]"),
        ({"terms": [gaussian(compat=[1.0, 2.0])]}, r"\[3\] or \[3, 3\].*not \[2\]"),
        ({"terms": [gaussian(energy=torch.ones(3, 2))]}, r"energy is.*not \[3, 2\]"),
        ({"terms": [gaussian(norm="sym")]}, "`norm` is one of symmetric"),
        ({"terms": [bilateral(GUIDE, 1e-9, 13)]}, "raise the sigmas"),
        ({"terms": [pairwise(torch.full((1, 1, 4, 5), torch.nan), 1)]}, "NaN or infinite"),
        (
            {"terms": [pairwise(torch.full((1, 1, 4, 5), torch.inf), 1)], "method": "window"},
            "infinite",
        ),
        ({"mix": torch.eye(2)}, r"mix is.*\[2, 2\]"),
        ({"unary_weight": [1.0, 2.0]}, "unary_weight"),
        ({"method": "gauss"}, "`method` is one of lattice, window, exact"),
        ({"method": "window", "window": 4}, "`window` is odd"),
        ({"method": "window", "blur": 3}, "`blur` is 1 or even"),
        ({"window": 5}, "method='window'"),
        ({"tail": 0.0}, "method='exact'"),
        ({"method": "exact", "tail": 1.0}, "`tail` lies in"),
        ({"iterations": -1}, "`iterations` is at least 0"),
        ({"include_self": False}, "always includes"),
        ({"given": "probs"}, "`given` is one of"),
        ({"start": "soft"}, "`start` is one of"),
        ({"returns": "proba2"}, "`returns` is one of"),
        ({"given": "proba"}, r"probabilities lie in \[0, 1\]"),
        ({"logits": torch.full((1, 3, 4, 5), torch.nan)}, r"scores \[1, 3, 4, 5\] hold NaN"),
        ({"logits": torch.full((1, 3, 4, 5), torch.inf)}, "hold an infinity"),
        ({"logits": torch.full((1, 3, 4, 5), -torch.inf)}, "hold an infinity"),
        ({"logits": SCORES[0]}, r"not float32 \[3, 4, 5\]"),
        ({"logits": SCORES.long()}, r"not int64"),
        ({"logits": SCORES[:, :0]}, r"\[1, 0, 4, 5\]"),
    ],
)
def test_refusals_are_in_words(options: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"logits": SCORES, "terms": [gaussian()]} | options
    with pytest.raises(ValueError, match=words):
        mean_field(arguments.pop("logits"), arguments.pop("terms"), **arguments)


def test_more_corners_than_int32_counts_are_refused() -> None:
    features = torch.zeros(1, 5, 1).expand(1, 5, 400_000_000)
    with pytest.raises(ValueError, match="holds 357,913,941 pixels, not 400,000,000"):
        lattice_of(features)


def test_compat_and_energy_exclude_each_other() -> None:
    for make in (gaussian, lambda **k: bilateral(GUIDE, **k), lambda **k: pairwise(GUIDE, 1, **k)):
        with pytest.raises(ValueError, match="not both"):
            make(compat=1.0, energy=1.0)


def test_a_learned_sigma_needs_a_method_with_a_gradient() -> None:
    sigma = torch.tensor(3.0, requires_grad=True)
    with pytest.raises(ValueError, match="no gradient for sigmas"):
        mean_field(SCORES, [gaussian(sigma)])
    with pytest.raises(ValueError, match="no gradient for sigmas"):
        MeanField([gaussian()], learn="sigma")


def test_memory_grows_with_the_pixels_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor of the lattice and the window, by pixels, in two sizes of image."""
    peaks = {}
    for side in (64, 128):
        guide, scores = picture(side, side), noise(1, 4, side, side)
        for method in ("lattice", "window"):
            with torch.profiler.profile(profile_memory=True) as profile:
                mean_field(scores, [gaussian(), bilateral(guide)], method=method, iterations=2)
            peaks[method, side] = peak(profile) / side**2
    for method in ("lattice", "window"):
        assert peaks[method, 128] <= 1.1 * peaks[method, 64]


def peak(profile: Any) -> int:
    """The most bytes that were held at a time."""
    held = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    assert most
    return most


def test_an_exact_gaussian_holds_no_pairs() -> None:
    """Its kernel is a product of one for the rows and one for the columns."""
    side = 96
    with torch.profiler.profile(profile_memory=True) as profile:
        mean_field(noise(1, 2, side, side), [gaussian(3)], method="exact", iterations=2)
    assert peak(profile) < 0.01 * 4 * side**4


def test_exact_holds_a_bounded_number_of_pairs() -> None:
    side = 96
    with torch.profiler.profile(profile_memory=True) as profile:
        term = bilateral(picture(side, side), 80, 13)
        mean_field(noise(1, 2, side, side), [term], method="exact", iterations=1)
    assert peak(profile) < 0.2 * 4 * side**4
