"""Runs one random test for very many examples, in chunks of their own seed, and records it.

    python benchmarks/campaign.py receptive-fields --count 100000

A chunk is one pytest process with `--hypothesis-seed`, so a failure is repeated by its seed, and a
campaign that is stopped goes on where it was. The record names the commit it ran on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "campaigns"


@dataclass(frozen=True)
class Campaign:
    """A test, and the variable by which it takes its number of examples."""

    test: str
    variable: str
    chunk: int


CAMPAIGNS = {
    "receptive-fields": Campaign(
        "tests/segdsl/analysis/test_reach_programs.py::test_full_supports_are_what_torch_reads",
        "SEGDSL_RF_GRAPHS",
        2500,
    ),
    "targets": Campaign(
        "tests/compiler/to_onnx/test_fuzz.py::test_any_program", "SEGDSL_TARGET_PROGRAMS", 1000
    ),
}


@dataclass
class Record:
    """What ran: examples that passed, and the tail of the output of every chunk that failed."""

    campaign: str
    commit: str
    versions: dict[str, str]
    machine: str
    seconds: float = 0.0
    passed: int = 0
    seeds: list[int] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def fresh(name: str) -> Record:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    libraries = ("torch", "numpy", "hypothesis", "onnxruntime")
    return Record(name, commit, {lib: version(lib) for lib in libraries}, platform.machine())


def run_chunk(campaign: Campaign, seed: int, count: int) -> tuple[int, str | None, int]:
    """Runs one seed; returns the examples that passed, by Hypothesis' own statistics."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
        "--hypothesis-show-statistics", f"--hypothesis-seed={seed}", campaign.test,
    ]  # fmt: skip
    env = os.environ | {
        "SEGDSL_CAMPAIGN": "1",
        campaign.variable: str(count),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    passing = re.findall(r"(\d+) passing,", done.stdout)
    failure = None if done.returncode == 0 else done.stdout[-4000:]
    return seed, failure, sum(int(n) for n in passing) if failure is None else 0


def run(name: str, total: int, workers: int, first_seed: int) -> Record:
    """Runs chunks until `total` examples passed or a chunk failed."""
    campaign, file = CAMPAIGNS[name], RESULTS / f"{name}.json"
    record = fresh(name)
    started = time.perf_counter()
    RESULTS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(workers) as pool:
        seed = first_seed
        while record.passed < total and not record.failures:
            batch = range(seed, seed + workers)
            seed += workers
            for number, failure, passed in pool.map(
                lambda s: run_chunk(campaign, s, campaign.chunk), batch
            ):
                record.passed += passed
                record.seeds.append(number)
                if failure is not None:
                    record.failures[str(number)] = failure
            record.seconds = round(time.perf_counter() - started, 1)
            file.write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n")
            print(f"{name}: {record.passed} passed, {len(record.failures)} failed", flush=True)
    return record


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("campaign", choices=sorted(CAMPAIGNS))
    parser.add_argument("--count", type=int, required=True, help="examples that must pass")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=1)
    args = parser.parse_args()
    return 1 if run(args.campaign, args.count, args.workers, args.first_seed).failures else 0


if __name__ == "__main__":
    sys.exit(main())
