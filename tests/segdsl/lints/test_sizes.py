from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl.fixes import apply
from tests.support.linted import codes, lint, net

LIMIT = 200


def _pools(kernels: list[int]) -> str:
    return "output y = image -> " + " -> ".join(f"max_pool({k})" for k in kernels)


def _fits(size: int, kernels: list[int]) -> bool:
    for kernel in kernels:
        size //= kernel
    return size >= 1


@given(
    st.lists(st.integers(2, 4), min_size=1, max_size=3),
    st.integers(1, 16),
    st.integers(1, 60),
)
def test_exactly_the_sizes_that_lose_nothing(kernels: list[int], modulus: int, least: int) -> None:
    """By counting: a size is good if every pool divides it; the `where` may refuse no good one."""
    stated = [n for n in range(1, LIMIT) if n % modulus == 0 and n >= least]
    if not all(_fits(n, kernels) for n in stated):
        return  # an error: the sizes that are let in do not fit
    good = [n for n in range(1, LIMIT) if n % prod(kernels) == 0]
    image = f"input image: f32[N, 3, S, S] where S % {modulus} == 0, S >= {least}"
    found = [d for d in lint(net(_pools(kernels), image=image)) if d.code == "W7005"]
    refused = [n for n in good if n not in stated]
    assert [f"it refuses S = {refused[0]}" in d.message for d in found] == [True] * bool(refused)
    for diagnostic in found:
        (help,) = diagnostic.helps
        assert help.text == f"`where S % {prod(kernels)} == 0` is enough"


@pytest.mark.parametrize(
    ("where", "body"),
    [
        # a declared shape needs it
        ("H % 4 == 0", "output y: [N, 3, 4*(H//4), W] = image"),
        # with a message of its own, or shaped by a constant
        ('H >= 8 else "smaller ones are never sent", W >= 1', "output y = image"),
        ("H >= K, W >= K", "output y = image"),
        # at other sizes pixels would be dropped
        ("H % 2 == 0, W % 2 == 0", "output y = image -> max_pool(2)"),
    ],
)
def test_what_is_not_too_strict(where: str, body: str) -> None:
    image = f"input image: f32[N, 3, H, W] where {where}"
    used = ["check K == 8", body]
    assert codes(net(*used, image=image, before="const K = 8\n")) == []


def test_only_the_idle_half_goes() -> None:
    image = "input image: f32[N, 3, H, W] where H % 4 == 0, W % 4 == 0"
    (found,) = lint(net("output y: [N, 3, 4*(H//4), W] = image", image=image))
    assert found.code == "W7005"
    assert found.helps[0].text == "`where H % 4 == 0` is enough"


def test_a_check_that_needs_the_condition() -> None:
    image = "input image: f32[N, 3, S, S] where S % 8 == 0"
    body = ["f = image -> conv(8, 4, stride=4) @a", "output y = f -> relu"]
    assert codes(net(*body, image=image)) == ["W7005"]
    needs = "check shape(f) == [N, 8, 2*(S//8), 2*(S//8)]"
    assert codes(net(*body, needs, image=image)) == []


def test_the_edit_is_right() -> None:
    image = "input image: f32[N, 3, H, W] where H % 8 == 0, W % 4 == 0"
    text = net(_pools([4]), image=image)
    (found,) = lint(text)
    mended = apply(text, found.helps[0].edits)
    assert "where H % 4 == 0, W % 4 == 0\n" in mended
    assert codes(mended) == []
