"""Runs one random test for very many examples, in chunks of their own seed, and records it.

    python benchmarks/campaign.py receptive-fields --count 100000

A chunk is one pytest process with `--hypothesis-seed`, so a failure is repeated by its seed, and a
campaign that was stopped goes on where it was while the commit is the same. A new commit or a
failure begins a new record.
Without arguments the records are shown.
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
EVENT = r"\* ([\d.]+)%, (.+)"


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
    """What ran: examples that passed, and the tail of the output of every chunk that failed.

    `events` are what the test itself counted, by seed: the share of the examples in percent.
    """

    campaign: str
    commit: str
    versions: dict[str, str]
    machine: str
    seconds: float = 0.0
    passed: int = 0
    seeds: list[int] = field(default_factory=list)
    events: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunk:
    """The outcome of one seed; `failure` is the tail of the output, if there is one."""

    seed: int
    failure: str | None
    passed: int
    events: dict[str, float]


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


def begun(name: str, file: Path) -> Record:
    """The record of this commit so far if nothing failed, else a new one."""
    record = fresh(name)
    if not file.exists():
        return record
    before = Record(**json.loads(file.read_text()))
    same = (before.commit, before.versions) == (record.commit, record.versions)
    return before if same and not before.failures else record


def run_chunk(campaign: Campaign, seed: int, count: int) -> Chunk:
    """Runs one seed; counts the examples that passed by Hypothesis' own statistics."""
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
    events = {name: float(share) for share, name in re.findall(EVENT, done.stdout)}
    return Chunk(seed, failure, sum(map(int, passing)) if failure is None else 0, events)


def run(name: str, total: int, workers: int, first_seed: int) -> Record:
    """Runs chunks until `total` examples passed or a chunk failed."""
    campaign, file = CAMPAIGNS[name], RESULTS / f"{name}.json"
    record = begun(name, file)
    started = time.perf_counter() - record.seconds
    RESULTS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(workers) as pool:
        seed = max([first_seed - 1, *record.seeds]) + 1
        while record.passed < total and not record.failures:
            batch = range(seed, seed + workers)
            seed += workers
            for chunk in pool.map(lambda s: run_chunk(campaign, s, campaign.chunk), batch):
                record.passed += chunk.passed
                record.seeds.append(chunk.seed)
                if chunk.events:
                    record.events[str(chunk.seed)] = chunk.events
                if chunk.failure is not None:
                    record.failures[str(chunk.seed)] = chunk.failure
            record.seconds = round(time.perf_counter() - started, 1)
            file.write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n")
            print(f"{name}: {record.passed} passed, {len(record.failures)} failed", flush=True)
    return record


def show() -> None:
    """Prints a line for each record."""
    for file in sorted(RESULTS.glob("*.json")):
        found = json.loads(file.read_text())
        if "campaign" not in found:  # fuzz.py keeps a record of another form
            continue
        state = f"{len(found['failures'])} chunks failed" if found["failures"] else "none failed"
        print(f"{found['campaign']}: {found['passed']:,} passed, {state}, at {found['commit']}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("campaign", nargs="?", choices=sorted(CAMPAIGNS))
    parser.add_argument("--count", type=int, default=1000, help="examples that must pass")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=1)
    args = parser.parse_args()
    if args.campaign is None:
        show()
        return 0
    return 1 if run(args.campaign, args.count, args.workers, args.first_seed).failures else 0


if __name__ == "__main__":
    sys.exit(main())
