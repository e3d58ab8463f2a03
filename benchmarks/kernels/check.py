"""Correctness before time: every configuration against float64, and against itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.case import Case, Operands, Result, parts, widened
from benchmarks.kernels.stats import GATES, spread

WORSE = 1.5
"""At most this times the error of the library on the same operands."""

FLOOR = {"bfloat16": 1.6e-3, "float16": 2.1e-4, "float32": 2e-7}
"""The error of one correct rounding: half of it is luck, so a library below it sets no bar."""


def error(case: Case, y: Result, reference: Result) -> float:
    """The distance from float64, as norms; of whole numbers the share of unequal ones.

    Of several maps the largest: a small gradient does not hide behind a large one.
    """
    pairs = zip(parts(y), parts(reference), strict=True)
    each = [_distance(case, part, right) for part, right in pairs]
    return math.nan if any(map(math.isnan, each)) else max(each)


def _distance(case: Case, y: Tensor, reference: Tensor) -> float:
    if case.exact:
        return float((y != reference).double().mean())
    return float((y.double() - reference).norm() / reference.norm())


def worst(y: Result, reference: Result) -> float:
    """The largest single error, in root mean squares of the reference."""
    pairs = zip(parts(y), parts(reference), strict=True)
    return max(
        float((part.double() - right).abs().max() / right.double().square().mean().sqrt())
        for part, right in pairs
    )


def poison(y: Result) -> None:
    """Spoil a result before its memory is given back: what is not written anew then shows."""
    for part in parts(y):
        part.fill_(math.nan if part.is_floating_point() else -1)


def check(
    case: Case, name: str, given: Operands, reference: Result, library: float
) -> dict[str, Any]:
    """What one configuration computes: `pass`, the error, its gate, and why it failed."""
    gate = GATES["exact" if case.exact else case.dtype] * case.chain**0.5
    if not case.exact:
        gate = min(gate, max(WORSE * library, WORSE * FLOOR[case.dtype]))
    try:
        began = time.perf_counter()
        first = case.launch(given, case.configs[name])
        found = error(case, first, reference)  # reads the result, and so waits for it
        seconds = time.perf_counter() - began
        kept = tuple(part.clone() for part in parts(first))
        poison(first)
        del first
        again = parts(case.launch(given, case.configs[name]))
    except Exception as failure:  # a configuration that does not compile or launch is a result
        return {"pass": False, "error": None, "gate": gate, "reason": said(failure)}
    same = all(map(torch.equal, kept, again))
    reason = "" if same or case.atomic else "two runs differ"
    second = error(case, again, parts(reference))
    for each in (second, found):
        if not each <= gate:
            reason = f"error {each:.3g} above {gate:.3g}"
    return {
        "pass": not reason,
        "error": found,
        "gate": gate,
        "library_error": library,
        "max_over_rms": None if case.exact else worst(kept, parts(reference)),
        "nan_left": sum(int(part.isnan().sum()) for part in (*kept, *again)),
        "bit_repeat": same,
        "first_call_s": round(seconds, 3),
        "reason": reason,
    }


def said(failure: Exception) -> str:
    """A failure in one line."""
    return f"{type(failure).__name__}: {(str(failure).splitlines() or [''])[0]}"


def checked(case: Case, device: str, seed: int = 0) -> dict[str, dict[str, Any]]:
    """All configurations of a case, on fresh operands."""
    given = case.make(device, seed)
    reference = case.reference(widened(given))
    library = error(case, case.reference(given), reference)
    return {name: check(case, name, given, reference, library) for name in case.configs}


Timer = Callable[[Callable[[Operands], Any], list[Operands]], list[float]]
"""Times a call on rotated operands: microseconds of each repetition."""


def _launched(case: Case, config: Any, given: Operands) -> Result:
    return case.launch(given, config)


def measured(
    case: Case, device: str, timer: Timer, sets: int, *, compiles: bool = True
) -> dict[str, Any]:
    """The record of a case: what is right, then how long that takes, then the others.

    The library is timed before and after: a difference within its own spread is noise. Without
    `compiles` it is not asked under `torch.compile`.
    """
    record: dict[str, Any] = {"record": "case", "kernel": case.kernel, "key": case.key}
    record |= {"dtype": case.dtype, "flops_dense": case.flops, "flops_useful": case.useful}
    record |= {"bytes": case.moved, "gathered": case.gathered, "matrix": case.matrix}
    record |= {"exponentials": case.exponentials, "sets": sets}
    record |= {"configs": {}, "baselines_us": {}}
    right = checked(case, device)
    rotated = [case.make(device, seed) for seed in range(1, sets + 1)]
    for name, call in case.baselines.items():
        if name == "compile" and not compiles:
            continue
        try:
            record["baselines_us"][name] = spread(timer(call, rotated))
        except Exception as failure:  # a library call that this machine lacks is told, not hidden
            record.setdefault("baselines_failed", {})[name] = said(failure)
    for name, correct in right.items():
        run: dict[str, Any] = {"correct": correct}
        if correct["pass"]:
            config = case.configs[name]
            run["ours_us"] = spread(timer(partial(_launched, case, config), rotated))
        record["configs"][name] = run
    first = min(
        record["baselines_us"], key=lambda n: record["baselines_us"][n]["median"], default=None
    )
    if first is not None:
        record["baseline_repeat_us"] = spread(timer(case.baselines[first], rotated))
    return record
