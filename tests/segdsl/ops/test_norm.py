"""What normalisations refuse, and how their arrays start."""

from __future__ import annotations

import pytest

from segdsl.ops.norm import BatchNorm, GroupNorm, LayerNorm, Lrn
from segdsl.symbolic import symbol
from segdsl.types import ONES, ZEROS, Initialiser
from tests.support.refusals import MAP, VECTOR, WHOLE, feature, refused_arguments, refused_operands

INFINITE = float("inf")


@pytest.mark.parametrize("eps", [-1e-5, INFINITE, float("nan")])
def test_eps(eps: float) -> None:
    assert refused_arguments("bn", eps=eps) == "E2005"
    assert refused_arguments("layer_norm", eps=eps) == "E2005"
    assert refused_arguments("group_norm", 1, eps=eps) == "E2005"


def test_bn() -> None:
    assert refused_arguments("bn", momentum=1.5) == "E2005"
    assert refused_arguments("bn", frozen=True, affine=False) == "E2017"
    assert refused_arguments("bn", frozen=True, momentum=0.01) == "E2017"
    assert refused_operands(BatchNorm(), VECTOR) == "E3016"
    assert refused_operands(BatchNorm(), WHOLE) == "E3017"


def test_how_the_arrays_of_bn_start() -> None:
    arrays = BatchNorm(init=ZEROS, bias_init=Initialiser("constant", 0.1), train=False).params(MAP)
    assert [p.init for p in arrays.values()] == [
        ZEROS, Initialiser("constant", 0.1), ZEROS, ONES, ZEROS,
    ]  # fmt: skip
    assert [p.learned for p in arrays.values()] == [True, True, False, False, False]
    assert not arrays["weight"].trained
    assert arrays["num_batches_tracked"].shape == ()
    assert [p.learned for p in BatchNorm(frozen=True).params(MAP).values()] == [False] * 4


def test_layer_norm_takes_any_rank_with_known_channels() -> None:
    assert LayerNorm().infer(VECTOR) == VECTOR
    assert refused_operands(LayerNorm(), feature(3)) == "E3016"
    assert refused_operands(LayerNorm(), feature(1, 2 * symbol("H"))) == "E2010"


def test_group_norm() -> None:
    assert refused_arguments("group_norm", 0) == "E2005"
    assert refused_operands(GroupNorm(3), MAP) == "E3001"
    assert refused_operands(GroupNorm(2), VECTOR) == "E3016"


def test_lrn() -> None:
    assert refused_arguments("lrn", 0) == "E2005"
    for field in ("alpha", "beta", "k"):
        assert refused_arguments("lrn", 5, **{field: INFINITE}) == "E2005"
    assert refused_operands(Lrn(5), VECTOR) == "E3016"
