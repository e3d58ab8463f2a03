"""What convolutions and linear layers refuse."""

from __future__ import annotations

from typing import Any

import pytest

from segdsl.ops.conv import Conv, ConvTranspose, Linear
from segdsl.symbolic import symbol
from segdsl.types import Initialiser, Pair, Sides
from tests.support.refusals import (
    MAP,
    P2,
    P3,
    VECTOR,
    WHOLE,
    feature,
    refused,
    refused_arguments,
    refused_operands,
)

H = symbol("H")


@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("E2005", {"out": 0}),
        ("E2009", {"out": 2**20 + 1}),
        ("E2005", {"kernel": Pair(0, 3)}),
        ("E2009", {"kernel": Pair(3, 1026)}),
        ("E2005", {"stride": Pair(1, 0)}),
        ("E2009", {"stride": Pair(65537, 1)}),
        ("E2005", {"dilation": Pair(0, 1)}),
        ("E2009", {"dilation": Pair(65537, 1)}),
        ("E2009", {"kernel": Pair(1025, 3), "dilation": Pair(1024, 1)}),
        ("E2005", {"pad": Sides(0, -1, 0, 0)}),
        ("E2009", {"pad": Sides(0, 0, 65537, 0)}),
        ("E2005", {"groups": 0}),
        ("E3001", {"groups": 3}),
        ("E3009", {"kernel": P2, "pad": "same"}),
    ],
)
def test_arguments(name: str, code: str, fields: dict[str, Any]) -> None:
    assert refused_arguments(name, **({"out": 4, "kernel": P3} | fields)) == code


def test_the_limits_themselves_are_accepted() -> None:
    Conv(2**20, Pair(1025, 1025), stride=Pair(65536, 65536), pad=Sides(*[65536] * 4))
    Conv(1, Pair(1024, 1), dilation=Pair(1024, 65536))


@pytest.mark.parametrize("pad", [Pair(1, 0), Pair(0, 1), Pair(-1, 0)])
def test_output_pad_is_below_stride_and_dilation(pad: Pair) -> None:
    assert refused_arguments("conv_transpose", 4, P3, output_pad=pad) == "E2005"
    assert ConvTranspose(4, P3, stride=P2, output_pad=Pair(1, 1)).infer(MAP).height == 18
    assert ConvTranspose(4, P3, dilation=P2, output_pad=Pair(1, 1)).infer(MAP).height == 13


def test_groups_name_the_divisors() -> None:
    refusal = refused(lambda: Conv(4, P3, groups=4).infer(feature(1, 6, 8, 8)))
    assert refusal.code == "E3001"
    assert refusal.help == "the divisors are 1, 2, 3, 6"


@pytest.mark.parametrize("op", [Conv(4, P3), ConvTranspose(4, P3)])
def test_operands(op: Conv | ConvTranspose) -> None:
    assert refused_operands(op, VECTOR) == "E3016"
    assert refused_operands(op, WHOLE) == "E3017"
    assert refused_operands(op, feature(1, H, 8, 8)) == "E3016"


def test_windows_that_do_not_fit() -> None:
    assert refused_operands(Conv(4, Pair(9, 1)), MAP) == "E3006"
    assert refused_operands(Conv(4, Pair(1, 3), dilation=Pair(1, 5)), MAP) == "E3006"
    cut = ConvTranspose(4, P3, pad=Sides(5, 0, 5, 0))
    assert refused_operands(cut, MAP) == "E3006"


def test_linear() -> None:
    assert refused_arguments("linear", 0) == "E2005"
    assert refused_operands(Linear(3), feature(2, 3, 4, 5, 6)) == "E3016"
    assert refused_operands(Linear(3), feature(2)) == "E3016"
    assert refused_operands(Linear(3), WHOLE) == "E3017"
    assert refused_operands(Linear(3), feature(1, 4 * H)) == "E2010"


def test_frozen_arrays_stay_parameters() -> None:
    init = Initialiser("bilinear")
    arrays = Conv(4, P3, train=False, init=init).params(MAP)
    assert [(p.trained, p.learned) for p in arrays.values()] == [(False, True)] * 2
    assert arrays["weight"].init == init


def test_macs_need_known_sizes() -> None:
    with pytest.raises(TypeError, match="known sizes"):
        Conv(4, P3).macs(feature(1, 4, H, 8))
