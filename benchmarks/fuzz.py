"""Byte-level fuzzing of everything that reads what strangers wrote, and the record of it.

    python benchmarks/fuzz.py parse --runs 1000000
    python benchmarks/fuzz.py --engine plain check --seconds 60
    python benchmarks/fuzz.py all                  # each in turn, until <folder>/stop exists
    python benchmarks/fuzz.py                      # shows the record

atheris (coverage-guided, `pip install atheris`) where it is installed, else a plain mutator.
Chunks run in processes of their own, each with the seed after the last one of the record; the
corpus stays in `--folder`, so a campaign that was stopped goes on where it was. An input that
breaks a target is written to `<folder>/findings`, one for each place of the exception, and the
chunk goes on. A file `stop` in the folder ends a campaign after its chunk.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.fuzz_targets import Target

ROOT = Path(__file__).resolve().parents[1]
RECORD = Path(__file__).parent / "results" / "campaigns" / "fuzz.json"
TARGETS = ("parse", "formats", "check", "fmt", "safetensors", "keymap", "checkpoint")
DONE = re.compile(rb"stat::number_of_executed_units:\s*(\d+)|segdsl-fuzz runs (\d+)")
TIMEOUT = 60
"""Seconds for one input on a busy machine; an idle one takes a tenth."""
MEMORY = 1536
"""MiB for one process with its corpus."""
SLOW = 4.0
"""Processor seconds for one input; instrumented code takes twice its time, so half of it counts."""


def guarded(run: Callable[[bytes], None], findings: Path) -> Callable[[bytes], None]:
    """The target, except that what breaks it is written down and the next input follows."""

    def test(data: bytes) -> None:
        start = time.process_time()
        try:
            run(data)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__}:{Path(place.filename).name}:{place.name}"
            keep(findings, key, data, traceback.format_exc(limit=-12))
        spent = time.process_time() - start
        if spent > SLOW:
            keep(findings, "slow", data, f"{spent:.1f} s of processor time\n")

    return test


def keep(findings: Path, key: str, data: bytes, why: str) -> None:
    """Writes down an input, unless a shorter one with the same key is known."""
    findings.mkdir(parents=True, exist_ok=True)
    file = findings / f"{hashlib.sha256(key.encode()).hexdigest()[:12]}.bin"
    if not file.exists() or file.stat().st_size > len(data):
        file.write_bytes(data)
        file.with_suffix(".txt").write_text(why)


def child(args: argparse.Namespace) -> None:
    """One chunk, in this process."""
    folder = Path(args.folder)
    corpus = folder / args.target
    sys.path.insert(0, str(ROOT))
    if args.engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["segdsl", "compiler"]):
            from tests.support import fuzz_targets
    else:
        from tests.support import fuzz_targets
    target = fuzz_targets.TARGETS[args.target]
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        for number, seed in enumerate(target.seeds()):
            (corpus / f"seed{number:03}").write_bytes(seed)
    test = guarded(target.run, folder / "findings" / args.target)
    if args.engine == "plain":
        return plain(args, test, corpus, target)
    words = folder / f"{args.target}.dict"
    words.write_text("".join(map(entry, target.words())))
    flags = [
        f"-runs={args.runs}", f"-max_total_time={args.seconds}", f"-seed={args.seed}",
        f"-max_len={target.longest}", f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}",
        f"-dict={words}",
        "-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={folder}/{args.target}-",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *flags, str(corpus)], test)
    atheris.Fuzz()
    return None


def entry(word: str) -> str:
    """A line of a libFuzzer dictionary."""
    escaped = "".join(f"\\x{byte:02x}" for byte in word.encode())
    return f'"{escaped}"\n'


def plain(
    args: argparse.Namespace, test: Callable[[bytes], None], corpus: Path, target: Target
) -> None:
    """Inputs of the corpus with a few bytes, words or pieces changed; no feedback."""
    draw = random.Random(args.seed)
    known = [file.read_bytes() for file in sorted(corpus.iterdir())]
    words = [word.encode() for word in target.words()]
    end = time.monotonic() + args.seconds
    runs = 0
    while runs < args.runs and time.monotonic() < end:
        test(mutated(draw, known, words)[: target.longest])
        runs += 1
    print(f"segdsl-fuzz runs {runs}")


def mutated(draw: random.Random, known: list[bytes], words: list[bytes]) -> bytes:
    """One input with one to four changes."""
    data = bytearray(draw.choice(known))
    for _ in range(draw.randint(1, 4)):
        at, to = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        match draw.randrange(6):
            case 0:
                data[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del data[at : min(to, at + 20)]
            case 2:
                data[at:at] = data[at : min(to, at + 60)]
            case 3:
                other = draw.choice(known)
                start = draw.randrange(len(other) + 1)
                data[at:at] = other[start : start + draw.randint(1, 40)]
            case 4:
                data[at : min(to, at + 8)] = draw.choice(words)
            case _:
                data[at:at] = draw.choice((b"[", b"{", b'"', b"\n", b"-", b"9" * 20, b"\xff"))
    return bytes(data)


def chunk(args: argparse.Namespace, seed: int, runs: int) -> tuple[int, int, str]:
    """Runs a chunk: how many new inputs it tried, its exit status, the tail of its output."""
    corpus = Path(args.folder) / args.target
    again = len(list(corpus.glob("*"))) if args.engine == "atheris" else 0
    command = [
        sys.executable, __file__, "--child", args.target, "--engine", args.engine,
        "--runs", str(runs + again), "--seconds", str(args.seconds), "--seed", str(seed),
        "--folder", args.folder,
    ]  # fmt: skip
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, env=env, cwd=args.folder)
    text = done.stdout + done.stderr
    found = [int(a or b) for a, b in DONE.findall(text)]
    ran = max(found[-1] - again, 0) if found else 0
    return ran, done.returncode, text[-1500:].decode("utf-8", "replace")


def every_target(args: argparse.Namespace) -> int:
    """One chunk of each target in turn, until a file `stop` appears in the folder."""
    while True:
        for target in TARGETS:
            if stopped(args):
                return 0
            args.target = target
            step(args, args.chunk)


def stopped(args: argparse.Namespace) -> bool:
    """Whether somebody put a file `stop` into the folder."""
    return (Path(args.folder) / "stop").exists()


def campaign(args: argparse.Namespace) -> int:
    """Chunks until the wished number of inputs; the record is written after each."""
    left, bad = args.runs, 0
    while left > 0 and bad < 3 and not stopped(args):
        ran = step(args, min(left, args.chunk))
        left -= ran
        bad = bad + 1 if not ran else 0
    return 1 if bad else 0


def step(args: argparse.Namespace, runs: int) -> int:
    """One chunk with its note; answers how many inputs it tried."""
    seed = args.seed + recorded(args)[1].get("chunks", 0)
    start = time.monotonic()
    before = os.times()
    ran, status, tail = chunk(args, seed, runs)
    after = os.times()
    seconds = time.monotonic() - start
    cpu = sum(after[2:4]) - sum(before[2:4])
    note(args, ran, seconds, cpu, "" if status == 0 else f"status {status}: {tail}")
    print(f"{args.target}: {ran} inputs in {seconds:.0f} s, status {status}", flush=True)
    return ran


def recorded(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole record, and in it the entry of a target and engine."""
    record = json.loads(args.record.read_text()) if args.record.exists() else {}
    new = {"inputs": 0, "seconds": 0.0, "cpu_seconds": 0.0, "commits": [], "ended_early": []}
    return record, record.setdefault(args.target, {}).setdefault(args.engine, new)


