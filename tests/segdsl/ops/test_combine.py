"""What concat, split, slice, crop and pad refuse."""

from __future__ import annotations

import pytest

from segdsl.ops.base import OPS
from segdsl.ops.combine import Concat, Crop, Pad, PadToMultiple, Slice, Split
from segdsl.symbolic import symbol
from segdsl.types import Pair, Sides
from tests.support.refusals import (
    MAP,
    P2,
    VECTOR,
    WHOLE,
    feature,
    refused_arguments,
    refused_operands,
)

H = symbol("H")


def test_concat() -> None:
    assert refused_operands(Concat(), MAP, VECTOR) == "E3016"
    assert refused_operands(Concat(), MAP, WHOLE) == "E3017"
    assert refused_operands(Concat(), MAP, feature(1, 4, 8, 8)) == "E3004"
    assert refused_operands(Concat(), MAP, MAP, feature(1, 4, 7, 9)) == "E3004"
    assert refused_operands(Concat(axis="height"), MAP, feature(1, 5, 8, 9)) == "E3002"
    assert refused_operands(Concat(axis="height"), VECTOR, VECTOR) == "E3016"
    assert refused_operands(Concat(axis=2), VECTOR, VECTOR) == "E2005"
    assert Concat().infer(MAP) == MAP
    assert Concat().infer(WHOLE, WHOLE).dtype == "i64"


def test_split_arguments() -> None:
    assert refused_arguments("split", 0) == "E2005"
    assert refused_arguments("split", ()) == "E2005"
    assert refused_arguments("split", (3, 0)) == "E2005"
    assert refused_arguments("split", 65537) == "E2009"


def test_split_operands() -> None:
    assert refused_operands(Split(3), MAP) == "E3001"
    assert refused_operands(Split(8), MAP) == "E3001"
    assert refused_operands(Split((1, 2)), MAP) == "E3001"
    assert refused_operands(Split(2, axis="batch"), feature(3, 4, 8, 9)) == "E3004"
    assert refused_operands(Split(2, axis="height"), MAP) == "E2017"
    assert refused_operands(Split(2, axis=-1), MAP) == "E2017"
    assert refused_operands(Split(2, axis="channels"), VECTOR) == "E3016"
    assert Split((1, 3)).results == ("part0", "part1")
    assert [x.channels for x in Split((1, 3)).infer(MAP)] == [1, 3]


def test_slice() -> None:
    assert refused_arguments("slice", 0, 1, step=0) == "E2005"
    assert refused_arguments("slice", 2**20 + 1, 1) == "E2009"
    assert refused_arguments("slice", 0, -(2**20) - 1) == "E2009"
    for start, stop in [(0, 5), (-5, 2), (2, 2), (3, 1), (4, None), (0, -4)]:
        assert refused_operands(Slice(start, stop), MAP) == "E3006"
    assert refused_operands(Slice(0, 1, axis="height"), VECTOR) == "E3016"
    assert refused_operands(Slice(0, 1, axis=2), VECTOR) == "E2005"
    assert Slice(-2).infer(MAP).channels == 2
    assert Slice(1, -1, axis="height").infer(feature(1, 4, H, 9)).height == H - 2


def test_crop() -> None:
    assert refused_arguments("crop", to=Pair(0, 1), offset="centre") == "E2005"
    assert refused_arguments("crop", to=Pair(1, 65537), offset="centre") == "E2009"
    assert refused_arguments("crop", offset=Pair(-1, 0)) == "E2005"
    assert refused_arguments("crop", offset=Pair(0, 65537)) == "E2009"
    small = feature(1, 2, 6, 6)
    assert refused_operands(Crop(offset="centre"), MAP) == "E2017"
    assert refused_operands(Crop(to=P2, offset="centre"), MAP, small) == "E2017"
    assert refused_operands(Crop(offset=Pair(3, 0)), MAP, small) == "E3006"
    assert refused_operands(Crop(offset="centre"), small, MAP) == "E3006"
    assert refused_operands(Crop(to=Pair(9, 9), offset=Pair(0, 0)), MAP) == "E3006"
    assert refused_operands(Crop(offset="centre"), VECTOR, MAP) == "E3016"
    assert refused_operands(Crop(offset="centre"), MAP, VECTOR) == "E3016"
    assert Crop(offset="centre").infer(WHOLE, small).dtype == "i64"


def test_an_automatic_offset_must_be_derived_first() -> None:
    small = feature(1, 2, 6, 6)
    assert refused_operands(Crop(offset="auto"), MAP, small) == "E2017"
    assert refused_operands(Crop(to=P2, offset="auto"), MAP) == "E2017"


def test_pad() -> None:
    assert refused_arguments("pad", Sides(0, -1, 0, 0)) == "E2005"
    assert refused_arguments("pad", Sides(0, 0, 0, 65537)) == "E2009"
    assert refused_arguments("pad", Sides(0, 0, 0, 1), value=1.0) == "E2017"
    nowhere = float("inf")
    assert refused_arguments("pad", Sides(1, 1, 1, 1), mode="constant", value=nowhere) == "E2005"
    one = Sides(1, 1, 1, 1)
    assert refused_operands(Pad(), MAP) == "E2017"
    assert refused_operands(Pad(one), MAP, MAP) == "E2017"
    assert refused_operands(Pad(one), VECTOR) == "E3016"
    assert refused_operands(Pad(one), WHOLE) == "E3017"
    assert refused_operands(Pad(), MAP, VECTOR) == "E3016"
    assert refused_operands(Pad(), MAP, feature(1, 4, 7, 9)) == "E3004"
    assert refused_operands(Pad(Sides(8, 0, 0, 0), mode="reflect"), MAP) == "E3006"
    assert refused_operands(Pad(mode="reflect"), MAP, feature(1, 4, 25, 9)) == "E3006"


def test_pad_splits_evenly_the_smaller_half_first() -> None:
    assert Pad().margins(0, MAP, feature(1, 4, 11, 9)) == (1, 2)
    assert PadToMultiple(Pair(4, 4)).margins(1, MAP) == (1, 2)


def test_pad_to_multiple() -> None:
    assert refused_arguments("pad_to_multiple", Pair(0, 2)) == "E2005"
    assert refused_arguments("pad_to_multiple", Pair(65537, 2)) == "E2009"
    assert refused_operands(PadToMultiple(Pair(32, 32), mode="reflect"), MAP) == "E3006"
    assert refused_operands(PadToMultiple(P2), VECTOR) == "E3016"


@pytest.mark.parametrize("name", ["resize", "crop", "pad", "max_unpool", "reshape", "fold"])
def test_like_is_read_for_its_size_only(name: str) -> None:
    assert OPS[name].operands[-1] == "like"
    assert OPS[name].sizes_only == {"like"}
    assert OPS[name].optional == 1
