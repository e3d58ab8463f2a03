"""One kernel at one size: its operands, ours, the reference, and whom it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Operands = Mapping[str, Any]
"""What one call takes, by name; tensors among them."""

Result = Tensor | tuple[Tensor, ...]
"""What one call gives: a map, or the gradients of some."""


@dataclass(frozen=True)
class Case:
    """One row of the measurement.

    Attributes:
        kernel: its name in `compiler.to_triton.kernels`.
        key: what the router looks up, so that a winner can stand in its table.
        dtype: of the operands, by torch's name.
        flops: 2 x multiply-accumulates, as a dense library computes them.
        useful: those that touch no padding.
        moved: bytes that must be read and written once.
        configs: what may be launched, by name.
        make: operands from a device and a seed.
        launch: ours, with one of the configurations.
        reference: the same in plain torch, in the dtype of the operands.
        baselines: library calls of the same function, by name.
        exact: whether results are whole numbers: then the share of unequal ones is the error.
        gathered: bytes that the threads read in all, where caches serve most of them.
        exponentials: how many must be computed.
        matrix: whether the matrix units can do the multiplications.
        atomic: whether sums are added up in any order: then two runs may differ.
        chain: launches that read each other's rounded results: errors add up as a random walk.
    """

    kernel: str
    key: str
    dtype: str
    flops: int
    useful: int
    moved: int
    configs: Mapping[str, Any]
    make: Callable[[str, int], Operands]
    launch: Callable[[Operands, Any], Result]
    reference: Callable[[Operands], Result]
    baselines: Mapping[str, Callable[[Operands], Result]]
    exact: bool = False
    gathered: int = 0
    exponentials: int = 0
    matrix: bool = True
    atomic: bool = False
    chain: int = 1


def widened(operands: Operands) -> dict[str, Any]:
    """The operands in float64."""
    return {name: _wide(value) for name, value in operands.items()}


def _wide(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    return [_wide(each) for each in value] if isinstance(value, list) else value


def parts(result: Result) -> tuple[Tensor, ...]:
    """The maps of a result."""
    return result if isinstance(result, tuple) else (result,)


def size_of(operands: Operands) -> int:
    """Bytes of the tensors."""
    flat = [v for x in operands.values() for v in (x if isinstance(x, list) else [x])]
    return sum(v.numel() * v.element_size() for v in flat if isinstance(v, Tensor))
