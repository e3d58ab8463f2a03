from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compiler.weights import Weights
from compiler.weights.files import read_safetensors
from compiler.weights.mapped import Passing, _mapping

ROOT = Path(__file__).parents[3]


def table() -> Weights:
    generator = np.random.default_rng(0)
    shapes = {"a": (7,), "b": (300, 50), "c": (), "d": (0, 3), "e": (5000,)}
    return Weights({name: generator.normal(size=shape) for name, shape in shapes.items()})


def test_values_are_those_of_the_file_each_time(tmp_path: Path) -> None:
    weights = table()
    weights.to_safetensors(tmp_path / "w.safetensors")
    arrays = Weights(read_safetensors(tmp_path / "w.safetensors"))
    passing = Passing(arrays)
    assert list(passing) == list(arrays)
    assert len(passing) == len(arrays)
    for _ in range(2):
        for name in passing:
            assert np.array_equal(passing[name], weights[name])
            assert passing[name].shape == weights[name].shape
    assert all(np.array_equal(arrays[name], weights[name]) for name in arrays)


def test_arrays_of_a_file_are_copied_and_others_are_not(tmp_path: Path) -> None:
    weights = table()
    assert Passing(weights)["b"] is weights["b"]
    weights.to_safetensors(tmp_path / "w.safetensors")
    arrays = Weights(read_safetensors(tmp_path / "w.safetensors"))
    assert _mapping(arrays["b"]) is not None
    assert _mapping(Passing(arrays)["b"]) is None


SCRIPT = """
import sys
import numpy as np
from compiler.weights import Weights
from compiler.weights.files import read_safetensors
from compiler.weights.mapped import Passing
def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
arrays = Weights(read_safetensors(sys.argv[1]))
table = Passing(arrays) if sys.argv[2] == "passing" else arrays
begin, most = resident(), 0
for name in table:
    float(table[name].sum())
    most = max(most, resident())
print(most - begin)
"""


def grown(file: Path, how: str) -> int:
    """Bytes by which memory grows when all arrays are read once."""
    command = [sys.executable, "-c", SCRIPT, str(file), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory in use is told by /proc")
def test_memory_stays_that_of_one_array(tmp_path: Path) -> None:
    """40 arrays of a MiB."""
    mib = 1 << 20
    arrays = {f"w{i}": np.full(mib // 4, i, np.float32) for i in range(40)}
    Weights(arrays).to_safetensors(tmp_path / "w.safetensors")
    assert grown(tmp_path / "w.safetensors", "mapped") >= 38 * mib
    assert grown(tmp_path / "w.safetensors", "passing") <= 10 * mib
