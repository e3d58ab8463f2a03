"""All options together against dense float64 matrices, values and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from compiler.crf import mean_field
from tests.support.crf_draws import Draw, Drawer
from tests.support.dense_crf import (
    Kernel,
    dense_field,
    exact_kernel,
    lattice_kernel,
    window_kernel,
)

DRAWS = {"exact": 140, "window": 140, "lattice": 80}
BATCH = 20


def method_options(drawer: Drawer) -> tuple[dict[str, Any], Kernel]:
    """What only this method takes, and the kernel that it stands for."""
    if drawer.method == "lattice":
        return {}, lattice_kernel
    own = drawer.one_of(True, True, False)
    if drawer.method == "exact":
        return {"include_self": own, "tail": 0.0}, exact_kernel(own)
    window, blur = drawer.one_of(1, 3, 5, 9), drawer.one_of(1, 1, 2, 4)
    return {"include_self": own, "window": window, "blur": blur}, window_kernel(window, blur, own)


def gradients(out: torch.Tensor, draw: Draw) -> list[torch.Tensor]:
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape)
    found = torch.autograd.grad((out * weights).sum(), draw.learned, allow_unused=True)
    return [
        torch.zeros_like(p) if g is None else g for g, p in zip(found, draw.learned, strict=True)
    ]


def close(
    found: torch.Tensor, wanted: torch.Tensor, atol: float, rtol: float | None = None, *, note: str
) -> None:
    rtol = atol if rtol is None else rtol
    torch.testing.assert_close(
        found, wanted, rtol=rtol, atol=atol, msg=lambda text: f"{note}: {text}"
    )


@pytest.mark.parametrize(
    ("method", "batch"), [(m, b) for m, count in DRAWS.items() for b in range(count // BATCH)]
)
def test_values_and_gradients(method: str, batch: int) -> None:
    for number in range(batch * BATCH, (batch + 1) * BATCH):
        drawer = Drawer(method, number)
        draw = drawer.draw()
        options, kernel = method_options(drawer)
        found = mean_field(draw.scores, draw.terms, method=method, **draw.options, **options)
        wanted = dense_field(draw.scores, draw.terms, kernel, **draw.options)
        note = f"{method} {number}: {draw} {options}"
        close(found, wanted, 1e-9, note=note)
        pairs = zip(gradients(found, draw), gradients(wanted, draw), strict=True)
        for mine, theirs in pairs:
            scale = 1 + float(theirs.abs().max())
            close(mine / scale, theirs / scale, 1e-9, rtol=0, note=note)


@pytest.mark.parametrize("method", DRAWS)
def test_without_gradients_and_in_float32(method: str) -> None:
    """The path that overwrites its buffers, and the precision that people use."""
    for number in range(500, 530):
        drawer = Drawer(method, number)
        draw = drawer.draw()
        options, kernel = method_options(drawer)
        before = [p.detach().clone() for p in draw.learned]
        with torch.no_grad():
            wanted = dense_field(draw.scores, draw.terms, kernel, **draw.options)
            double = mean_field(draw.scores, draw.terms, method=method, **draw.options, **options)
            single = mean_field(
                draw.scores.float(), draw.terms, method=method, **draw.options, **options
            )
        note = f"{method} {number}: {draw} {options}"
        close(double, wanted, 1e-9, note=note)
        assert single.dtype == torch.float32
        close(single.double(), wanted, 2e-4, note=note)
        assert all(torch.equal(a, b) for a, b in zip(before, draw.learned, strict=True))
