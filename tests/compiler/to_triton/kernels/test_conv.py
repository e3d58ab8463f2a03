"""The convolution kernel in the interpreter, against float64."""

from __future__ import annotations

import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor  # noqa: E402

from compiler.to_triton.kernels import conv  # noqa: E402
from compiler.to_triton.kernels.common import ACTIVATIONS, INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.router import accepts, policy, recorded, refusals  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

GATES = {torch.float32: 1e-6, torch.float16: 4e-4}
"""Largest |error| / |reference|, as norms: a correct kernel rounds once."""


def cl(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def distance(y: Tensor, reference: Tensor) -> float:
    norm = float(reference.norm())
    return float((y.double() - reference).norm()) / (norm or 1.0)


def wide(values: tuple[object, ...]) -> list[object]:
    return [v.double() if isinstance(v, Tensor) else v for v in values]


@st.composite
def calls(draw: st.DrawFn) -> tuple[object, ...]:
    """Operands of `conv_block` without the packed weight; every map fits at least one output."""
    dtype = draw(st.sampled_from([torch.float32, torch.float16]))
    kernel = draw(st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3])))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 2)))
    dilation = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pad = tuple(draw(st.integers(0, d * (k - 1))) for k, d in zip(kernel, dilation, strict=True))
    least = [max(1, d * (k - 1) + 1 - 2 * p)
             for k, d, p in zip(kernel, dilation, pad, strict=True)]  # fmt: skip
    size = [draw(st.integers(low, low + 7)) for low in least]
    n, c, k = draw(st.integers(1, 2)), 16 * draw(st.integers(1, 3)), 8 * draw(st.integers(1, 9))
    torch.manual_seed(draw(st.integers(0, 10**6)))
    x = cl(torch.randn(n, c, *size, dtype=dtype))
    weight = torch.randn(k, c, *kernel, dtype=dtype) / (c * kernel[0] * kernel[1]) ** 0.5
    bias = torch.randn(k) if draw(st.booleans()) else None
    out = F.conv2d(x.float(), weight.float(), None, stride, pad, dilation).shape
    residual = cl(torch.randn(out, dtype=dtype)) if draw(st.booleans()) else None
    act, after = (draw(st.sampled_from(sorted(ACTIVATIONS))) for _ in range(2))
    return (x, weight, bias, residual, list(stride), list(pad), list(dilation), act, after, 0.1)


@settings(max_examples=60)
@given(calls(), st.sampled_from(sorted(conv.CONFIGS)))
def test_random_calls(call: tuple[object, ...], config: str) -> None:
    x, weight, bias, residual, *rest = call
    assert isinstance(x, Tensor)
    assert isinstance(weight, Tensor)
    reference = conv.reference(*wide((x, weight, bias, residual)), *rest)  # type: ignore[arg-type]
    out = cl(torch.full(reference.shape, torch.nan, dtype=x.dtype))
    kernel = list(weight.shape[2:])
    tile = conv.CONFIGS[config]
    small = conv.ConvConfig(min(tile.bm, 64), min(tile.bn, 64), 16, 4, 2, tile.group)
    y = conv.launch(x, conv.pack(weight), bias, residual, kernel, *rest, config=small, out=out)  # type: ignore[arg-type]
    assert y is out
    assert distance(y, reference) <= GATES[x.dtype]


def test_slices_of_wider_maps() -> None:
    """An input and an output that are channels of larger maps: the neighbours stay untouched."""
    torch.manual_seed(0)
    wide_in = cl(torch.randn(2, 64, 5, 7))
    x = wide_in[:, 16:48]
    weight = torch.randn(24, 32, 3, 3) / 17
    wide_out = cl(torch.full((2, 40, 5, 7), 7.0))
    geometry = ([1, 1], [2, 2], [2, 2], "relu", "none", 0.0)
    tile = conv.ConvConfig(64, 32, 16, 4, 2)
    conv.launch(x, conv.pack(weight), None, None, [3, 3], *geometry, config=tile,
                out=wide_out[:, 8:32])  # fmt: skip
    reference = conv.reference(x.double(), weight.double(), None, None, *geometry)
    assert distance(wide_out[:, 8:32], reference) <= GATES[torch.float32]
    assert (wide_out[:, :8] == 7).all()
    assert (wide_out[:, 32:] == 7).all()


