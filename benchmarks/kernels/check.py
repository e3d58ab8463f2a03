"""Correctness before time: every configuration against float64, and against itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.case import Case, Operands, widened
from benchmarks.kernels.stats import GATES

WORSE = 1.5
"""At most this times the error of the library on the same operands."""

FLOOR = {"bfloat16": 1.6e-3, "float16": 2.1e-4, "float32": 2e-7}
"""The error of one correct rounding: half of it is luck, so a library below it sets no bar."""


def error(case: Case, y: Tensor, reference: Tensor) -> float:
    """The distance from float64, as norms; of whole numbers the share of unequal ones."""
    if case.exact:
        return float((y != reference).double().mean())
    return float((y.double() - reference).norm() / reference.norm())


def check(
    case: Case, name: str, given: Operands, reference: Tensor, library: float
) -> dict[str, Any]:
    """What one configuration computes: `pass`, the error, its gate, and why it failed."""
    gate = GATES["exact" if case.exact else case.dtype]
    if not case.exact:
        gate = min(gate, max(WORSE * library, WORSE * FLOOR[case.dtype]))
    try:
        first = case.launch(given, case.configs[name])
        again = case.launch(given, case.configs[name])
    except Exception as failure:  # a configuration that does not compile or launch is a result
        reason = f"{type(failure).__name__}: {str(failure).splitlines()[0] if str(failure) else ''}"
        return {"pass": False, "error": None, "gate": gate, "reason": reason}
    found = error(case, first, reference)
    same = torch.equal(first, again)
    reason = "" if same else "two runs differ"
    if not found <= gate:
        reason = f"error {found:.3g} above {gate:.3g}"
    return {
        "pass": not reason,
        "error": found,
        "gate": gate,
        "library_error": library,
        "bit_repeat": same,
        "reason": reason,
    }


def checked(case: Case, device: str, seed: int = 0) -> dict[str, dict[str, Any]]:
    """All configurations of a case, on fresh operands."""
    given = case.make(device, seed)
    reference = case.reference(widened(given))
    library = error(case, case.reference(given), reference)
    return {name: check(case, name, given, reference, library) for name in case.configs}


Timer = Callable[[Callable[[Operands], Any], list[Operands]], list[float]]
"""Times a call on rotated operands: microseconds of each repetition."""


def _launched(case: Case, config: Any, given: Operands) -> Tensor:
    return case.launch(given, config)


def measured(case: Case, device: str, timer: Timer, sets: int) -> dict[str, Any]:
    """The record of a case: what is right, then how long that takes, then the others.

    The library is timed before and after: a difference within its own spread is noise.
    """
    from benchmarks.kernels.stats import spread

    record: dict[str, Any] = {"record": "case", "kernel": case.kernel, "key": case.key}
    record |= {"dtype": case.dtype, "flops_dense": case.flops, "flops_useful": case.useful}
    record |= {"bytes": case.moved, "sets": sets, "configs": {}, "baselines_us": {}}
    right = checked(case, device)
    rotated = [case.make(device, seed) for seed in range(1, sets + 1)]
    for name, call in case.baselines.items():
        try:
            record["baselines_us"][name] = spread(timer(call, rotated))
        except Exception as failure:  # a library call that this machine lacks is told, not hidden
            record.setdefault("baselines_failed", {})[name] = f"{type(failure).__name__}: {failure}"
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
