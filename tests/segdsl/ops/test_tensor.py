"""What matrix products and reshapes refuse."""

from __future__ import annotations

from segdsl.ops.tensor import Flatten, Fold, Matmul, Permute, Reshape, Unfold
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

N, H, W = symbol("N"), symbol("H"), symbol("W")


def test_matmul() -> None:
    op = Matmul()
    assert refused_operands(op, feature(2, 3, 4), feature(2, 5, 6)) == "E3004"
    assert refused_operands(op, feature(2, 3, 4), feature(3, 4, 6)) == "E3004"
    assert refused_operands(op, feature(4), feature(4)) == "E3016"
    assert refused_operands(op, feature(2, 3, 4), VECTOR) == "E3016"
    assert refused_operands(op, feature(3, 4), feature(4, 2, dtype="i64")) == "E3017"


def test_reshape_arguments() -> None:
    assert refused_arguments("reshape", ()) == "E2005"
    assert refused_arguments("reshape", (1,) * 7) == "E2005"
    assert refused_arguments("reshape", (-1, -1)) == "E2005"
    assert refused_arguments("reshape", (-2, 3)) == "E2005"


def test_reshape_operands() -> None:
    assert refused_operands(Reshape((0, 5, -1)), MAP) == "E3004"
    assert refused_operands(Reshape((0, 5)), VECTOR) == "E3004"
    assert refused_operands(Reshape((0, 0, 0)), VECTOR) == "E2005"
    assert refused_operands(Reshape((1, 1, 1, 1, -1)), MAP, MAP) == "E2005"
    assert refused_operands(Reshape((0, -1)), MAP, VECTOR) == "E3016"
    assert Reshape((0, 2, -1)).infer(WHOLE) == feature(1, 2, 144, dtype="i64")


def test_reshape_keeps_symbols() -> None:
    x = feature(N, 8, H, W)
    flat = feature(N, 8, H * W)
    assert Reshape((0, 8, -1)).infer(x) == flat
    assert (
        Reshape(
            (0, 0),
        ).infer(flat, x)
        == x
    )
    assert Reshape((0, 2, 4)).infer(flat, x) == feature(N, 2, 4, H, W)
    assert Reshape((0, -1)).infer(flat, x).channels == 8
    assert refused_operands(Reshape((0, -1)), feature(N, 8, H), x) == "E2010"


def test_permute() -> None:
    for order in ((), (0, 0), (0, 2), (1, 2, 3)):
        assert refused_arguments("permute", order) == "E2005"
    assert refused_operands(Permute((0, 2, 1)), MAP) == "E3016"


def test_flatten() -> None:
    for axes in ((), (1, 3), (3, 2), (-1,)):
        assert refused_arguments("flatten", axes) == "E2005"
    assert refused_operands(Flatten((2, 3)), VECTOR) == "E3016"
    assert refused_operands(Flatten(), feature(4)) == "E3016"
    assert Flatten().infer(feature(N, 512, 7, 7)) == feature(N, 25088)
    assert Flatten((2, 3)).infer(feature(N, 8, H, W)) == feature(N, 8, H * W)


def test_patches() -> None:
    for name in ("unfold", "fold"):
        assert refused_arguments(name, Pair(0, 1)) == "E2005"
        assert refused_arguments(name, P2, pad=Sides(1, 0, 0, 0)) == "E2005"
        assert refused_arguments(name, P2, pad="same") == "E3009"
    assert refused_arguments("fold", P2, to=Pair(0, 3)) == "E2005"
    assert refused_arguments("fold", P2, to=Pair(65537, 3)) == "E2009"


def test_unfold_operands() -> None:
    assert refused_operands(Unfold(P2), VECTOR) == "E3016"
    assert refused_operands(Unfold(P2), WHOLE) == "E3017"
    assert refused_operands(Unfold(Pair(9, 1)), MAP) == "E3006"


def test_fold_operands() -> None:
    columns = feature(1, 16, 56)
    fold = Fold(P2)
    assert fold.infer(columns, MAP) == MAP
    assert refused_operands(fold, columns) == "E2017"
    assert refused_operands(Fold(P2, to=P2), columns, MAP) == "E2017"
    assert refused_operands(fold, MAP, MAP) == "E3016"
    assert refused_operands(fold, columns, VECTOR) == "E3016"
    assert refused_operands(fold, feature(1, 16, 56, dtype="i64"), MAP) == "E3017"
    assert refused_operands(fold, feature(1, 15, 56), MAP) == "E3001"
    assert refused_operands(fold, feature(1, 16, 55), MAP) == "E3004"
    assert refused_operands(Fold(Pair(9, 1)), feature(1, 36, 0), MAP) == "E3006"
