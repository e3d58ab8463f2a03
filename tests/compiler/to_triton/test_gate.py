"""The offline gate: compiled code of every kernel and configuration, read in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from compiler.to_triton.gate.cases import cases

ROOT = Path(__file__).resolve().parents[3]
ARCHES = ("sm_80", "sm_90", "gfx942")

NEGATIVE = """
import dataclasses, json, sys
from compiler.to_triton.gate import conv
from compiler.to_triton.gate.compile import compiled
from compiler.to_triton.gate.rules import faults
case = conv.case("m64n64w4", unaligned=True)
print(json.dumps(list(faults(case, compiled(case, "sm_90"), "sm_90"))))
"""


def child(*command: str, cache: Path) -> str:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], env=env, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


SHARE = {"sm_80": 3, "sm_90": 1, "gfx942": 3}
"""Each so many cases are compiled in a run of the tests, all of them to renew the tables."""


@pytest.fixture(scope="module", params=ARCHES)
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    cache, arch = tmp_path_factory.mktemp("triton"), request.param
    all_of_them = request.config.getoption("--update-golden") or os.environ.get("SEGDSL_GATE")
    every = 1 if all_of_them else SHARE[arch]
    command = ["-m", "compiler.to_triton.gate", "--arch", arch, "--every", str(every), "--json"]
    return [json.loads(line) for line in child(*command, cache=cache).splitlines()]


def test_no_rule_is_broken(rows: list[Mapping[str, Any]]) -> None:
    assert rows
    assert [(row["case"], row["faults"]) for row in rows if row["faults"]] == []


def test_the_table_is_known(rows: list[Mapping[str, Any]], golden: Any) -> None:
    """Registers, memory and instructions of the pinned compiler; `make golden` renews them.

    Of tables that are compiled in part, the other rows are those of the cases that are left out.
    """
    arch = rows[0]["arch"]
    columns = ("registers", "stack", "shared", "matrix", "matrix_count", "copies", "wide_loads")
    lines = [" ".join(["case", *columns])]
    found = {row["case"]: " | ".join(str(row[c]) for c in ("case", *columns)) for row in rows}
    if len(rows) < len(names := [case.name for case in cases(arch)]):
        table = (ROOT / f"tests/golden/triton/{arch}.txt").read_text().splitlines()[1:]
        left_out = {line.split(" | ")[0]: line for line in table}
        found = {name: found.get(name) or left_out.get(name, "missing") for name in names}
    golden(f"triton/{arch}.txt", "\n".join([*lines, *found.values()]) + "\n")


def test_names_are_unique(rows: list[Mapping[str, Any]]) -> None:
    names = [row["case"] for row in rows]
    assert len(set(names)) == len(names)


def test_the_gate_can_fail(tmp_path: Path) -> None:
    """Without the promise of alignment the same kernel has no wide copies."""
    assert any("16 bytes" in fault or "asynchronous" in fault
               for fault in json.loads(child("-c", NEGATIVE, cache=tmp_path)))  # fmt: skip


def test_interpreted_kernels_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "compiler.to_triton.gate", "--arch", "sm_90"],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert "TRITON_INTERPRET" in done.stderr
