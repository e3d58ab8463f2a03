"""`benchmarks/gpu.py` without a GPU: cases, figures, records, and the check of correctness."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import need

need("triton")
need("torch")

import torch  # noqa: E402
import triton  # noqa: E402

from benchmarks import gpu  # noqa: E402
from benchmarks.kernels import (  # noqa: E402
    ceilings,
    check,
    conv,
    coverage,
    dcnv3,
    dcnv3_backward,
    networks,
    stats,
    suites,
)
from benchmarks.kernels.case import Case, Operands, parts, size_of  # noqa: E402
from compiler import to_triton  # noqa: E402
from compiler.to_triton.kernels import dcnv3 as kernels_dcnv3  # noqa: E402
from compiler.to_triton.kernels import router  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.prepare import fused_graph  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.support.programs import graph as program  # noqa: E402
from tests.support.programs import net  # noqa: E402

interpreted = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")
ENV = {name: f"the {name}" for name in ("commit", "driver", "torch", "cudnn")}
ENV["triton"] = str(triton.__version__)


def test_cases_are_many_and_their_keys_differ() -> None:
    cases = suites.chosen(list(suites.SUITES))
    keys = [case.key for case in cases]
    assert len(set(keys)) == len(keys)
    known = {"conv", "aspp", "upsample_argmax", "dcnv3", "dcnv3_backward"}
    known |= {"window_filter", "lattice", "dense_crf"}
    assert {case.kernel for case in cases} >= known
    assert {case.dtype for case in cases} == {"bfloat16", "float16", "float32"}
    for case in cases:
        assert 0 < case.useful <= case.flops
        operands = case.make("meta", 0)
        assert size_of(operands) > 0
        assert {part.device.type for part in parts(case.reference(operands))} == {"meta"}
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
    assert found["triton"] == triton.__version__
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
        router.measured.cache_clear()
        monkeypatch.setattr(triton, "__version__", "3.1000.0")
        assert router.measured() == {}
        router.measured.cache_clear()
        monkeypatch.undo()
        monkeypatch.setattr(router, "TABLE", path)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "another GPU")
        assert router.measured() == {}
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

    def spoilt(given: Operands, config: Any) -> tuple[torch.Tensor, ...]:
        """Wrong in the last map alone."""
        *right, y = (part.clone() for part in parts(case.launch(given, config)))
        y[:, :, 0] += 1
        return (*right, y)

    first = next(iter(case.configs))
    given = case.make("cpu", 0)
    reference = parts(case.reference({k: _double(v) for k, v in given.items()}))
    bad = Case(**{**vars(case), "launch": spoilt})
    assert "above" in check.check(bad, first, given, reference, 0.0)["reason"]
    broken = Case(**{**vars(case), "launch": lambda given, config: 1 / 0})
    told = check.check(broken, first, given, reference, 0.0)
    assert told["reason"] == "ZeroDivisionError: division by zero"

    def gone(given: Operands, config: Any) -> tuple[torch.Tensor, ...]:
        found = parts(case.launch(given, config))
        return tuple(part * (-1 if case.exact else math.nan) for part in found)

    lost = check.check(Case(**{**vars(case), "launch": gone}), first, given, reference, 0.0)
    assert not lost["pass"]
    assert case.exact or lost["nan_left"] == 2 * sum(part.numel() for part in reference)


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


@interpreted
def test_what_is_written_nowhere_shows() -> None:
    """The memory of a result is spoilt before the second run gets it."""
    case = dcnv3.small()
    held: list[torch.Tensor] = []

    def lazy(given: Operands, config: Any) -> torch.Tensor:
        held.append(case.launch(given, config) if not held else held[0])  # type: ignore[arg-type]
        return held[0]

    given = case.make("cpu", 0)
    found = check.check(
        Case(**{**vars(case), "launch": lazy}), "r64c16w4", given, case.reference(given), 1e-6
    )
    assert not found["pass"]
    assert found["nan_left"] == held[0].numel()
    assert found["reason"] == "error nan above 1e-06"


def test_gathers_of_the_design() -> None:
    """Bytes of DCNv3 in the stages of InternImage-T, counted there by hand."""
    cases = [dcnv3.case(shape, "bfloat16") for shape in dcnv3.STAGES]
    assert [round(case.moved / 1e6, 1) for case in cases] == [30.9, 15.5, 7.7, 3.9]
    assert [round(case.gathered / 1e6) for case in cases] == [302, 151, 75, 38]
    assert [case.key.endswith(" slices") for case in cases] == [True] * 4
    official = next(case for case in dcnv3.cases() if "64x128x56x56" in case.key)
    assert official.moved == pytest.approx(146e6, rel=0.01)
    assert "scale=2" in official.key
    back = dcnv3_backward.cases()[0]
    assert back.key.startswith("dcnv3_backward bfloat16")
    assert (back.atomic, back.matrix) == (True, False)


RATES = {
    "copy_tb_s": 4.3,
    "matmul_bf16_tflops": 790.0,
    "fp32_tflops": 60.0,
    "l2_read_tb_s": 5.5,
    "exp_per_s": 4e12,
}
"""Those of the design."""


def test_floors_are_those_of_the_design() -> None:
    """Stage 1 of InternImage-T: 7.2 us by bytes, 55 us if L1 holds nothing."""
    timed: dict[str, Any] = {"configs": {}, "baselines_us": {}}
    case = dcnv3.case(dcnv3.STAGES[0], "bfloat16")
    found = stats.figures(described(case) | timed, RATES)
    assert found["floors_us"]["memory"] == pytest.approx(7.2, abs=0.05)
    assert found["floors_us"]["l2"] == pytest.approx(55, abs=0.5)
    assert (found["bound"], found["floor_us"]) == ("l2", found["floors_us"]["l2"])
    assert (found["selected"], found["reason"]) == (False, "no configuration is right")
    plain = conv.case(conv.Shape(1, 512, 128, 256, 512, dilation=4), "bfloat16")
    found = stats.figures(described(plain) | timed, RATES)
    assert (round(found["floor_us"]), found["bound"]) == (196, "flops")
    wide = conv.case(conv.Shape(1, 512, 128, 256, 512, dilation=4), "float32")
    found = stats.figures(described(wide) | timed, RATES)
    assert found["floors_us"]["flops"] == pytest.approx(196 * 790 / 60, rel=0.01)


def described(case: Case) -> dict[str, Any]:
    """A case as its record describes it."""
    same = {"gathered": case.gathered, "matrix": case.matrix, "exponentials": case.exponentials}
    work = {"flops_dense": case.flops, "flops_useful": case.useful, "bytes": case.moved}
    return {"record": "case", "key": case.key, "dtype": case.dtype, **same, **work}


@pytest.mark.parametrize(
    ("ours", "again", "selected", "reason"),
    [
        (10.0, 12.5, True, "measured 1.20x"),
        (11.9, 12.5, False, "no gain 1.01x"),
        (13.0, 12.5, False, "slower 0.92x"),
        (10.0, 10.2, False, "no gain 1.02x"),
    ],
)
def test_figures(ours: float, again: float, selected: bool, reason: str) -> None:
    """The library counts with the better of its two times."""
    case = dcnv3.case(dcnv3.STAGES[0], "float16")
    runs = record(a=(True, ours), b=(True, 99.0), c=(False, 1.0))
    runs |= {"baseline_repeat_us": stats.spread([again])}
    found = stats.figures({**described(case), **runs}, RATES)
    assert (found["selected"], found["reason"], found["config"]) == (selected, reason, "a")
    assert found["of_floor"] == pytest.approx(54.9 / ours, rel=1e-3)
    assert found["gb_s"] == pytest.approx(30.9e6 / ours / 1e3, rel=1e-2)
    assert stats.entry({**described(case), **runs}, ENV)["speedup"] == found["speedup"]
    alone = stats.figures({**described(case), **runs, "baselines_us": {}}, RATES)
    assert (alone["selected"], alone["reason"]) == (False, "no baseline ran")


MEASURED = {"record": "env", "gpu": "A GPU", "cuda": "13.0", **ENV}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "table.json"
    path.write_text('{"device": null, "entries": []}')
    monkeypatch.setattr(gpu, "TABLE", path)
    monkeypatch.setattr(router, "TABLE", path)
    router.measured.cache_clear()
    return path


def test_one_command_from_the_figures_to_the_table(table: Path, tmp_path: Path) -> None:
    """A kernel that loses, or that is wrong, stands there and is not selected."""
    given = dcnv3.small()
    rows = [
        record(given.key, r64c16w4=(True, 10.0), r128c16w4=(True, 11.0)),
        record("loses", r64c16w4=(True, 13.0)),
        record("wrong", r64c16w4=(False, 1.0)),
    ]
    path = tmp_path / "r.json"
    gpu.replace(path, {"schema": 1, "records": [MEASURED, *rows, {"record": "end"}]})
    assert gpu.main(["--record", str(path)]) == 0
    found = json.loads(table.read_text())
    assert found["device"] == "A GPU"
    assert [row["key"] for row in found["entries"]] == sorted([given.key, "loses", "wrong"])
    try:
        assert router.measured() == {given.key: "r64c16w4"}
        if not INTERPRETED:
            return
        operands = given.make("cpu", 0)
        maps = (operands["x"], operands["offset"], operands["mask"])
        numbers = vars(dcnv3.Shape(1, 12, 4, 5, 3).how).values()
        with router.recorded() as routes:
            kernels_dcnv3.dcnv3(*maps, *numbers)
        assert routes == {given.key: "r64c16w4"}
    finally:
        router.measured.cache_clear()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name"),
        ("[1]", "was not written by this script"),
        ('{"schema": 2, "records": [1]}', "was not written by this script"),
        ('{"schema": 1, "records": [{"record": "case"}]}', "no GPU was measured"),
        ('{"schema": 1, "records": [{"record": "env", "cuda": null}]}', "no GPU was measured"),
        (json.dumps({"schema": 1, "records": [MEASURED, {"record": "case"}]}), "KeyError"),
        ('{"schema": 1, "records": [1]}', "was not written by this script"),
        (json.dumps({"schema": 1, "records": [MEASURED | {"gpu": "B"}]}), "the table is of A GPU"),
    ],
)
def test_files_that_are_no_figures(
    text: str, why: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_text('{"device": "A GPU", "entries": []}')
    before = table.read_bytes()
    (tmp_path / "r.json").write_text(text)
    assert gpu.main(["--record", str(tmp_path / "r.json")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("nothing was written: ")
    assert why in said
    assert gpu.main(["--record", str(tmp_path / "none.json")]) == 2
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [["--dry", "--tune"], ["--record", "x", "--dry"], ["--record", "x", "--only", "c"], ["--dry"]],
)
def test_options_that_contradict_each_other(options: list[str], tmp_path: Path) -> None:
    out = [] if "--record" in options or options == ["--dry"] else ["--out", str(tmp_path / "r")]
    with pytest.raises(SystemExit) as refused:
        gpu.main([*out, *options])
    assert refused.value.code == 2
    assert list(tmp_path.iterdir()) == []


@interpreted
def test_a_rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the GPU: a case, a network, figures, and a whole file at the end."""
    broken = dcnv3_backward.small()
    broken = Case(**{**vars(broken), "make": lambda device, seed: 1 / 0})
    monkeypatch.setattr(suites, "SUITES", {"dcnv3": dcnv3, "broken": Small(broken)})
    path = tmp_path / "r.json"
    assert gpu.main(["--dry", "--out", str(path)]) == 1
    found = json.loads(path.read_text())
    env, ceilings, case, skipped, network, end = found["records"]
    assert (env["record"], env["cuda"]) == ("env", None)
    assert set(RATES) < set(ceilings)
    assert case["key"] == dcnv3.small().key
    assert "compile" not in case["baselines_us"]
    assert case["baselines_failed"] == {"official": "ModuleNotFoundError: No module named 'DCNv3'"}
    assert case["floor_us"] > 0
    assert all(run["correct"]["first_call_s"] >= 0 for run in case["configs"].values())
    assert skipped["why"] == "ZeroDivisionError: division by zero"
    assert set(network["policies"]) == {"measured", "all", "none"}
    shares = {how: row["coverage"] for how, row in network["policies"].items()}
    assert shares["all"]["macs"] == shares["all"]["possible"] > 0.5
    assert shares["all"]["library"] == []
    assert shares["measured"] == shares["none"]
    assert shares["none"]["macs"] == 0
    assert network["policies"]["all"]["rel_l2"] < 1e-5
    assert (end["record"], end["complete"]) == ("end", False)
    with pytest.raises(ValueError, match="no GPU was measured"):
        gpu.tune(found["records"])


