from __future__ import annotations

from fractions import Fraction

import pytest

from segdsl.analysis.shapes import shapes
from segdsl.analysis.strides import at_stride, last_change, stride
from segdsl.ir import Value
from segdsl.symbolic import Size, ceil_div, floor_div, symbol
from tests.support.grown import examine_text
from tests.support.linted import net

H, W = symbol("H"), symbol("W")


@pytest.mark.parametrize(
    ("size", "found"),
    [
        (H, Fraction(1)),
        (floor_div(H + 3, 8) * 2 + 1, Fraction(4)),
        (ceil_div(H * 3, 2) - 5, Fraction(2, 3)),
        (12, None),
        (H + W, None),
        (10 - H, None),
    ],
)
def test_stride_of_a_size(size: Size, found: Fraction | None) -> None:
    assert stride(size) == found


@pytest.mark.parametrize(
    ("found", "words"), [(1, "full size"), (8, "H/8"), ("1/2", "2*H"), ("3/2", "2*H/3")]
)
def test_words(found: str | int, words: str) -> None:
    assert at_stride("H", Fraction(found)) == words


@pytest.mark.parametrize(
    ("stages", "name", "factor"),
    [
        ("relu", None, None),
        ("max_pool(2) -> relu", "max_pool", 2),
        ("max_pool(2) -> conv(8, 3, stride=3, pad=1) @c -> relu", "conv", 3),
        ("max_pool(4) -> resize(2x, mode=nearest) -> relu", "resize", "1/2"),
        ("max_pool(4) -> resize(like=image, mode=nearest)", "resize", "1/4"),
    ],
)
def test_the_last_change(stages: str, name: str | None, factor: int | str | None) -> None:
    image = "input image: f32[N, 3, H, W] where H >= 64, W >= 64"
    graph = examine_text(net(f"output y = image -> {stages}", image=image)).graph
    assert graph is not None
    found = last_change(graph, shapes(graph), Value("output.y"), 0)
    assert (found[0].op.name if found else None) == name
    assert (found[1] if found else None) == (None if factor is None else Fraction(factor))
