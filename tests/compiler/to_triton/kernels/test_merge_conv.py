"""The convolution over two maps in the interpreter, against float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.peers import need

need("triton")
need("torch")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor  # noqa: E402

from compiler.to_triton.kernels import merge_conv  # noqa: E402
from compiler.to_triton.kernels.common import ACTIVATIONS, INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.merge_conv import Geometry, MergeConfig  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

GATES = {torch.float32: 1e-6, torch.float16: 4e-4}
"""Largest |error| / |reference|, as norms: a correct kernel rounds once."""

TILE = MergeConfig(32, 16, 16, 4, 2)
FOLD = replace(TILE, fold=True)
PLAIN = ([3, 3], [1, 1], [1, 1], [1, 1])


def cl(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


Five = tuple[Any, Any, Any, Any, Any]
"""Two maps, weight, bias and residual."""


def wide(*tensors: Tensor | None) -> Five:
    a, b, weight, bias, residual = (None if t is None else t.double() for t in tensors)
    return a, b, weight, bias, residual


def distance(y: Tensor, reference: Tensor) -> float:
    return float((y.double() - reference).norm() / (reference.norm() or 1.0))


def check(
    a: Tensor, b: Tensor | None, weight: Tensor, bias: Tensor | None, residual: Tensor | None,
    call: Geometry, config: MergeConfig,
) -> None:  # fmt: skip
    """One launch into a poisoned map, against float64."""
    reference = merge_conv.reference(*wide(a, b, weight, bias, residual), call)
    packed = merge_conv.pack(weight, a.shape[1], folded=True, swapped=call.swapped)
    out = cl(torch.full(reference.shape, torch.nan, dtype=a.dtype))
    y = merge_conv.launch(a, b, weight, packed, bias, residual, call, config=config, out=out)
    assert y is out
    assert distance(y, reference) <= GATES[a.dtype]


@st.composite
def calls(draw: st.DrawFn) -> tuple[Five, Geometry]:
    """Operands of `check`: any geometry, `a` of any size, with or without a second map."""
    dtype = draw(st.sampled_from([torch.float32, torch.float16]))
    kernel = draw(st.sampled_from([[1, 1], [3, 3], [3, 1]]))
    stride, dilation = ([draw(st.integers(1, 2)) for _ in range(2)] for _ in range(2))
    pad = [draw(st.integers(0, d * (k - 1))) for k, d in zip(kernel, dilation, strict=True)]
    size = [draw(st.integers(d * (k - 1) + 1, 8)) for k, d in zip(kernel, dilation, strict=True)]
    small = [draw(st.integers(1, 2 * n)) for n in size] if draw(st.booleans()) else size
    n, ca, cb = (
        draw(st.integers(1, 2)),
        draw(st.sampled_from([16, 32])),
        draw(st.sampled_from([0, 16, 48])),
    )
    k, swapped = 8 * draw(st.integers(1, 3)), cb > 0 and draw(st.booleans())
    fit = draw(st.sampled_from(["repeat", "pad"]))
    small = [min(a, b) for a, b in zip(small, size, strict=True)] if fit == "pad" else small
    act, after = (draw(st.sampled_from(sorted(ACTIVATIONS))) for _ in range(2))
    torch.manual_seed(draw(st.integers(0, 10**6)))
    call = Geometry(size, kernel, stride, pad, dilation, act, after, 0.1, swapped, fit)
    a = cl(torch.randn(n, ca, *small, dtype=dtype))
    b = cl(torch.randn(n, cb, *size, dtype=dtype)) if cb else None
    weight = (
        torch.randn(k, ca + cb, *kernel, dtype=dtype) / ((ca + cb) * kernel[0] * kernel[1]) ** 0.5
    )
    bias = torch.randn(k) if draw(st.booleans()) else None
    residual = cl(torch.randn(n, k, *call.result, dtype=dtype)) if draw(st.booleans()) else None
    return (a, b, weight, bias, residual), call


@settings(max_examples=20)
@given(calls())
def test_random_calls(given: tuple[Five, Geometry]) -> None:
    check(*given[0], given[1], TILE)


@pytest.mark.parametrize("dtype", GATES, ids=str)
@pytest.mark.parametrize(
    ("n", "small", "cb", "k", "swapped"),
    [
        (1, (5, 7), 32, 24, False),
        (2, (4, 3), 16, 16, True),
        (2, (1, 6), 0, 40, False),
        (1, (6, 1), 48, 8, False),
        (3, (1, 1), 16, 8, True),
    ],
)
def test_four_phases(
    n: int, small: tuple[int, int], cb: int, k: int, swapped: bool, dtype: torch.dtype
) -> None:
    """Odd maps, one pixel, several images; with and without a second map and a residual."""
    torch.manual_seed(k)
    size = [2 * side for side in small]
    call = Geometry(size, *PLAIN, "silu", "relu", 0.0, swapped)
    weight = torch.randn(k, 32 + cb, 3, 3, dtype=dtype) / (9 * (32 + cb)) ** 0.5
    a = cl(torch.randn(n, 32, *small, dtype=dtype))
    b = cl(torch.randn(n, cb, *size, dtype=dtype)) if cb else None
    residual = cl(torch.randn(n, k, *size, dtype=dtype)) if swapped else None
    check(a, b, weight, torch.randn(k), residual, call, FOLD)


def test_the_phases_are_exact() -> None:
    """Four 2x2 convolutions, in float64 and without our kernel, are the 3x3 one."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 5, 4, 7).double(), torch.randn(3, 5, 3, 3).double()
    packed = merge_conv.phases(weight).view(2, 2, 2, 2, 5, 3)
    y = torch.empty(2, 3, 8, 14, dtype=torch.float64)
    for p in range(2):
        for q in range(2):
            padded = F.pad(x, [1 - q, q, 1 - p, p])
            y[:, :, p::2, q::2] = F.conv2d(padded, packed[p, q].permute(3, 2, 0, 1))
    large = F.interpolate(x, scale_factor=2, mode="nearest")
    assert (y - F.conv2d(large, weight, padding=1)).abs().max() < 1e-13


