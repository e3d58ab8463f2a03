"""The kernels of mean fields on a CUDA GPU, compiled: every configuration against float64.

Run with `SEGDSL_GPU=1 pytest -m gpu`: without the variable kernels are interpreted.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.peers import need

need("triton")
need("torch")

import torch  # noqa: E402

from benchmarks.kernels import check, suites  # noqa: E402
from compiler.crf import bilateral, gaussian  # noqa: E402
from compiler.crf.features import features  # noqa: E402
from compiler.crf.field import mean_field, unary_scores  # noqa: E402
from compiler.crf.lattice import lattice_of  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.dense_field import dense_field  # noqa: E402
from compiler.to_triton.kernels.lattice_field import lattice_field  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.to_triton.kernels.window_field import window_field  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(INTERPRETED, reason="kernels are interpreted: set SEGDSL_GPU=1"),
]

FIELDS = ("window_filter", "lattice", "dense_crf")


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("suite", FIELDS)
def test_an_iteration(suite: str, small: bool) -> None:
    """Every configuration, twice, equal bit by bit."""
    for case in [suites.SUITES[suite].small()] if small else suites.chosen([suite])[:2]:
        found = check.checked(case, "cuda")
        assert {name: run["reason"] for name, run in found.items()} == dict.fromkeys(found, "")


@pytest.mark.parametrize("method", ["window", "lattice", "exact"])
def test_a_field(method: str) -> None:
    """Ten iterations on a picture, in batches, beside the library on the same GPU."""
    torch.manual_seed(0)
    logits = torch.randn(2, 21, 65, 47, device="cuda") * 2
    guide = torch.rand(2, 3, 65, 47, device="cuda") * 255
    terms = [gaussian(3.0), bilateral(guide, 30.0, 60.0, compat=2.0)]
    plain = mean_field, unary_scores, features
    with policy("all"), recorded() as routes:
        if method == "window":
            found = window_field(plain, logits, terms)
        elif method == "lattice":
            found = lattice_field((*plain, lattice_of), logits, terms)
        else:
            found = dense_field(plain, logits, terms, tail=0.0)
    assert list(routes.values()) != ["library"]
    assert len(routes) == 1
    more: Any = {"tail": 0.0} if method == "exact" else {}
    wanted = mean_field(logits, terms, method=method, **more)
    assert (found - wanted).abs().max() <= 1e-3
    assert (found.argmax(1) == wanted.argmax(1)).double().mean() >= 0.999
