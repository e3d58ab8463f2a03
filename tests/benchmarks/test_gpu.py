"""`benchmarks/gpu.py` without a GPU: cases, figures, records, and the check of correctness."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import need

need("triton")
need("torch")

import torch  # noqa: E402

from benchmarks import gpu  # noqa: E402
from benchmarks.kernels import check, conv, stats, suites  # noqa: E402
from benchmarks.kernels.case import Case, Operands, size_of  # noqa: E402
from compiler.to_triton.kernels import router  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402

interpreted = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")
ENV = {name: f"the {name}" for name in ("commit", "driver", "torch", "cudnn", "triton")}


def test_cases_are_many_and_their_keys_differ() -> None:
    cases = suites.chosen(list(suites.SUITES))
    keys = [case.key for case in cases]
    assert len(set(keys)) == len(keys)
    assert {case.kernel for case in cases} == {"conv", "aspp", "upsample_argmax"}
    assert {case.dtype for case in cases} == {"bfloat16", "float16", "float32"}
    for case in cases:
        assert 0 < case.useful <= case.flops
        operands = case.make("meta", 0)
        assert size_of(operands) > 0
        assert case.reference(operands).device.type == "meta"
        assert case.configs
        assert len(case.baselines) >= 2
    assert [c.key for c in suites.chosen(["conv"], "1x512x128x256")] == [
        k for k in keys if k.startswith("conv") and "1x512x128x256" in k
    ]


def test_bytes_and_work_of_known_cases() -> None:
    """Figures of the design, counted there by hand."""
    case = conv.case(conv.Shape(1, 256, 128, 256, 1024, kernel=1, residual=True), "bfloat16")
    assert case.flops == pytest.approx(17.2e9, rel=2e-3)
    assert case.moved == pytest.approx((84 + 67) * 1e6, rel=0.01)
    (pyramid,) = suites.chosen(["aspp"], "bfloat16 8x2048x65x65")
    dense = 2 * 8 * 65 * 65 * 2048 * 256
    assert pyramid.flops == 28 * dense
    assert (pyramid.useful / dense - 1) / 27 == pytest.approx(0.578, abs=5e-4)


@pytest.mark.parametrize("size", [1000, 10**6, 59 * 10**6, 60 * 10**6, 10**9])
def test_rotated_inputs_do_not_stay_in_the_cache(size: int) -> None:
    count = stats.sets_needed(size)
    assert count == 1 if size >= 60e6 else count >= 3
    assert count == 1 or count * size > 180e6


def test_spread_is_that_of_the_library() -> None:
    torch.manual_seed(0)
    samples = torch.rand(37, dtype=torch.float64)
    found = stats.spread(samples.tolist())
    for name, share in (("median", 0.5), ("p10", 0.1), ("p90", 0.9)):
        assert found[name] == pytest.approx(float(samples.quantile(share)), abs=1e-4)
    assert found["n"] == 37
    with pytest.raises(ValueError, match="no samples"):
        stats.spread([])


def record(key: str = "conv k", **configs: tuple[bool, float]) -> dict[str, Any]:
    """A case: for every configuration whether it is right, and its microseconds."""
    runs: dict[str, dict[str, Any]] = {}
    for name, (right, time) in configs.items():
        runs[name] = {"correct": {"pass": right, "error": 1e-3, "reason": "" if right else "wrong"}}
        runs[name] |= {"ours_us": stats.spread([time] * 3)} if right else {}
    times = {"cudnn": stats.spread([20.0]), "compile": stats.spread([12.0])}
    return {"record": "case", "key": key, "configs": runs, "baselines_us": times}


def test_the_winner_is_the_fastest_that_is_right() -> None:
    found = stats.entry(record(a=(True, 11.0), b=(True, 10.0), c=(False, 1.0)), ENV)
    assert (found["config"], found["correct"], found["speedup"]) == ("b", True, 1.2)
    assert found["rejected"] == {"c": "wrong"}
    assert found["triton"] == "the triton"
    none = stats.entry(record(c=(False, 1.0)), ENV)
    assert (none["config"], none["correct"], none["speedup"]) == (None, False, 0.0)
    silent = {**record(a=(True, 1.0)), "baselines_us": {}}
    assert stats.entry(silent, ENV)["speedup"] == 0.0


def test_the_router_reads_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        stats.entry(record("fast", a=(True, 10.0)), ENV),
        stats.entry(record("slow", a=(True, 13.0)), ENV),
        stats.entry(record("even", a=(True, 11.9)), ENV),
        stats.entry(record("wrong", a=(False, 1.0)), ENV),
    ]
    table = stats.merged({"device": None, "entries": []}, entries, "A GPU")
    assert [row["key"] for row in table["entries"]] == ["even", "fast", "slow", "wrong"]
    again = stats.merged(table, [stats.entry(record("slow", b=(True, 6.0)), ENV)], "A GPU")
    assert len(again["entries"]) == 4
    with pytest.raises(ValueError, match="the table is of A GPU"):
        stats.merged(table, [], "another")
    path = tmp_path / "table.json"
    gpu.replace(path, again)
    monkeypatch.setattr(router, "TABLE", path)
    router.measured.cache_clear()
    try:
        assert router.measured() == {"fast": "a", "slow": "b"}
    finally:
        router.measured.cache_clear()


@interpreted
@pytest.mark.parametrize("name", suites.SUITES)
def test_right_kernels_pass_and_wrong_ones_are_told(name: str) -> None:
    case: Case = suites.SUITES[name].small()
    found = check.checked(case, "cpu")
    assert set(found) == set(case.configs)
    assert [(run["pass"], run["reason"]) for run in found.values()] == [(True, "")] * len(found)
    assert all(run["bit_repeat"] for run in found.values())

    def spoilt(given: Operands, config: Any) -> torch.Tensor:
        y = case.launch(given, config).clone()
        y[:, :, 0] += 1
        return y

    first = next(iter(case.configs))
    given = case.make("cpu", 0)
    reference = case.reference({k: _double(v) for k, v in given.items()})
    bad = Case(**{**vars(case), "launch": spoilt})
    assert "above" in check.check(bad, first, given, reference, 0.0)["reason"]
    broken = Case(**{**vars(case), "launch": lambda given, config: 1 / 0})
    told = check.check(broken, first, given, reference, 0.0)
    assert told["reason"] == "ZeroDivisionError: division by zero"
    nan = Case(**{**vars(case), "launch": lambda g, c: case.launch(g, c) * math.nan})
    assert not check.check(nan, first, given, reference, 0.0)["pass"]


def _double(value: Any) -> Any:
    if isinstance(value, list):
        return [_double(each) for each in value]
    return value.double() if isinstance(value, torch.Tensor) else value


@interpreted
def test_a_record_holds_times_of_right_configurations_only() -> None:
    case = conv.small()
    slow = [0.0]

    def timer(call: Callable[[Operands], Any], sets: list[Operands]) -> list[float]:
        slow[0] += 1
        return [slow[0]] * len(sets)

    some = dict(list(case.configs.items())[:2])
    baselines = {"eager": case.reference, "absent": lambda given: 1 / 0}

    def first_only(call: Callable[[Operands], Any], sets: list[Operands]) -> list[float]:
        call(sets[0])
        return timer(call, sets)

    short = Case(**{**vars(case), "configs": some, "baselines": baselines})
    found = check.measured(short, "cpu", first_only, 3)
    assert found["key"] == case.key
    assert set(found["baselines_us"]) == {"eager"}
    assert found["baselines_failed"] == {"absent": "ZeroDivisionError: division by zero"}
    assert all(run["ours_us"]["n"] == 3 for run in found["configs"].values())
    assert found["baseline_repeat_us"]["median"] > found["baselines_us"]["eager"]["median"]
    assert json.loads(json.dumps(found)) == found
    assert not gpu.wrong(found)
    found["configs"]["m128n128w4"]["correct"]["pass"] = False
    assert gpu.wrong(found)
    assert gpu.wrong({"record": "skipped"})


def test_the_file_is_whole_after_every_record(tmp_path: Path) -> None:
    log = gpu.Log(tmp_path / "r.json")
    for i in range(3):
        log.add({"record": "skipped", "key": str(i)})
        text = json.loads((tmp_path / "r.json").read_text())
        assert [row["key"] for row in text["records"]] == [str(j) for j in range(i + 1)]
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize("interpret", ["0", "1"])
def test_without_a_gpu_nothing_is_written(interpret: str, tmp_path: Path) -> None:
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": interpret}
    command = [sys.executable, str(gpu.ROOT / "benchmarks" / "gpu.py"), "--tune"]
    table = gpu.TABLE.read_bytes()
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "r.json")],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    why = "TRITON_INTERPRET" if interpret == "1" else "no CUDA device"
    assert done.stderr.startswith("nothing was measured: ")
    assert why in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert gpu.TABLE.read_bytes() == table
