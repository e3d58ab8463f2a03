"""The beginning of DCNv3's branches, interpreted and in plain torch, against float64."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch import dtype as DType  # noqa: E402

from compiler.to_triton.kernels import depthwise_norm as ours  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

GATES = {torch.float32: 1e-6, torch.float16: 4e-4}
EPS = 1e-6
HALF, FULL = torch.float16, torch.float32

CASES: list[tuple[int, tuple[int, int], list[list[int]], str, DType, str]] = [
    (24, (5, 7), [[3, 3], [1, 1], [1, 1]], "gelu", FULL, "k4w4"),
    (64, (4, 3), [[3, 3], [1, 1], [1, 1]], "gelu", HALF, "k8w8"),
    (7, (9, 8), [[5, 3], [2, 1], [2, 0]], "silu", FULL, "k8w8"),
    (1, (1, 6), [[1, 5], [1, 2], [0, 2]], "relu", FULL, "k4w4"),
    (136, (6, 1), [[5, 5], [1, 1], [4, 2]], "none", HALF, "k8w8"),
]
"""Channels, size, kernel and stride and padding, activation, dtype, tile."""


def cl(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def operands(channels: int, size: tuple[int, int], kernel: list[int], dtype: DType) -> list[Any]:
    """x as a slice of a wider map with NaN around it, weight, bias, scale, shift."""
    torch.manual_seed(channels)
    wide = cl(torch.full((2, channels + 11, *size), torch.nan).to(dtype))
    wide[:, 3 : channels + 3] = torch.randn(2, channels, *size) + 0.5
    weight = torch.randn(channels, 1, *kernel) / (kernel[0] * kernel[1]) ** 0.5
    vectors = [torch.randn(channels) for _ in range(3)]
    return [wide[:, 3 : channels + 3], *(t.to(dtype) for t in (weight, *vectors))]


@pytest.mark.parametrize(("channels", "size", "numbers", "act", "dtype", "config"), CASES)
def test_results(
    channels: int, size: tuple[int, int], numbers: list[list[int]], act: str, dtype: DType,
    config: str,
) -> None:  # fmt: skip
    kernel, *rest = numbers
    x, weight, *vectors = operands(channels, size, kernel, dtype)
    wide = [t.double() for t in (x, weight, *vectors)]
    exact = torch.nn.functional.conv2d(wide[0], wide[1], wide[2], *rest, groups=channels)
    mean, var = exact.mean(1, keepdim=True), exact.var(1, keepdim=True, correction=0)
    scale, shift = (v.view(-1, 1, 1) for v in wide[3:])
    exact = (exact - mean) / (var + EPS).sqrt() * scale + shift
    calls = {"gelu": torch.nn.functional.gelu, "silu": torch.nn.functional.silu,
             "relu": torch.relu, "none": lambda y: y}  # fmt: skip
    exact = calls[act](exact)
    call: list[Any] = [x, ours.pack(weight), *vectors, kernel, *rest, EPS, act]
    y = ours.launch(*call, config=ours.CONFIGS[config])
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert float((y.double() - exact).norm()) <= GATES[dtype] * float(exact.norm())
    call = [x, weight, *vectors, *rest, EPS, act]
    plain = ours.reference(*call)
    norm = max(float(exact.norm()), 1e-30)
    assert float((plain.double() - exact).norm()) / norm <= 10 * GATES[dtype]


def op_call(channels: int, act: str = "gelu") -> tuple[Any, ...]:
    x, weight, *vectors = operands(channels, (4, 5), [3, 3], FULL)
    return (x, weight, ours.pack(weight), *vectors, [1, 1], [1, 1], EPS, act)


@pytest.mark.parametrize("name", ["all", "none"])
def test_the_op_is_one_of_torch(name: str) -> None:
    with policy(name), recorded() as routes:
        torch.library.opcheck(ours.depthwise_norm._opoverload, op_call(24))
    assert set(routes) == {"depthwise_norm float32 2x24x4x5 3x3/1x1/1x1 gelu"}
    assert set(routes.values()) == {"k4w4" if name == "all" else "library"}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({1: torch.zeros(9, 23)}, ValueError, r"the weight \(9, 23\) is not \[3\*3, 24\]"),
        ({3: torch.zeros(23)}, ValueError, r"the scale is \(23,\), not \[24\]"),
        ({0: torch.zeros(2, 24, 3, 3)}, ValueError, "channels last"),
        ({0: torch.zeros(0, 24, 3, 3)}, ValueError, "an empty map"),
        ({2: torch.zeros(24).double()}, TypeError, "float64"),
        ({4: torch.zeros(24).bfloat16()}, TypeError, "bfloat16"),
    ],
)
def test_what_is_refused(change: dict[int, Tensor], error: type[Exception], text: str) -> None:
    x, _, packed, *rest = op_call(24)
    given = dict(enumerate([x, packed, *rest[:3]])) | change
    call: list[Any] = [*given.values(), [3, 3], *rest[3:]]
    with pytest.raises(error, match=text):
        ours.launch(*call, config=ours.CONFIGS["k4w4"])


def test_too_many_channels_go_to_the_library() -> None:
    x = cl(torch.zeros(1, 2049, 1, 2))
    reason = "no template: 2049 channels; the most is 2048"
    assert ours.fallback_reason(x, torch.zeros(9, 2049)) == reason
    weight = torch.zeros(2049, 1, 3, 3)
    vectors = [torch.zeros(2049)] * 3
    with policy("all"), recorded() as routes:
        ours.depthwise_norm(x, weight, ours.pack(weight), *vectors, [1, 1], [1, 1], EPS, "gelu")
    assert routes == {}
