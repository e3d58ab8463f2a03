"""`benchmarks/fuzz.py`: its record adds up, its seeds go on, and what breaks a target is kept."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
fuzz: Any = importlib.import_module("benchmarks.fuzz")


def test_a_campaign_adds_to_its_record(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    command = [
        sys.executable, str(ROOT / "benchmarks/fuzz.py"), "--engine", "plain", "keymap",
        "--runs", "30", "--chunk", "20", "--folder", str(tmp_path / "work"),
        "--record", str(record), "--commit", "none",
    ]  # fmt: skip
    for inputs, chunks in ((30, 2), (60, 4)):
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
        entry = json.loads(record.read_text())["keymap"]["plain"]
        assert (entry["inputs"], entry["chunks"]) == (inputs, chunks)
        assert (entry["findings"], entry["ended_early"]) == ([], [])
        assert entry["cpu_seconds"] > 0
    (tmp_path / "work" / "stop").touch()
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert json.loads(record.read_text())["keymap"]["plain"]["chunks"] == 4


def test_what_breaks_a_target_is_kept_once_and_short(tmp_path: Path) -> None:
    def target(data: bytes) -> None:
        assert b"x" not in data, "an x"

    test = fuzz.guarded(target, tmp_path / "findings")
    for data in (b"aaxa", b"ok", b"ax", b"aaaax"):
        test(data)
    (kept,) = (tmp_path / "findings").glob("*.bin")
    assert kept.read_bytes() == b"ax"
    assert "an x" in kept.with_suffix(".txt").read_text()


def test_what_takes_too_long_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SLOW", -1.0)
    fuzz.guarded(len, tmp_path)(b"anything")
    (kept,) = tmp_path.glob("*.bin")
    assert "processor time" in kept.with_suffix(".txt").read_text()
