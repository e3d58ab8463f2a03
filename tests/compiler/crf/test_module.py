"""`MeanField`: parameters, guides, and that training them mends masks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from compiler.crf import MeanField, bilateral, gaussian, mean_field, pairwise
from tests.support.peers import need
from tests.support.scenes import energies

TERMS = [gaussian(3.0, compat=2.0), bilateral(None, 8.0, 20.0, energy=[-1.0, -2.0, -3.0])]


def batch(n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    guide = torch.randint(0, 256, (n, 3, 6, 7), generator=generator, dtype=torch.uint8)
    return torch.randn(n, 3, 6, 7, generator=generator), guide


ALL = ("compat", "mix", "sigma")


@pytest.mark.parametrize(
    ("method", "learn"),
    [(m, w) for m in ("window", "exact", "lattice") for w in ((), "compat", ALL[:2], ALL)][:-1],
)
def test_it_is_the_function(method: str, learn: Any) -> None:
    scores, guide = batch()
    filled = [TERMS[0], TERMS[1]._replace(guide=guide)]
    module = MeanField(TERMS, method=method, iterations=3, learn=learn, classes=3, unary_weight=0.9)
    wanted = mean_field(scores, filled, method=method, iterations=3, unary_weight=0.9)
    found = module(scores, guide)
    torch.testing.assert_close(found, wanted)
    assert found.requires_grad == bool(learn)
    if learn:
        torch.autograd.backward(found[:, 0].sum())
        assert all(p.grad is not None and p.grad.any() for p in module.parameters())


def test_what_is_learned_has_stable_names() -> None:
    module = MeanField(
        TERMS, method="window", learn=("compat", "mix", "sigma"), classes=3, window=5
    )
    shapes = {name: list(p.shape) for name, p in module.named_parameters()}
    assert shapes == {
        "mix": [3, 3],
        "weights.0": [],
        "weights.1": [3],
        "log_sxy.0": [],
        "log_sxy.1": [],
        "log_sigma.1": [],
    }
    other = MeanField(TERMS, method="window", learn=("compat", "mix", "sigma"), classes=3, window=5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.1)
    other.load_state_dict(module.state_dict())
    assert torch.equal(module(*batch()), other(*batch()))
    assert "2 terms" in repr(module)


def test_guides_go_to_the_terms_in_order() -> None:
    scores, guide = batch()
    second = guide.flip(1).float() / 2
    module = MeanField([gaussian(), bilateral(None, 8, 20), pairwise(None, 9.0)], iterations=2)
    filled = [gaussian(), bilateral(guide, 8, 20), pairwise(second, 9.0)]
    assert torch.equal(module(scores, guide, second), mean_field(scores, filled, iterations=2))
    one = [gaussian(), bilateral(guide, 8, 20), pairwise(guide, 9.0)]
    assert torch.equal(module(scores, guide), mean_field(scores, one, iterations=2))
    for guides in ((), (guide, guide, guide)):
        with pytest.raises(ValueError, match=r"need 2 guides, or one for all, not \d"):
            module(scores, *guides)


def test_refusals() -> None:
    for words, options in {
        "`learn` is one of": {"learn": ["weights"]},
        "give `classes`": {"learn": ["mix"]},
        "`window` is odd": {"method": "window", "window": 4},
        "always includes": {"include_self": False},
    }.items():
        with pytest.raises(ValueError, match=words):
            MeanField(TERMS, **options)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="no setting iteratons"):
        MeanField(TERMS, iteratons=3)


def test_a_guide_of_the_wrong_range_is_warned_of() -> None:
    scores, guide = batch()
    module = MeanField([bilateral(None, 8, 13)], iterations=1)
    with pytest.warns(UserWarning, match=r"is it meant for \[0, 255\]"):
        module(scores, guide / 255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module(scores, guide)
        MeanField([bilateral(None, 8, 0.1)], iterations=1)(scores, guide / 255)


def coins(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A real picture, its mask and noisy scores for the mask."""
    picture = need("skimage.data").coins()[20:84, 20:116]
    labels = (picture > 110).astype(np.int64)
    rng = np.random.default_rng(seed)
    scores = -energies(labels, 2, rng) * 0.7
    guide = torch.tensor(np.stack([picture] * 3))[None]
    return torch.tensor(scores)[None], guide, torch.tensor(labels)[None]


@pytest.mark.parametrize(
    ("method", "learn"),
    [("lattice", ("compat", "mix")), ("window", ("compat", "mix", "sigma"))],
)
def test_training_improves_agreement(method: str, learn: tuple[str, ...]) -> None:
    """From weak kernels, on one draw of noise; measured on another draw."""
    terms = [gaussian(1.0, compat=0.1), bilateral(None, 4.0, 60.0, compat=0.1)]
    module = MeanField(
        terms, method=method, iterations=4, learn=learn, classes=2, returns="log_proba"
    )

    def agreement() -> float:
        scores, guide, labels = coins(seed=1)
        with torch.no_grad():
            return float((module(scores, guide).argmax(1) == labels).double().mean())

    scores, guide, labels = coins(seed=0)
    before = agreement()
    optimiser = torch.optim.Adam(module.parameters(), 0.1)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = torch.nn.functional.nll_loss(module(scores, guide), labels)
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert agreement() > before + 0.05
    assert agreement() > 0.95