def test_nan_goes_through_every_relu() -> None:
    x = cl(torch.full((1, 16, 2, 2), torch.nan))
    weight = torch.ones(8, 16, 1, 1)
    with policy("all"):
        for act in ("relu", "relu6", "leaky_relu"):
            geometry = ([1, 1], [0, 0], [1, 1], act, "none", 0.1)
            y = conv.conv_block(x, weight, conv.pack(weight), None, None, *geometry)
            assert y.isnan().all(), act


def test_bfloat16_is_refused() -> None:
    x = cl(torch.randn(1, 16, 3, 3, dtype=torch.bfloat16))
    weight = torch.randn(8, 16, 1, 1, dtype=torch.bfloat16)
    geometry = ([1, 1], [0, 0], [1, 1], "none", "none", 0.0)
    tile = conv.CONFIGS["m64n16w4"]
    with pytest.raises(TypeError, match="bfloat16"):
        conv.launch(x, conv.pack(weight), None, None, [1, 1], *geometry, config=tile)
    with policy("all"):  # the op goes to the library instead
        y = conv.conv_block(x, weight, conv.pack(weight), None, None, *geometry)
    assert torch.equal(y, F.conv2d(x, weight))


@pytest.mark.parametrize(
    ("x", "k", "reason"),
    [
        (torch.randn(1, 3, 4, 4), 8, "3 input channels"),
        (torch.randn(1, 16, 4, 4), 21, "21 output channels"),
        (torch.randn(1, 16, 4, 4).to(torch.float64), 8, "float64"),
        (torch.randn(1, 16, 4, 5).contiguous(), 8, "channels last"),
        (cl(torch.randn(1, 20, 4, 4))[:, 4:], 8, "16 bytes"),
    ],
    ids=["channels", "out", "dtype", "layout", "alignment"],
)
def test_what_the_kernel_does_not_take(x: Tensor, k: int, reason: str) -> None:
    """It goes to the library, and the reason can be read."""
    weight = torch.randn(k, x.shape[1], 1, 1, dtype=x.dtype)
    packed = conv.pack(weight)
    assert reason in conv.fallback_reason(x, packed, None)
    geometry = ([1, 1], [0, 0], [1, 1], "none", "none", 0.0)
    with policy("all"):
        y = conv.conv_block(x, weight, packed, None, None, *geometry)
    assert torch.equal(y, F.conv2d(x, weight))


@pytest.mark.parametrize("wrong", ["weight", "residual", "out"])
def test_operands_that_do_not_go_together(wrong: str) -> None:
    x, weight = cl(torch.randn(1, 16, 4, 4)), torch.randn(8, 16, 3, 3)
    packed = conv.pack(weight)[: -16 if wrong == "weight" else None]
    other = cl(torch.randn(1, 8, 4, 4))
    geometry = ([1, 1], [0, 0], [1, 1], "none", "none", 0.0)
    with pytest.raises(ValueError, match=r"is \(1, 8, 4, 4\)|is not"):
        conv.launch(
            x, packed, None, other if wrong == "residual" else None, [3, 3], *geometry,
            config=conv.CONFIGS["m64n16w4"], out=other if wrong == "out" else None,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["measured", "all"])
def test_the_op_is_one_of_torch(name: str) -> None:
    """Schema, fake and dispatch, by torch's own checks."""
    x, weight = cl(torch.randn(2, 16, 5, 4)), torch.randn(8, 16, 3, 3)
    residual = cl(torch.randn(2, 8, 3, 2))
    geometry = ([2, 2], [1, 1], [1, 1], "relu", "relu", 0.0)
    call = (x, weight, conv.pack(weight), torch.randn(8), residual, *geometry)
    with policy(name):
        torch.library.opcheck(conv.conv_block._opoverload, call)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3), st.integers(0, 4),
       st.integers(1, 4))  # fmt: skip
def test_sizes_are_those_of_torch(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    if size + 2 * padding < dilation * (kernel - 1) + 1:
        return
    x = torch.empty(1, 1, size, 1, device="meta")
    weight = torch.empty(1, 1, kernel, 1, device="meta")
    y = F.conv2d(x, weight, None, (stride, 1), (padding, 0), (dilation, 1))
    assert conv.out_size(size, kernel, stride, padding, dilation) == y.shape[2]


def test_a_refused_call_is_counted_with_its_reason() -> None:
    with recorded() as routes, refusals() as found:
        assert accepts("conv", "")
        for _ in range(2):
            assert not accepts("conv", "3 input channels")
    assert (routes, found) == ({}, {"conv: 3 input channels": 2})
    assert not accepts("conv", "outside of any record")
