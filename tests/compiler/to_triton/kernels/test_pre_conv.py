"""Convolutions with a norm before them, and dense blocks of them, interpreted, against float64."""

from __future__ import annotations

from dataclasses import fields, replace
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

from compiler.to_triton.kernels import dense_block, pre_conv  # noqa: E402
from compiler.to_triton.kernels.common import ACTIVATIONS, INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.dense_block import Layers  # noqa: E402
from compiler.to_triton.kernels.pre_conv import Geometry, PreConfig  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

GATES = {torch.float32: 1e-6, torch.float16: 4e-4}
"""Largest |error| / |reference|, as norms: a correct kernel rounds once."""

TILE = PreConfig(32, 16, 32, 4, 2)


def cl(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def distance(y: Tensor, reference: Tensor) -> float:
    return float((y.double() - reference).norm() / (reference.norm() or 1.0))


def norm(channels: int) -> tuple[Tensor, Tensor]:
    """A factor and an offset, such that a padded pixel would not stay 0."""
    return torch.rand(channels) + 0.5, torch.rand(channels) + 0.1


@st.composite
def calls(draw: st.DrawFn) -> tuple[Any, ...]:
    """One map or two, of any channels that lie at multiples of 16 bytes; any geometry."""
    dtype = draw(st.sampled_from([torch.float32, torch.float16]))
    kernel = draw(st.sampled_from([[1, 1], [3, 3], [1, 3]]))
    stride, dilation = ([draw(st.integers(1, 2)) for _ in range(2)] for _ in range(2))
    pad = [draw(st.integers(0, d * (k - 1))) for k, d in zip(kernel, dilation, strict=True)]
    size = [draw(st.integers(d * (k - 1) + 1, 8)) for k, d in zip(kernel, dilation, strict=True)]
    n, k = draw(st.integers(1, 2)), draw(st.sampled_from([5, 12, 16, 24]))
    channels = draw(st.lists(st.sampled_from([8, 16, 24, 48]), min_size=1, max_size=2))
    before, act = (draw(st.sampled_from(sorted(ACTIVATIONS))) for _ in range(2))
    torch.manual_seed(draw(st.integers(0, 10**6)))
    call = Geometry(k, kernel, stride, pad, dilation, before, 0.2, act, 0.1)
    maps = [cl(torch.randn(n, c, *size, dtype=dtype)) for c in channels]
    depth = sum(channels) * kernel[0] * kernel[1]
    weight = torch.randn(k, sum(channels), *kernel, dtype=dtype) / depth**0.5
    bias = torch.randn(k) if draw(st.booleans()) else None
    return maps, *norm(sum(channels)), weight, bias, call


def expected(
    maps: list[Tensor], scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor | None,
    call: Geometry,
) -> Tensor:  # fmt: skip
    """In float64, but for the activations: those reach the matrix units in the maps' precision."""
    x = torch.cat(maps, 1)
    z = pre_conv.normalised(x.double(), scale, shift, call.before, call.before_slope)
    plain = replace(call, before="none")
    ones, zeros = torch.ones(x.shape[1]), torch.zeros(x.shape[1])
    last = None if bias is None else bias.double()
    return pre_conv.reference(z.to(x.dtype).double(), ones, zeros, weight.double(), last, plain)


def test_the_reference_is_batch_norm() -> None:
    torch.manual_seed(0)
    factor, offset, mean, variance = (torch.rand(5).double() + 0.2 for _ in range(4))
    x, weight = torch.randn(2, 5, 4, 3).double(), torch.randn(7, 5, 3, 3).double()
    scale = factor / (variance + 1e-5).sqrt()
    call = Geometry(7, [3, 3], [2, 1], [1, 1], [1, 1], "silu")
    y = pre_conv.reference(x, scale, offset - mean * scale, weight, None, call)
    normed = F.batch_norm(x, mean, variance, factor, offset, eps=1e-5)
    wanted = F.conv2d(F.silu(normed), weight, None, (2, 1), 1)
    assert (y - wanted).abs().max() < 1e-13


@settings(max_examples=15)
@given(calls())
def test_random_calls(given: tuple[Any, ...]) -> None:
    maps, scale, shift, weight, bias, call = given
    reference = expected(*given)
    out = cl(torch.full(reference.shape, torch.nan, dtype=maps[0].dtype))
    packed = pre_conv.pack(weight, [x.shape[1] for x in maps])
    y = pre_conv.launch(maps, scale, shift, packed, bias, call, config=TILE, out=out)
    assert y is out
    assert distance(y, reference) <= GATES[y.dtype]


def test_padding_is_zero_behind_the_activation() -> None:
    """A norm that makes 3 of every 0: the border sums what is on the map, and nothing else."""
    x = cl(torch.zeros(1, 16, 3, 4))
    weight = torch.ones(8, 16, 3, 3)
    call = Geometry(8, [3, 3], [1, 1], [1, 1], [1, 1])
    scale, shift = torch.ones(16), torch.full((16,), 3.0)
    y = pre_conv.launch(
        [x], scale, shift, pre_conv.pack(weight, [16]), None, call, config=TILE
    )  # fmt: skip
    seen = F.conv2d(torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 3), padding=1)
    assert torch.equal(y, (48 * seen).expand(1, 8, 3, 4))


