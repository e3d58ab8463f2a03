"""A rehearsal without a GPU: the interpreter on tiny cases. Its times say nothing."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import triton

from benchmarks.kernels.case import Operands
from benchmarks.kernels.ceilings import Load, chain, exp_kernel, fma_kernel, read
from benchmarks.kernels.machine import Machine

LOAD = Load(megabytes=0.01, programs=2, turns=2)


def timed(call: Callable[[Operands], Any], sets: list[Operands]) -> list[float]:
    """Microseconds of one call on each set."""
    samples = []
    for given in sets:
        began = time.perf_counter()
        call(given)
        samples.append(1e6 * (time.perf_counter() - began))
    return samples


def env() -> dict[str, Any]:
    """As on a GPU, with words for what is not there."""
    return {
        "record": "env",
        "schema": 1,
        "commit": "none",
        "dirty": True,
        "gpu": "none: a rehearsal in the interpreter",
        "driver": "none",
        "clocks": [],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": None,
        "cudnn": "none",
        "sms": 0,
        "l2_bytes": 0,
    }


def ceilings() -> dict[str, Any]:
    """The rates of the interpreter."""
    call, size = read(LOAD, "cpu")
    powers, many = chain(exp_kernel, LOAD, "cpu")
    sums, steps = chain(fma_kernel, LOAD, "cpu")
    read_us, exp_us, fma_us = (timed(partial(_called, c), [{}])[0] for c in (call, powers, sums))
    return {
        "record": "ceilings",
        "copy_tb_s": size / read_us / 1e6,
        "matmul_bf16_tflops": 2 * steps / fma_us / 1e6,
        "fp32_tflops": 2 * steps / fma_us / 1e6,
        "l2_read_tb_s": size / read_us / 1e6,
        "exp_per_s": many / exp_us * 1e6,
        "launch_us": {"eager": fma_us, "graph": fma_us},
    }


def _called(call: Callable[[], Any], _: Operands) -> Any:
    return call()


MACHINE = Machine(
    device="cpu",
    dtype=torch.float32,
    timed=timed,
    env=env,
    ceilings=ceilings,
    peak=lambda call: None,
    share=lambda call: None,
    compiles=False,
    release=lambda: None,
)
