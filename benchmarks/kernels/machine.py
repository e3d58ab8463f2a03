"""What a measurement needs of the machine: a GPU, or this process for a rehearsal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.kernels.check import Timer


@dataclass(frozen=True)
class Machine:
    """Where cases and networks run.

    Attributes:
        device: of the operands, by torch's name.
        dtype: of whole networks.
        timed: times calls.
        env: the record of the machine and the versions.
        ceilings: the record of what bounds everything else.
        peak: bytes that a call takes at most, beside what it is given; None where nobody counts.
        share: the part of a call's time that is spent in kernels of ours, or None.
        compiles: whether `torch.compile` is among the others.
        release: gives memory back between cases.
    """

    device: str
    dtype: torch.dtype
    timed: Timer
    env: Callable[[], dict[str, Any]]
    ceilings: Callable[[], dict[str, Any]]
    peak: Callable[[Callable[[], Any]], int | None]
    share: Callable[[Callable[[], Any]], float | None]
    compiles: bool
    release: Callable[[], None]
