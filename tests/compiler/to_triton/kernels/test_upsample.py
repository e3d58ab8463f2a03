"""Enlarging and choosing the best class in one kernel, against torch in float64."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor  # noqa: E402

from compiler.to_triton.kernels import upsample  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

GATES = {torch.float32: 1e-5, torch.float16: 1e-5}
"""Scores are enlarged in float32 whatever the dtype: labels may differ within this margin."""


def cl(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@settings(max_examples=40)
@given(
    st.tuples(*[st.integers(1, 9)] * 2),
    st.tuples(*[st.integers(1, 21)] * 2),
    st.sampled_from([1, 2, 19, 33]),
    st.integers(1, 2),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float16]),
    st.sampled_from(sorted(upsample.CONFIGS)),
)
def test_labels_are_those_of_the_full_scores(
    small: tuple[int, int],
    large: tuple[int, int],
    classes: int,
    batch: int,
    align: bool,
    dtype: Any,
    config: str,
) -> None:
    torch.manual_seed(classes)
    x = cl(torch.randn(batch, classes, *small).to(dtype))
    best, share = (torch.full((batch, *large), torch.nan) for _ in range(2))
    block = upsample.CONFIGS[config]
    found = upsample.launch(
        x, list(large), align, torch.int64, config=block, best=best, confidence=share
    )
    full = F.interpolate(x.double(), large, mode="bilinear", align_corners=align)
    high = full.max(1).values
    assert (best - high).abs().max() <= GATES[dtype]
    assert (share - full.softmax(1).max(1).values).abs().max() <= GATES[dtype]
    chosen = full.gather(1, found.unsqueeze(1)).squeeze(1)
    assert (high - chosen).max() <= GATES[dtype]


def test_ties_go_to_the_lowest_class() -> None:
    x = cl(torch.zeros(1, 40, 3, 3))
    for name, config in upsample.CONFIGS.items():
        labels = upsample.launch(x, [5, 4], False, torch.uint8, config=config)
        assert labels.dtype == torch.uint8
        assert not labels.any(), name


@pytest.mark.parametrize(
    ("x", "dtype", "error", "text"),
    [
        (torch.zeros(1, 300, 2, 2), torch.uint8, ValueError, "300 classes"),
        (torch.zeros(1, 600, 2, 2), torch.int64, ValueError, "600 classes"),
        (torch.zeros(1, 3, 2, 2), torch.int32, TypeError, "int32"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.float64), torch.int64, TypeError, "float64"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16), torch.int64, TypeError, "bfloat16"),
    ],
)
def test_what_is_refused(x: Tensor, dtype: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        upsample.launch(cl(x), [4, 4], False, dtype, config=upsample.CONFIGS["p32c32w4"])


@pytest.mark.parametrize("name", ["all", "none"])
def test_the_op_is_one_of_torch(name: str) -> None:
    x = cl(torch.randn(2, 5, 3, 4))
    with policy(name):
        torch.library.opcheck(upsample.upsample_argmax._opoverload, (x, [7, 6], False, True))
        torch.library.opcheck(upsample.upsample_confidence._opoverload, (x, [7, 6], False, True))


@pytest.mark.parametrize("name", ["all", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_labels_with_their_confidence(name: str, dtype: Any) -> None:
    x = cl(torch.randn(2, 21, 5, 4).to(dtype) * 40)
    with policy(name), recorded() as routes:
        labels, share = upsample.upsample_confidence(x, [17, 9], True, True)
    assert set(routes.values()) == {"p64c16w4" if name == "all" else "library"}
    wanted, exact = upsample.reference_confidence(x.double(), [17, 9], True, torch.uint8)
    assert (labels.dtype, share.dtype) == (torch.uint8, torch.float32)
    assert (share - exact).abs().max() <= 2e-5  # scores of 100 have float32 steps of 8e-6
    full = F.interpolate(x.double(), (17, 9), mode="bilinear", align_corners=True)
    margin = full.max(1).values - full.gather(1, labels.long().unsqueeze(1)).squeeze(1)
    assert margin.max() <= 2e-5
    assert ((labels == wanted) | (margin > 0)).all()