@pytest.mark.parametrize("large", [1, 2, 7, 31, 33, 64])
def test_pixels_are_those_of_torch(large: int) -> None:
    """Every pair of sizes: which small pixel a pixel repeats."""
    weight = torch.eye(16).reshape(16, 16, 1, 1)
    packed = merge_conv.pack(weight, 16, folded=False)
    for small in (1, 3, 16, 32, 33):
        a = cl(torch.arange(small).float().reshape(1, 1, 1, small).repeat(1, 16, 1, 1))
        call = Geometry([1, large], [1, 1], [1, 1], [0, 0], [1, 1])
        y = merge_conv.launch(a, None, weight, packed, None, None, call, config=TILE)
        assert torch.equal(y, F.interpolate(a, call.size, mode="nearest"))


def test_slices_of_wider_maps() -> None:
    """Both maps and the result are channels of larger ones: the neighbours stay untouched."""
    torch.manual_seed(0)
    a, b = cl(torch.randn(2, 48, 3, 4))[:, 16:48], cl(torch.randn(2, 64, 6, 8))[:, 8:24]
    weight = torch.randn(24, 48, 3, 3) / 21
    call = Geometry([6, 8], *PLAIN, "relu")
    reference = merge_conv.reference(*wide(a, b, weight, None, None), call)
    packed = merge_conv.pack(weight, 32, folded=True)
    for config in (TILE, FOLD):
        whole = cl(torch.full((2, 40, 6, 8), 7.0))
        merge_conv.launch(
            a, b, weight, packed, None, None, call, config=config, out=whole[:, 8:32]
        )  # fmt: skip
        assert distance(whole[:, 8:32], reference) <= GATES[torch.float32]
        assert (whole[:, :8] == 7).all()
        assert (whole[:, 32:] == 7).all()


