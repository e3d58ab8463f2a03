"""What the scripts share: child processes with their CPU time and memory, medians, results on disk.

CPU time (user and system) is what the bars are held against: unlike wall time it does not count the
time that other programs had the processor. It still rises when they share its caches, so the load
of the machine is written beside every result.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the scripts run from a checkout, installed or not
RESULTS = ROOT / "benchmarks" / "results"
MIB_PER_UNIT = 2**-20 if sys.platform == "darwin" else 2**-10
"""`ru_maxrss` counts bytes on macOS and KiB elsewhere."""

SEGDSL = "import sys; from compiler.cli import main; sys.exit(main())"
"""What the console script `segdsl` runs."""


@dataclass(frozen=True)
class Run:
    """One finished child process.

    Attributes:
        cpu: seconds of user and system time.
        wall: seconds from start to end.
        peak: largest resident memory in MiB; never below that of this script, which starts it.
        output: what it wrote on stdout.
    """

    cpu: float
    wall: float
    peak: float
    output: str


def python(*arguments: str) -> list[str]:
    """The command that runs this Python."""
    return [sys.executable, *arguments]


def child(command: Sequence[str]) -> Run:
    """Run a command in the root of the repository.

    Raises:
        RuntimeError: it failed; the text ends with what it wrote on stderr.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=_environment(), cwd=ROOT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            err.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{err.read().decode()}")
        out.seek(0)
        cpu = usage.ru_utime + usage.ru_stime
        return Run(cpu, wall, usage.ru_maxrss * MIB_PER_UNIT, out.read().decode())


def _environment() -> dict[str, str]:
    """The caller's, but with compiled bytecode, as an installed package has it, and one thread."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def interleaved(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, list[Run]]:
    """Run the commands in turn, so that drift of the machine meets all alike; one warm-up each."""
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            run = child(command)
            if turn:
                found[name].append(run)
    return found


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, smallest and largest of some measurements, to four significant digits."""
    ordered = sorted(values)
    named = {"median": median(ordered), "min": ordered[0], "max": ordered[-1]}
    return {name: significant(value) for name, value in named.items()} | {"runs": len(ordered)}


def significant(value: float, digits: int = 4) -> float:
    """A number cut to its significant digits: the others are noise."""
    return float(f"{value:.{digits}g}")


def conditions(*packages: str) -> dict[str, Any]:
    """Versions, hardware in words and the load, which belong to every figure."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "hardware": f"{os.cpu_count()} cores, {instructions()}",
        "load_before": round(load, 1),
        "python": platform.python_version(),
        "system": platform.system(),
        **{name: _version(name) for name in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def instructions() -> str:
    """The widest vector instructions, or the kind of processor where they are not told."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return platform.machine()
    wide = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}
    return next((words for flag, words in wide.items() if flag in flags), platform.machine())


def verdict(value: float, bar: float, unit: str = "s") -> str:
    """The bar in words, with whether it is met."""
    return f"bar {bar:g} {unit}: {'met' if value <= bar else 'MISSED'}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns; numbers with three decimals."""
    texts = [list(head), *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    for row in texts:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


def write(name: str, results: Mapping[str, Any]) -> None:
    """Print the results as JSON and keep them in `results/`."""
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    print(text)
