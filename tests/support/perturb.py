"""Which input pixels a torch module's outputs depend on: bump every pixel and see what moves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Bools = NDArray[np.bool_]

BUMPS = (1e9, -1e9, 1e15, 1e4, -1e4)
"""Large ones win every maximum, small ones do not drown what a saturated gate lets through."""

TRIALS = 60
"""Most trials ever need one; what only a signed lobe under a maximum shows may need many."""

NOISE = 1e-12
"""A weight that is 0 in exact arithmetic and 1e-16 in floats moves less than this share."""


def drawn(module: nn.Module, trial: int) -> nn.Module:
    """The module in float64 and eval mode, with weights that keep the size of values.

    Positive in the first trials, so that nothing cancels; of both signs in the later ones.
    """
    generator = torch.Generator().manual_seed(trial)
    module = module.double().eval()
    with torch.no_grad():
        for name, array in module.named_parameters():
            values = 0.5 + torch.rand(array.shape, generator=generator, dtype=array.dtype)
            share = array[0].numel() if array.dim() > 1 else 1
            values = values / share if name.endswith("weight") else 0.1 * values
            array.copy_(values * _signs(array, generator, trial))
    return module


def _signs(array: Tensor, generator: torch.Generator, trial: int) -> Tensor:
    drawn = torch.rand(array.shape, generator=generator, dtype=array.dtype)
    return torch.sign(drawn - 0.5) if trial >= len(BUMPS) else torch.ones_like(drawn)


def moves(
    module: nn.Module, channels: int, height: int, width: int, trial: int
) -> tuple[Bools, Bools]:
    """(surely, at all): which output pixels move when an input pixel is bumped.

    Both `[h, w, height, width]`; `surely` leaves out what may be noise.
    """
    generator = torch.Generator().manual_seed(1000 + trial)
    base = 0.5 + torch.rand(1, channels, height, width, generator=generator, dtype=torch.float64)
    base = base * _signs(base, generator, trial)
    before: dict[int, Tensor] = {}
    found = []
    with torch.no_grad():
        for batch in _bumped(base, BUMPS[trial % len(BUMPS)]):
            # Of the same batch size: another one may be computed in another order.
            if len(batch) not in before:
                before[len(batch)] = module(base.repeat(len(batch), 1, 1, 1))
            found.append((module(batch) - before[len(batch)]).abs().amax(1))
    changes = torch.cat(found)
    change = changes.permute(1, 2, 0).reshape(*changes.shape[1:], height, width).numpy()
    change = np.nan_to_num(change, nan=np.inf)
    most = change.max(initial=0.0)
    return change > NOISE * most, change > 0


def _bumped(base: Tensor, bump: float, most: int = 64) -> Iterator[Tensor]:
    """Copies of an image with one pixel bumped each, in batches."""
    _, _, height, width = base.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    for start in range(0, len(places), most):
        part = places[start : start + most]
        batch = base.repeat(len(part), 1, 1, 1)
        for i, (y, x) in enumerate(part):
            batch[i, :, y, x] += bump
        yield batch