def operands(ca: int = 16, cb: int = 16, k: int = 8, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(1)
    a, b = cl(torch.randn(1, ca, 2, 3, dtype=dtype)), cl(torch.randn(1, cb, 4, 6, dtype=dtype))
    weight = torch.randn(k, ca + cb, 3, 3, dtype=dtype)
    packed = merge_conv.pack(weight, ca, folded=True)
    return a, b, weight, packed


def op_call(a: Tensor, b: Tensor, weight: Tensor, packed: merge_conv.Packed) -> tuple[Any, ...]:
    parts = [packed.a, packed.folded, packed.b]
    rest = ([4, 6], [1, 1], [1, 1], [1, 1], "relu", "none", 0.0, False, "repeat")
    return (a, b, weight, parts, torch.randn(len(weight), dtype=a.dtype), None, *rest)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (operands(ca=12), "12 input channels"),
        (operands(cb=8), "8 input channels"),
        (operands(k=21), "21 output channels"),
        (operands(dtype=torch.float64), "float64"),
        (operands(dtype=torch.bfloat16), "bfloat16"),
    ],
    ids=["first", "second", "out", "double", "bfloat16"],
)
def test_what_the_kernel_does_not_take(given: Any, reason: str) -> None:
    """It goes to the library, and the reason can be read."""
    a, b, weight, packed = given
    call = Geometry([4, 6], *PLAIN, "relu")
    assert reason in merge_conv.fallback_reason(a, b, weight, None, call)
    with pytest.raises((ValueError, TypeError), match=reason):
        merge_conv.launch(a, b, weight, packed, None, None, call, config=TILE)
    operand = op_call(*given)
    with policy("all"), recorded() as routes:
        y = merge_conv.merge_conv(*operand)
    assert routes == {}
    assert torch.equal(y, merge_conv.reference(a, b, weight, operand[4], None, call))


def test_layouts_that_the_kernel_does_not_take() -> None:
    a, b, weight, _ = operands()
    call = Geometry([4, 6], *PLAIN)
    rows = merge_conv.fallback_reason(a, b.contiguous(), weight, None, call)
    assert "channels last" in rows
    shifted = cl(torch.randn(1, 20, 4, 6))[:, 4:]
    assert "16 bytes" in merge_conv.fallback_reason(a, shifted, weight, None, call)


@pytest.mark.parametrize("wrong", ["weight", "packed", "second", "residual", "out", "fold", "pad"])
def test_operands_that_do_not_go_together(wrong: str) -> None:
    a, b, weight, packed = operands()
    call = Geometry([4, 6], *PLAIN)
    other = cl(torch.randn(1, 8, 3, 6))
    residual = other if wrong == "residual" else None
    config = FOLD if wrong == "fold" else TILE
    if wrong == "weight":
        weight = weight[:, 1:]
    elif wrong == "packed":
        packed = merge_conv.pack(weight[:, :16], 8, folded=False)
    elif wrong == "second":
        b = b[:, :, 1:]
    elif wrong == "fold":
        a = cl(torch.randn(1, 16, 4, 6))
    elif wrong == "pad":
        a, call = cl(torch.randn(1, 16, 4, 8)), replace(call, fit="pad")
    with pytest.raises(ValueError, match=r"is not|not that|is \(1,|phases|larger"):
        merge_conv.launch(
            a, b, weight, packed, None, residual, call, config=config,
            out=other if wrong == "out" else None,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["measured", "all"])
def test_the_op_is_one_of_torch(name: str) -> None:
    """Schema, fake and dispatch, by torch's own checks; the route is noted."""
    with policy(name), recorded() as routes:
        torch.library.opcheck(merge_conv.merge_conv._opoverload, op_call(*operands()))
    (key,) = routes
    assert key == "merge_conv float32 1x16x2x3+1x16x4x6->8 3x3/1x1/1x1/1x1"
    assert routes[key] == ("library" if name == "measured" else "fold m64n32w4")
