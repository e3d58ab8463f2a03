"""Convolutions over two maps and dense blocks on a CUDA GPU: every configuration and dtype.

Run with `SEGDSL_GPU=1 pytest -m gpu`: without the variable kernels are interpreted.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from tests.support.peers import need

need("triton")
need("torch")

import torch  # noqa: E402

from compiler.to_triton.kernels import dense_block, merge_conv, pre_conv  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.dense_block import Layers  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(INTERPRETED, reason="kernels are interpreted: set SEGDSL_GPU=1"),
]

GATES = {torch.bfloat16: 2.5e-3, torch.float16: 4e-4, torch.float32: 1e-6}
LAST = torch.channels_last


def distance(y: torch.Tensor, reference: torch.Tensor) -> float:
    return float((y.double() - reference).norm() / reference.norm())


def noise(*shape: int, dtype: torch.dtype, scale: float = 1.0) -> torch.Tensor:
    x = torch.randn(*shape, device="cuda", dtype=dtype) / scale
    return x.contiguous(memory_format=LAST) if len(shape) == 4 else x


def double(value: Any) -> Any:
    if isinstance(value, list):
        return [double(each) for each in value]
    return value.double() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("dtype", GATES, ids=str)
@pytest.mark.parametrize("config", merge_conv.CONFIGS)
@pytest.mark.parametrize("form", ["doubled", "odd", "plain", "alone"])
@pytest.mark.parametrize("residual", [False, True])
def test_two_maps(dtype: torch.dtype, config: str, form: str, residual: bool) -> None:
    tile = merge_conv.CONFIGS[config]
    if tile.fold and form in ("odd", "plain"):
        pytest.skip("the phases are of maps of just twice the size")
    torch.manual_seed(0)
    small = [17, 23]
    size = {"odd": [33, 45], "plain": small}.get(form, [34, 46])
    ca, cb, k = 128, 0 if form == "alone" else 64, 136
    a = noise(2, ca, *small, dtype=dtype)
    b = noise(2, cb, *size, dtype=dtype) if cb else None
    weight = noise(k, ca + cb, 3, 3, dtype=dtype, scale=(9 * (ca + cb)) ** 0.5)
    more = noise(2, k, *size, dtype=dtype) if residual else None
    bias = noise(k, dtype=dtype)
    call = merge_conv.Geometry(size, [3, 3], [1, 1], [1, 1], [1, 1], "relu", "silu")
    packed = merge_conv.pack(weight, ca, folded=True)
    wide: Any = [double(x) for x in (a, b, weight, bias, more)]
    reference = merge_conv.reference(wide[0], wide[1], wide[2], wide[3], wide[4], call)
    out = torch.full_like(reference, torch.nan, dtype=dtype).contiguous(memory_format=LAST)
    given: Any = (a, b, weight, packed, bias, more, call)
    y = merge_conv.launch(*given, config=tile, out=out)
    assert distance(y, reference) <= GATES[dtype]
    assert torch.equal(y, merge_conv.launch(*given, config=tile))


@pytest.mark.parametrize("dtype", GATES, ids=str)
@pytest.mark.parametrize("config", pre_conv.CONFIGS)
@pytest.mark.parametrize("growth", [12, 16])
@pytest.mark.parametrize("keep", [True, False])
def test_blocks(dtype: torch.dtype, config: str, growth: int, keep: bool) -> None:
    torch.manual_seed(0)
    c, count = 96, 4
    depths = [c + i * growth for i in range(count)]
    weights = [noise(growth, d, 3, 3, dtype=dtype, scale=(9 * d / 2) ** 0.5) for d in depths]
    scales, shifts = ([torch.rand(d, device="cuda") + 0.1 for d in depths] for _ in range(2))
    biases = [torch.randn(growth, device="cuda") for _ in depths]
    packed = dense_block.pack(weights, c, keep=keep)
    layers = Layers(weights, scales, shifts, biases, packed, [1] * count, keep, "relu", 0.0)
    wide = replace(layers, **{f.name: double(getattr(layers, f.name)) for f in fields(layers)})
    x = noise(2, c, 33, 29, dtype=dtype)
    reference = dense_block.reference([x.double()], wide)
    y = dense_block.launch([x], layers, config=pre_conv.CONFIGS[config])
    # A chain of roundings: of every layer's activations, and of what it wrote.
    assert distance(y, reference) <= GATES[dtype] * count**0.5
    assert torch.equal(y, dense_block.launch([x], layers, config=pre_conv.CONFIGS[config]))
