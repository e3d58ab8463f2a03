"""Compiling one case and reading its machine code."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from compiler.to_triton.gate.case import Case

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
"""The GPUs of the gate: A100, H100 and H200, MI300."""


@dataclass(frozen=True)
class Code:
    """What one compilation gave.

    Attributes:
        registers: 32-bit registers of a thread.
        stack: bytes of local memory of a thread, spills among them.
        spills: instructions that write or read local memory.
        shared: bytes of shared memory of a program.
        matrix: instructions of the matrix units: "wgmma", "mma", "mfma" or "none", and how many.
        matrix_count: how many there are.
        copies: asynchronous copies to shared memory.
        wide_copies: those of 16 bytes.
        wide_loads: loads of 16 bytes to registers.
        seconds: that the compilation took.
    """

    registers: int
    stack: int
    spills: int
    shared: int
    matrix: str
    matrix_count: int
    copies: int
    wide_copies: int
    wide_loads: int
    seconds: float


def compiled(case: Case, arch: str) -> Code:
    """Compile a case for an architecture of TARGETS."""
    source = ASTSource(
        fn=case.kernel,
        signature=case.signature(),
        constexprs=case.values(),
        attrs=case.attributes(),
    )
    options = {"num_warps": case.warps, "num_stages": case.stages, "enable_fp_fusion": True}
    started = time.perf_counter()
    found = triton.compile(source, target=TARGETS[arch], options=options)
    seconds = time.perf_counter() - started
    if arch.startswith("gfx"):
        return _amd(found.asm["amdgcn"], found.metadata.shared, seconds)
    return _nvidia(found.asm["cubin"], found.metadata.shared, seconds)


def _nvidia(cubin: bytes, shared: int, seconds: float) -> Code:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        usage, sass = _dump("-res-usage", path), _dump("-sass", path)
    names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", sass)
    wgmma = sum(name.startswith("HGMMA") for name in names)
    mma = sum(name.startswith("HMMA") for name in names)
    copies = [name for name in names if name.startswith("LDGSTS")]
    return Code(
        registers=int(_number(r"REG:(\d+)", usage)),
        stack=int(_number(r"STACK:(\d+)", usage)) + int(_number(r"LOCAL:(\d+)", usage)),
        spills=sum(name.startswith(("LDL", "STL")) for name in names),
        shared=shared,
        matrix="wgmma" if wgmma else "mma" if mma else "none",
        matrix_count=wgmma + mma,
        copies=len(copies),
        wide_copies=sum(".128" in name for name in copies),
        wide_loads=sum(name.startswith("LDG.") and ".128" in name for name in names),
        seconds=seconds,
    )


def _amd(text: str, shared: int, seconds: float) -> Code:
    mfma = len(re.findall(r"^\s*v_mfma", text, re.MULTILINE))
    return Code(
        registers=int(_number(r"\.vgpr_count:\s*(\d+)", text)),
        stack=int(_number(r"\.private_segment_fixed_size:\s*(\d+)", text)),
        spills=int(_number(r"\.vgpr_spill_count:\s*(\d+)", text)),
        shared=shared,
        matrix="mfma" if mfma else "none",
        matrix_count=mfma,
        copies=0,
        wide_copies=0,
        wide_loads=len(re.findall(r"^\s*(?:global|buffer)_load_dwordx4", text, re.MULTILINE)),
        seconds=seconds,
    )


def _dump(option: str, path: Path) -> str:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    done = subprocess.run([os.fspath(tool), option, path], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cuobjdump {option} failed: {done.stderr.strip()}")
    return done.stdout


def _number(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"there is no {pattern} in what the compiler printed")
    return found[1]