def test_what_lies_behind_the_channels_is_never_used() -> None:
    """A slice whose neighbours are NaN, which a block deeper than the slice would reach."""
    torch.manual_seed(0)
    buffer = cl(torch.full((2, 40, 4, 5), torch.nan))
    buffer[:, :24] = torch.randn(2, 24, 4, 5)
    weight = torch.randn(12, 24, 3, 3) / 15
    call = Geometry(12, [3, 3], [1, 1], [1, 1], [1, 1])
    scale, shift = norm(24)
    given = ([buffer[:, :24]], scale, shift, weight, None, call)
    packed = pre_conv.pack(weight, [24])
    pre_conv.launch(
        [buffer[:, :24]], scale, shift, packed, None, call, config=TILE, out=buffer[:, 24:36]
    )  # fmt: skip
    assert distance(buffer[:, 24:36], expected(*given)) <= GATES[torch.float32]
    assert buffer[:, 36:].isnan().all()


def layers(
    channels: int, widths: list[int], keep: bool, dtype: torch.dtype, before: str = "relu"
) -> Layers:
    """Random arrays; every second layer is dilated and one has a 1x1 kernel."""
    weights, vectors, total = [], [], channels
    for i, width in enumerate(widths):
        side = 1 if i == 2 else 3
        weights.append(torch.randn(width, total, side, side, dtype=dtype) / (total * side) ** 0.5)
        vectors.append(norm(total))
        total += width
    scales, shifts = [v[0] for v in vectors], [v[1] for v in vectors]
    biases = [torch.randn(width) for width in widths]
    packed = dense_block.pack(weights, channels, keep=keep)
    rates = [1 + i % 2 for i in range(len(widths))]
    return Layers(weights, scales, shifts, biases, packed, rates, keep, before, 0.1)


def wide(found: Layers) -> Layers:
    names = ("weights", "scales", "shifts", "biases")
    doubles: dict[str, Any] = {k: [x.double() for x in getattr(found, k)] for k in names}
    return replace(found, **doubles)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    ("n", "size", "channels", "widths", "dtype"),
    [
        (1, (5, 7), [48], [16, 16, 16], torch.float32),
        (2, (3, 1), [24, 16], [12, 12], torch.float32),
        (2, (1, 1), [16, 8, 8], [8, 24, 4, 12], torch.float32),
        (1, (6, 5), [48], [12, 12, 12, 12], torch.float16),
    ],
    ids=["growth 16", "two maps", "one pixel", "growth 12"],
)
def test_blocks(
    n: int, size: tuple[int, int], channels: list[int], widths: list[int], dtype: torch.dtype,
    keep: bool,
) -> None:  # fmt: skip
    torch.manual_seed(n)
    maps = [cl(torch.randn(n, c, *size, dtype=dtype)) for c in channels]
    found = layers(sum(channels), widths, keep, dtype)
    reference = dense_block.reference([x.double() for x in maps], wide(found))
    assert reference.shape[1] == sum(widths) + keep * sum(channels)
    y = dense_block.launch(maps, found, config=TILE)
    # Activations are rounded too, and later layers read what earlier ones rounded.
    assert distance(y, reference) <= len(widths) * GATES[dtype]
    assert y.is_contiguous(memory_format=torch.channels_last)


