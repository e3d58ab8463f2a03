"""What the gate compiles: one kernel with one configuration, and what its code must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Constant = int | float | bool | str | None


class Loads(Enum):
    """How operands reach shared memory or registers."""

    ASYNC = "async"
    """Through `cp.async`, 16 bytes at a time."""
    VECTOR = "vector"
    """Into registers, 16 bytes at a time."""
    ANY = "any"


@dataclass(frozen=True)
class Case:
    """One compilation.

    Attributes:
        name: of the row in the table.
        kernel: the `@triton.jit` function.
        pointers: element types of its pointers, as `bf16`; None for a slot that is not used.
        constants: values of its constexpr parameters.
        integers: names of its run-time int32 parameters that are multiples of 16.
        floats: names of its run-time float32 parameters.
        warps: of a program.
        stages: of the software pipeline.
        matrix: whether the code must use the matrix units (None: it must not).
        loads: how operands must be loaded; on NVIDIA only.
        narrow: the most asynchronous copies of less than 16 bytes: those of vectors, not of tiles.
        waiver: why this case may use the stack, or "".
    """

    name: str
    kernel: Any
    pointers: Mapping[str, str | None]
    constants: Mapping[str, Constant]
    integers: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()
    warps: int = 4
    stages: int = 3
    matrix: bool = True
    loads: Loads = Loads.ASYNC
    narrow: int = 0
    waiver: str = ""
    unaligned: bool = field(default=False)
    """Leaves out what the launcher promises about alignment: the gate must then fail."""

    def signature(self) -> dict[str, str]:
        """Parameter types as triton names them, in the order of the kernel."""
        return {name: self._type(name) for name in self.kernel.arg_names}

    def _type(self, name: str) -> str:
        if name in self.constants or (name in self.pointers and self.pointers[name] is None):
            return "constexpr"
        if name in self.pointers:
            return f"*{self.pointers[name]}"
        return "fp32" if name in self.floats else "i32"

    def values(self) -> dict[tuple[int, ...], Constant]:
        """The constexpr parameters by position; an unused pointer is None."""
        order = self.kernel.arg_names
        unused = {name: None for name, kind in self.pointers.items() if kind is None}
        return {(order.index(name),): value for name, value in {**self.constants, **unused}.items()}

    def attributes(self) -> dict[tuple[int, ...], list[list[object]]]:
        """The promises of the launcher: pointers and some integers are multiples of 16."""
        if self.unaligned:
            return {}
        order = self.kernel.arg_names
        aligned = [name for name, kind in self.pointers.items() if kind is not None]
        return {
            (order.index(name),): [["tt.divisibility", 16]] for name in [*aligned, *self.integers]
        }
