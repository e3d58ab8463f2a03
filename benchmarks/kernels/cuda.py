"""What only a GPU can tell: times by events, ceilings, the machine, whole networks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import triton

from benchmarks.kernels.case import Operands
from benchmarks.kernels.stats import spread

WARM = 20
REPEATS = 60
"""Calls that are timed; more where there are more sets, so that each set has its turn."""
SHORT = 50.0
"""Microseconds below which launching is what one measures: both sides then run in CUDA graphs."""


def timed(call: Callable[[Operands], Any], sets: list[Operands]) -> list[float]:
    """Microseconds of every call, rotating the operands; in CUDA graphs where calls are short."""
    for i in range(WARM):
        call(sets[i % len(sets)])
    samples = _events([partial(call, given) for given in sets])
    if sorted(samples)[len(samples) // 2] >= SHORT:
        return samples
    return _events([_captured(call, s).replay for s in sets])


def _captured(call: Callable[[Operands], Any], given: Operands) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        call(given)
    return graph


def _events(calls: list[Callable[[], Any]]) -> list[float]:
    pairs = []
    for i in range(max(REPEATS, len(calls))):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        calls[i % len(calls)]()
        end.record()
        pairs.append((begin, end))
    torch.cuda.synchronize()
    return [1000 * begin.elapsed_time(end) for begin, end in pairs]


def env() -> dict[str, Any]:
    """The machine and the versions, which belong to every figure."""
    properties = torch.cuda.get_device_properties(0)
    query = "--query-gpu=driver_version,clocks.sm,clocks.mem"
    smi = _said("nvidia-smi", query, "--format=csv,noheader").split(", ")
    return {
        "record": "env",
        "schema": 1,
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "dirty": bool(_said("git", "status", "--porcelain")),
        "gpu": properties.name,
        "driver": smi[0],
        "clocks": smi[1:],
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "sms": properties.multi_processor_count,
        "l2_bytes": properties.L2_cache_size,
    }


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def ceilings() -> dict[str, Any]:
    """Copying, multiplying random matrices, and launching: what bounds everything else."""
    source = torch.randn(1 << 28, device="cuda")
    target = torch.empty_like(source)
    copy = spread(timed(lambda _: target.copy_(source), [{}]))["median"]
    like: dict[str, Any] = {"device": "cuda", "dtype": torch.bfloat16}
    left, right = (torch.randn(8192, 8192, **like) for _ in range(2))
    product = spread(timed(lambda _: left @ right, [{}]))["median"]
    one = torch.zeros(1, device="cuda")
    eager = spread(_events([lambda: one.add_(1)]))["median"]
    replay = spread(_events([_captured(lambda _: one.add_(1), {}).replay]))["median"]
    return {
        "record": "ceilings",
        "copy_tb_s": round(2 * source.numel() * 4 / copy / 1e6, 3),
        "matmul_bf16_tflops": round(2 * 8192**3 / product / 1e6, 1),
        "launch_us": {"eager": eager, "graph": replay},
    }