class Small:
    """A suite with one case."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def small(self) -> Case:
        return self.case


def test_a_suite_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if not INTERPRETED:
        pytest.skip("a rehearsal interprets kernels")
    assert gpu.main(["--dry", "--out", str(tmp_path / "r.json"), "--suite", "convolution"]) == 2
    assert "there is no suite 'convolution': upsample" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@interpreted
def test_kernels_of_the_ceilings() -> None:
    """They read, exponentiate and multiply as much as they say."""
    load = ceilings.Load(megabytes=0.02, programs=3, turns=4)
    call, size = ceilings.read(load, "cpu")
    total = call().view(3, -1).sum(0)
    assert size == 4 * 4 * 4 * ceilings.BLOCK  # four blocks, four turns, four bytes
    again, _ = ceilings.read(replace(load, turns=1), "cpu")
    torch.manual_seed(0)
    assert total.shape == (ceilings.BLOCK,)
    assert float(total.mean()) == pytest.approx(
        4 * float(again().view(3, -1).sum(0).mean()), rel=0.05
    )
    for kernel, step in (
        (ceilings.exp_kernel, lambda x: torch.exp(-x)),
        (ceilings.fma_kernel, lambda x: x * 0.5 + 0.25),
    ):
        torch.manual_seed(1)
        call, steps = ceilings.chain(kernel, load, "cpu")
        torch.manual_seed(1)
        x = torch.rand(3 * ceilings.BLOCK)
        for _ in range(load.turns):
            x = step(x)
        assert steps == 4 * x.numel()
        assert torch.allclose(call(), x, rtol=1e-6)


def test_floors_of_networks() -> None:
    """DeepLabV3-R101 at the ceilings of the design, which counted 0.64 ms and 5.22 ms."""
    rows = [row for row in networks.NETWORKS if row.name == "deeplabv3"]
    graph = load("deeplabv3", **rows[0].settings)
    found = [networks.network_floor(graph, row.sizes, RATES) for row in rows]
    assert found == [pytest.approx(640, rel=0.01), pytest.approx(5220, rel=0.01)]


def test_every_kernel_is_known_by_name() -> None:
    names = coverage.kernel_names()
    assert {"conv_kernel", "aspp_kernel", "dcnv3_kernel", "dcnv3_backward_kernel"} <= names
    assert coverage.ours("conv_kernel")
    assert coverage.ours("conv_kernel_0d1d2")
    assert not coverage.ours("cudnn_conv_kernel")
    assert not coverage.ours("triton_poi_fused_conv_kernel")


def test_coverage_counts_what_ran() -> None:
    """A layer of DCNv3: its sampling alone; and a function, which has no module."""
    text = net(
        "f = image -> conv(16, 3, pad=1) @f\n"
        "g = f -> dcnv3(groups=2) @dcn -> conv(16, 1) @g\n"
        "output y = g -> resize(2x, mode=bilinear) -> argmax(channels)"
    )
    network = program(text)
    size, image = {"N": 1, "H": 5, "W": 6}, torch.rand(1, 3, 5, 6)
    module, fused = to_triton(network), fused_graph(network)
    counts = {}
    for how in ("all", "none"):
        with torch.no_grad(), router.policy(how):
            counts[how] = coverage.coverage(module, fused, size, lambda: module(image))
    part = 30 * (5 * 9 * 16 + 9 * 16 + 16 * 16)
    whole = part + 30 * 16 * (27 + 54 + 16 + 16)
    assert counts["all"]["possible"] == pytest.approx(part / whole, abs=1e-4)
    assert counts["none"]["macs"] == 0
    assert counts["none"]["regions"] == "0 of 3"
    if INTERPRETED:
        assert counts["all"]["macs"] == counts["all"]["possible"]
        assert counts["all"]["regions"] == "3 of 3"
        assert len(counts["none"]["library"]) == 4
