"""What only a GPU can tell: times by events, ceilings, the machine, shares of time, memory."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import triton

from benchmarks.kernels.case import Operands
from benchmarks.kernels.ceilings import Load, chain, exp_kernel, fma_kernel, read
from benchmarks.kernels.coverage import ours
from benchmarks.kernels.machine import Machine
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
        "python": platform.python_version(),
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
    """Copying, multiplying, reading from the L2 cache, exponentials, launching.

    They bound everything else. Matrices are random: zeros are multiplied faster.
    """
    source = torch.randn(1 << 28, device="cuda")
    target = torch.empty_like(source)
    copy = spread(timed(lambda _: target.copy_(source), [{}]))["median"]
    like: dict[str, Any] = {"device": "cuda", "dtype": torch.bfloat16}
    left, right = (torch.randn(8192, 8192, **like) for _ in range(2))
    product = spread(timed(lambda _: left @ right, [{}]))["median"]
    rates = {}
    for name, (call, amount) in _amounts().items():
        rates[name] = amount / spread(timed(partial(_called, call), [{}]))["median"]
    one = torch.zeros(1, device="cuda")
    eager = spread(_events([lambda: one.add_(1)]))["median"]
    replay = spread(_events([_captured(lambda _: one.add_(1), {}).replay]))["median"]
    return {
        "record": "ceilings",
        "copy_tb_s": round(2 * source.numel() * 4 / copy / 1e6, 3),
        "matmul_bf16_tflops": round(2 * 8192**3 / product / 1e6, 1),
        "l2_read_tb_s": round(rates["read"] / 1e6, 3),
        "exp_per_s": rates["exp"] * 1e6,
        "fp32_tflops": round(2 * rates["fma"] / 1e6, 2),
        "launch_us": {"eager": eager, "graph": replay},
    }


def _called(call: Callable[[], Any], _: Operands) -> Any:
    return call()


def _amounts() -> dict[str, tuple[Callable[[], Any], int]]:
    """Bytes from L2, exponentials, and multiply-adds, each with the call that has them."""
    long = Load(turns=512)
    return {
        "read": read(Load(), "cuda"),
        "exp": chain(exp_kernel, long, "cuda"),
        "fma": chain(fma_kernel, long, "cuda"),
    }


def peak(call: Callable[[], Any]) -> int:
    """Bytes that a call allocates at most beside what there is."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def share(call: Callable[[], Any]) -> float | None:
    """The part of the GPU's time that a call spends in kernels of ours; None if nothing ran."""
    kind = torch.profiler.ProfilerActivity.CUDA
    with torch.profiler.profile(activities=[kind]) as profile:
        call()
        torch.cuda.synchronize()
    events = [event for event in profile.key_averages() if str(event.device_type).endswith("CUDA")]
    times = {event.key: event.self_device_time_total for event in events}
    total = sum(times.values())
    return sum(us for name, us in times.items() if ours(name)) / total if total else None


MACHINE = Machine(
    device="cuda",
    dtype=torch.bfloat16,
    timed=timed,
    env=env,
    ceilings=ceilings,
    peak=peak,
    share=share,
    compiles=True,
    release=torch.cuda.empty_cache,
)
