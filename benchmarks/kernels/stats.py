"""What figures are made of: medians with their spread, gates, winners. Nothing here needs a GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

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


def entry(record: Mapping[str, Any], env: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of the router's table for a measured case: its winner, and who was rejected."""
    right = {name: run for name, run in record["configs"].items() if run["correct"]["pass"]}
    timed = {name: run for name, run in right.items() if "ours_us" in run}
    rejected = {n: r["correct"]["reason"] for n, r in record["configs"].items() if n not in right}
    best = min(timed, key=lambda name: timed[name]["ours_us"]["median"]) if timed else None
    base = {name: times["median"] for name, times in record["baselines_us"].items()}
    fair = best is not None and base
    return {
        "key": record["key"],
        "config": best,
        "correct": best is not None,
        "speedup": round(min(base.values()) / timed[best]["ours_us"]["median"], 4) if fair else 0.0,
        "ours_us": timed[best]["ours_us"] if best is not None else None,
        "baselines_us": record["baselines_us"],
        "error": timed[best]["correct"]["error"] if best is not None else None,
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