def block_call(*channels: int, widths: tuple[int, ...] = (16, 16), keep: bool = True,
               dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:  # fmt: skip
    torch.manual_seed(3)
    found = layers(sum(channels), list(widths), keep, dtype)
    maps = [cl(torch.randn(1, c, 3, 4, dtype=dtype)) for c in channels]
    return maps, *(getattr(found, f.name) for f in fields(found))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (block_call(20), "52 channels of a buffer"),
        (block_call(20, keep=False), "20 channels of a buffer"),
        (block_call(16, widths=(12,), keep=False), "12 channels of a buffer"),
        (block_call(16, dtype=torch.float64), "float64"),
        (block_call(16, dtype=torch.bfloat16), "bfloat16"),
    ],
    ids=["kept", "apart", "result", "double", "bfloat16"],
)
def test_blocks_that_the_kernel_does_not_take(given: tuple[Any, ...], reason: str) -> None:
    """They go to the library, and the reason can be read."""
    maps, found = given[0], Layers(*given[1:])
    assert reason in dense_block.fallback_reason(maps, found)
    with pytest.raises((ValueError, TypeError), match=reason):
        dense_block.launch(maps, found, config=TILE)
    with policy("all"), recorded() as routes:
        y = dense_block.dense_block(*given)
    assert routes == {}
    assert torch.equal(y, dense_block.reference(maps, found))


@pytest.mark.parametrize("wrong", ["weight", "norm", "second", "out", "layout", "alignment"])
def test_operands_that_do_not_go_together(wrong: str) -> None:
    maps = [cl(torch.randn(1, 16, 3, 4)), cl(torch.randn(1, 8, 3, 4))]
    scale, shift = norm(24)
    packed = pre_conv.pack(torch.randn(8, 24, 3, 3), [16, 8])
    call = Geometry(8, [3, 3], [1, 1], [1, 1], [1, 1])
    out = None
    if wrong == "weight":
        packed = packed[16:]
    elif wrong == "norm":
        scale = scale[1:]
    elif wrong == "second":
        maps[1] = cl(torch.randn(1, 8, 3, 3))
    elif wrong == "out":
        out = cl(torch.randn(1, 8, 3, 3))
    elif wrong == "layout":
        maps[1] = maps[1].contiguous()
    else:
        maps[1] = cl(torch.randn(1, 12, 3, 4))[:, 4:]
    with pytest.raises(ValueError, match=r"is \(|is not|channels last|16 bytes"):
        pre_conv.launch(maps, scale, shift, packed, None, call, config=TILE, out=out)


@pytest.mark.parametrize("wrong", ["sizes", "channels"])
def test_blocks_that_do_not_go_together(wrong: str) -> None:
    maps, *rest = block_call(16, 16)
    maps[1] = cl(torch.randn(1, 16, 3, 3)) if wrong == "sizes" else maps[1][:, :8]
    with pytest.raises(ValueError, match=r"one size|the channels 24"):
        dense_block.launch(maps, Layers(*rest), config=TILE)


def test_keys_tell_blocks_apart() -> None:
    seen = set()
    for channels in ((32,), (16, 16)):
        for widths in ((16, 16), (16, 8, 8), (8, 16, 8)):
            for keep in (True, False):
                maps, *rest = block_call(*channels, widths=widths, keep=keep)
                seen.add(dense_block.key(maps, Layers(*rest)))
    assert len(seen) == 12
    alike = block_call(32, widths=(16,))
    assert dense_block.key(alike[0], Layers(*alike[1:])) == (
        "dense_block float32 1x32x3x4->1*16:3x3d1+keep"
    )


@pytest.mark.parametrize("name", ["measured", "all"])
def test_the_ops_are_of_torch(name: str) -> None:
    """Schema, fake and dispatch, by torch's own checks; the routes are noted."""
    x, weight = cl(torch.randn(2, 24, 5, 4)), torch.randn(8, 24, 3, 3)
    packed = pre_conv.pack(weight, [24])
    geometry = ([2, 2], [1, 1], [1, 1], "relu", 0.0, "none", 0.0)
    call = (x, *norm(24), weight, packed, torch.randn(8), *geometry)
    with policy(name), recorded() as routes:
        torch.library.opcheck(pre_conv.pre_conv._opoverload, call)
        torch.library.opcheck(dense_block.dense_block._opoverload, block_call(16, 8, keep=False))
        torch.library.opcheck(dense_block.dense_block._opoverload, block_call(16))
    assert len(routes) == 3
    assert set(routes.values()) == {"library" if name == "measured" else "m128n16w4"}