def note(args: argparse.Namespace, ran: int, seconds: float, cpu: float, failure: str) -> None:
    """Adds a chunk to the record."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    record, entry = recorded(args)
    entry["inputs"] += ran
    entry["chunks"] = entry.get("chunks", 0) + 1
    entry["seconds"] = round(entry["seconds"] + seconds, 1)
    entry["cpu_seconds"] = round(entry["cpu_seconds"] + cpu, 1)
    entry["commits"] = list(dict.fromkeys([*entry["commits"], commit or args.commit]))
    entry["ended_early"] += [failure] if failure else []
    findings = Path(args.folder) / "findings" / args.target
    entry["findings"] = sorted(file.stem for file in findings.glob("*.bin"))
    args.record.parent.mkdir(parents=True, exist_ok=True)
    args.record.write_text(json.dumps(record, indent=1) + "\n")


def show() -> None:
    """Prints a line for each target."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    total = 0
    for target, engines in record.items():
        for engine, entry in engines.items():
            total += entry["inputs"]
            rate = entry["inputs"] / max(entry["cpu_seconds"], 1e-9)
            print(
                f"{target:12} {engine:8} {entry['inputs']:>10,} inputs, {rate:8,.0f} per CPU second"
            )
    print(f"{total:,} inputs together")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("target", nargs="?", choices=(*TARGETS, "all"))
    parser.add_argument("--runs", type=int, default=100_000, help="inputs to try")
    parser.add_argument("--chunk", type=int, default=100_000, help="inputs of one process")
    parser.add_argument("--seconds", type=int, default=600, help="longest time of one process")
    parser.add_argument("--seed", type=int, default=1, help="of the first chunk of a record")
    installed = importlib.util.find_spec("atheris") is not None
    engine = "atheris" if installed else "plain"
    parser.add_argument("--engine", choices=("atheris", "plain"), default=engine)
    parser.add_argument("--folder", default=f"{tempfile.gettempdir()}/segdsl-fuzz")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--commit", default="", help="what to record where there is no git")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.target is None:
        show()
        return 0
    Path(args.folder).mkdir(parents=True, exist_ok=True)
    if args.child:
        child(args)
        return 0
    return every_target(args) if args.target == "all" else campaign(args)


if __name__ == "__main__":
    sys.exit(main())
