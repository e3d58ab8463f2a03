# ruff: noqa: N803  (constants of a kernel are capitals)
"""Kernels that measure a GPU: reads from its L2 cache, exponentials, multiply-adds in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def read_kernel(X, Y, blocks, TURNS: tl.constexpr, BLOCK: tl.constexpr):
    """Every program reads every `num_programs`-th block, TURNS times, not through L1."""
    inside = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for turn in range(TURNS):
        # Another program's blocks at every turn: what L1 may keep is then of no use.
        first = (tl.program_id(0) + turn) % tl.num_programs(0)
        for block in range(first, blocks, tl.num_programs(0)):
            total += tl.load(X + block * BLOCK + inside, cache_modifier=".cg")
    tl.store(Y + tl.program_id(0) * BLOCK + inside, total)


@triton.jit
def exp_kernel(X, Y, TURNS: tl.constexpr, BLOCK: tl.constexpr):
    """exp(-x), TURNS times over."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + at)
    for _ in range(TURNS):
        x = tl.exp(-x)
    tl.store(Y + at, x)


@triton.jit
def fma_kernel(X, Y, TURNS: tl.constexpr, BLOCK: tl.constexpr):
    """x * 0.5 + 0.25, TURNS times over."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + at)
    for _ in range(TURNS):
        x = x * 0.5 + 0.25
    tl.store(Y + at, x)


@dataclass(frozen=True)
class Load:
    """How much is measured.

    Attributes:
        megabytes: of the map that is read; well inside of the L2 cache.
        programs: that run beside each other.
        turns: of every loop.
    """

    megabytes: float = 16.0
    programs: int = 132 * 16
    turns: int = 64


def read(load: Load, device: str) -> tuple[Callable[[], Tensor], int]:
    """The call, which answers a sum for each program and lane, and the bytes that it reads."""
    blocks = max(1, int(load.megabytes * 1e6) // (4 * BLOCK))
    x = torch.rand(blocks * BLOCK, device=device)
    y = torch.empty(load.programs * BLOCK, device=device)

    def call() -> Tensor:
        read_kernel[(load.programs,)](x, y, blocks, TURNS=load.turns, BLOCK=BLOCK)
        return y

    return call, load.turns * x.numel() * 4


def chain(kernel: Any, load: Load, device: str) -> tuple[Callable[[], Tensor], int]:
    """The call of one of the other kernels, and how many steps it takes over all lanes."""
    x = torch.rand(load.programs * BLOCK, device=device)
    y = torch.empty_like(x)

    def call() -> Tensor:
        kernel[(load.programs,)](x, y, TURNS=load.turns, BLOCK=BLOCK)
        return y

    return call, load.turns * x.numel()
