"""What figures are made of: medians with their spread, gates, winners. Nothing here needs a GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from compiler.to_triton.kernels.router import GAIN

GATES = {"bfloat16": 2.5e-3, "float16": 4e-4, "float32": 1e-6, "exact": 1e-3}
"""Largest |error| / |float64|, as norms; of whole numbers the share of unequal ones."""

ROTATED = 180e6
"""Bytes that the rotated inputs must exceed: three times the L2 of an H200."""

SETS = 3
LARGE = 60e6
"""One set of this many bytes leaves nothing of itself in the cache for the next call."""


def sets_needed(size: int) -> int:
    """How many sets of inputs of `size` bytes are rotated."""
    if size >= LARGE:
        return 1
    return max(SETS, math.floor(ROTATED / size) + 1)


def spread(samples: Sequence[float]) -> dict[str, float | int]:
    """Median, tenth and ninetieth percentile (linear between samples), and their number.

    Raises:
        ValueError: there is no sample.
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    named = {"median": 0.5, "p10": 0.1, "p90": 0.9}
    return {**{n: round(_quantile(ordered, q), 4) for n, q in named.items()}, "n": len(ordered)}


def _quantile(ordered: Sequence[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def floors(record: Mapping[str, Any], ceilings: Mapping[str, Any]) -> dict[str, float]:
    """Microseconds that no kernel can do without, by what bounds it.

    Bytes that must pass the memory once, multiplications, all reads through the L2 cache, and
    exponentials, each at the rate that this GPU was measured to have.
    """
    halves = record["matrix"] and record["dtype"] != "float32"
    peak = ceilings["matmul_bf16_tflops"] if halves else ceilings["fp32_tflops"]
    found = {
        "memory": record["bytes"] / ceilings["copy_tb_s"] / 1e6,
        "flops": record["flops_useful"] / peak / 1e6,
        "l2": record["gathered"] / ceilings["l2_read_tb_s"] / 1e6,
        "exp": record["exponentials"] / ceilings["exp_per_s"] * 1e6,
    }
    return {name: round(us, 4) for name, us in found.items()}


def figures(record: Mapping[str, Any], ceilings: Mapping[str, Any]) -> dict[str, Any]:
    """What a case comes to: the best of ours beside the best of the others and the floors."""
    best, base = fastest(record), best_baseline(record)
    bounds = floors(record, ceilings)
    limit = max(bounds, key=lambda name: bounds[name])
    found: dict[str, Any] = {"floors_us": bounds, "floor_us": bounds[limit], "bound": limit}
    if best is None:
        return {**found, "selected": False, "reason": "no configuration is right"}
    ours = record["configs"][best]["ours_us"]["median"]
    found |= {
        "config": best,
        "of_floor": round(bounds[limit] / ours, 4),
        "tflops_dense": round(record["flops_dense"] / ours / 1e6, 3),
        "tflops_useful": round(record["flops_useful"] / ours / 1e6, 3),
        "gb_s": round(record["bytes"] / ours / 1e3, 1),
    }
    if base is None:
        return {**found, "selected": False, "reason": "no baseline ran"}
    speedup = round(base / ours, 4)
    selected = speedup >= GAIN
    verb = "measured" if selected else "slower" if speedup < 1 else "no gain"
    return {**found, "speedup": speedup, "selected": selected, "reason": f"{verb} {speedup:.2f}x"}


def fastest(record: Mapping[str, Any]) -> str | None:
    """The fastest configuration that is right."""
    timed = {n: r["ours_us"]["median"] for n, r in record["configs"].items() if "ours_us" in r}
    right = [name for name in timed if record["configs"][name]["correct"]["pass"]]
    return min(right, key=lambda name: timed[name], default=None)


def best_baseline(record: Mapping[str, Any]) -> float | None:
    """Microseconds of the best library call, at its better time where it was timed twice."""
    times = [times["median"] for times in record["baselines_us"].values()]
    again = record.get("baseline_repeat_us")
    return min([*times, *([again["median"]] if again else [])], default=None) if times else None


def entry(record: Mapping[str, Any], env: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of the router's table for a measured case: its winner, and who was rejected."""
    runs, best, base = record["configs"], fastest(record), best_baseline(record)
    rejected = {n: r["correct"]["reason"] for n, r in runs.items() if not r["correct"]["pass"]}
    ours = runs[best]["ours_us"] if best is not None else None
    return {
        "key": record["key"],
        "config": best,
        "correct": best is not None,
        "speedup": round(base / ours["median"], 4) if ours and base else 0.0,
        "ours_us": ours,
        "baselines_us": record["baselines_us"],
        "error": runs[best]["correct"]["error"] if best is not None else None,
        "rejected": rejected,
        **{name: env[name] for name in ("commit", "driver", "torch", "cudnn", "triton")},
    }


def merged(
    table: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], device: str
) -> dict[str, Any]:
    """The table with new entries in the place of old ones of their key, in order of keys.

    Raises:
        ValueError: the table is of another device.
    """
    if table["device"] not in (None, device):
        raise ValueError(f"the table is of {table['device']}, this is {device}")
    rows = {row["key"]: dict(row) for row in [*table["entries"], *entries]}
    return {"device": device, "entries": [rows[key] for key in sorted(rows)]}
