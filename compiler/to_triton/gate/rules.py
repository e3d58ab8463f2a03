"""What the machine code of a case must hold, and must not."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.to_triton.gate.case import Case, Loads
from compiler.to_triton.gate.compile import Code

SHARED = {"sm_80": 166_912, "sm_90": 232_448, "gfx942": 65_536}
"""Bytes of shared memory that one program can have."""

REGISTER_FILE = 65_536
LANES = {"sm_80": 32, "sm_90": 32, "gfx942": 64}
SECONDS = 10.0
"""The most that one compilation may take, in a process of its own on an idle machine."""

MATRIX = {"sm_80": "mma", "sm_90": "wgmma", "gfx942": "mfma"}


def faults(case: Case, code: Code, arch: str) -> Iterator[str]:
    """Every rule that the code of a case breaks on an architecture, in words."""
    yield from _matrix(case, code, arch)
    if not arch.startswith("gfx"):
        yield from _loads(case, code)
    if (code.stack or code.spills) and not case.waiver:
        yield f"{code.stack} bytes of stack, {code.spills} spill instructions"
    if code.shared > SHARED[arch]:
        yield f"{code.shared} bytes of shared memory; {arch} has {SHARED[arch]}"
    if not arch.startswith("gfx") and code.registers * LANES[arch] * case.warps > REGISTER_FILE:
        yield f"{code.registers} registers do not fit {case.warps} warps"


def _matrix(case: Case, code: Code, arch: str) -> Iterator[str]:
    wanted = MATRIX[arch] if case.matrix else "none"
    if code.matrix != wanted:
        yield f"{code.matrix} instructions instead of {wanted}"


def _loads(case: Case, code: Code) -> Iterator[str]:
    if case.loads is Loads.ASYNC:
        if not code.wide_copies:
            yield "no asynchronous copies of 16 bytes"
        elif code.copies - code.wide_copies > case.narrow:
            yield f"{code.copies - code.wide_copies} copies of less than 16 bytes"
    if case.loads is Loads.VECTOR and not code.wide_loads:
        yield "no loads of 16 bytes"
