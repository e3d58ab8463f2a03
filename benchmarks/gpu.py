"""The kernels of the Triton target on a CUDA GPU: right first, then how fast.

    python benchmarks/gpu.py --out benchmarks/results/h200.json       # all, then networks
    python benchmarks/gpu.py --suite conv --only 1x512x65x65 --out r.json
    python benchmarks/gpu.py --out r.json --tune                      # winners into the table
    python benchmarks/gpu.py --record r.json                          # those of an earlier run
    TRITON_INTERPRET=1 python benchmarks/gpu.py --dry --out r.json    # a rehearsal without a GPU

Every configuration of every kernel is compared with float64 before anything is timed; one that is
wrong is never timed, and stands in the table as rejected. The file is written anew after every
record, so that a run that is cut short has lost nothing. Without a GPU this says so and ends with
2; it writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # instead of this folder: the scripts run from a checkout
TABLE = ROOT / "compiler" / "to_triton" / "kernels" / "h200.json"

if TYPE_CHECKING:
    from benchmarks.kernels.case import Case
    from benchmarks.kernels.machine import Machine
    from benchmarks.kernels.networks import Network

Record = dict[str, Any]


class Log:
    """The records so far, in a file that is whole at every moment."""

    def __init__(self, path: Path) -> None:
        self.path, self.records = path, list[Record]()

    def add(self, record: Record) -> None:
        """Keep a record, and write all."""
        self.records.append(record)
        replace(self.path, {"schema": 1, "records": self.records})
        print(json.dumps(record), flush=True)


def replace(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    building = path.with_name(f".{path.name}.building")
    building.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    building.replace(path)


def main(argv: list[str] | None = None) -> int:
    """0 when all was measured, 1 when something was wrong or left out, 2 where nothing can be."""
    args = arguments(argv)
    try:
        if args.record is not None:
            return recorded(args.record)
        refusal = unrehearsed() if args.dry else unusable()
        if refusal:
            print(f"nothing was measured: {refusal}", file=sys.stderr)
            return 2
        return measure(args)
    except (ImportError, OSError, ValueError) as error:
        print(f"nothing was written: {error}", file=sys.stderr)
        return 2


def measure(args: argparse.Namespace) -> int:
    """Measure, and write as one goes."""
    jobs, machine = jobs_of(args), machine_of(args)
    began, log = time.monotonic(), Log(args.out)
    env = machine.env()
    if args.tune:
        check_table(env["gpu"])
    log.add(env)
    ceilings = machine.ceilings()
    log.add(ceilings)
    for record in records(jobs, machine, ceilings, began + 60 * args.minutes):
        log.add(record)
    whole = not any(wrong(record) for record in log.records)
    log.add({"record": "end", "complete": whole, "seconds": round(time.monotonic() - began, 1)})
    if args.tune:
        tune(log.records)
    return 0 if whole else 1


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.py", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="measure, and write this JSON file")
    what.add_argument("--record", type=Path, help="the winners of such a file into h200.json")
    parser.add_argument("--suite", action="append", help="only this kernel (default: all)")
    parser.add_argument("--only", default="", help="cases whose key holds this text; no networks")
    parser.add_argument("--minutes", type=float, default=9.0, help="cases left then are skipped")
    parser.add_argument("--tune", action="store_true", help="write winners into h200.json")
    parser.add_argument("--dry", action="store_true", help="tiny cases, interpreted: no figures")
    args = parser.parse_args(argv)
    if args.dry and args.tune:
        parser.error("--dry measures nothing: it cannot --tune")
    if args.record is not None and (args.dry or args.tune or args.suite or args.only):
        parser.error("--record measures nothing: it takes no other option")
    return args


def unusable() -> str:
    """Why this machine cannot measure, or ""."""
    if os.environ.get("TRITON_INTERPRET", "0") == "1":
        return "TRITON_INTERPRET is set, and the interpreter says nothing about time"
    try:
        import torch
        import triton  # noqa: F401
    except ImportError as error:
        return str(error)
    return "" if torch.cuda.is_available() else "there is no CUDA device"


def unrehearsed() -> str:
    """Why this process cannot interpret kernels, or ""."""
    if os.environ.get("TRITON_INTERPRET", "0") != "1":
        return "--dry interprets kernels: set TRITON_INTERPRET=1"
    try:
        import torch  # noqa: F401
        import triton  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


def machine_of(args: argparse.Namespace) -> Machine:
    """The GPU, with the library at its best and exact; or the rehearsal."""
    import torch

    from benchmarks.kernels import cuda, dry

    if args.dry:
        return dry.MACHINE
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    return cuda.MACHINE


def jobs_of(args: argparse.Namespace) -> list[Case | Network]:
    """The cases and networks that are asked for.

    Raises:
        ValueError: there is no such suite.
    """
    from benchmarks.kernels.networks import NETWORKS, SMALL
    from benchmarks.kernels.suites import SUITES, chosen

    names = args.suite or list(SUITES)
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        raise ValueError(f"there is no suite {unknown[0]!r}: {', '.join(SUITES)}")
    cases = [SUITES[name].small() for name in names] if args.dry else chosen(names, args.only)
    rows = (SMALL,) if args.dry else NETWORKS
    return [*cases, *(() if args.only or args.suite else rows)]


def records(
    jobs: list[Case | Network], machine: Machine, ceilings: Record, until: float
) -> Iterator[Record]:
    """Cases and networks in turn; what there was no time for, or what failed, is told."""
    from benchmarks.kernels.check import said

    for job in jobs:
        if time.monotonic() > until:
            yield {"record": "skipped", "key": job.key, "why": "out of time"}
            continue
        try:
            yield one(job, machine, ceilings)
        except Exception as error:  # other figures are not lost to one failure
            yield {"record": "skipped", "key": job.key, "why": said(error)}
        machine.release()


def one(job: Case | Network, machine: Machine, ceilings: Record) -> Record:
    """The record of a case, with what it comes to, or of a network."""
    import torch

    from benchmarks.kernels.case import Case, size_of
    from benchmarks.kernels.check import measured
    from benchmarks.kernels.networks import network
    from benchmarks.kernels.stats import SETS, figures, sets_needed

    if not isinstance(job, Case):
        return network(job, machine, ceilings)
    sets = sets_needed(size_of(job.make("meta", 0))) if machine.compiles else SETS
    with torch.no_grad():
        record = measured(job, machine.device, machine.timed, sets, compiles=machine.compiles)
    return record | figures(record, ceilings)


def wrong(record: Record) -> bool:
    """Whether a record tells of something that was left out or computed wrongly."""
    runs = record.get("configs", {}).values()
    skipped: bool = record["record"] == "skipped"
    return skipped or any(not run["correct"]["pass"] for run in runs)


def check_table(device: str) -> None:
    """Refuse, before anything is measured, to mix devices in the router's table."""
    from benchmarks.kernels.stats import merged

    merged(json.loads(TABLE.read_text(encoding="utf-8")), [], device)


def recorded(path: Path) -> int:
    """Write the winners of a file that was measured into the router's table.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file of this script, or of no GPU, or of another than the table.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or found.get("schema") != 1 or not found.get("records"):
        raise ValueError(f"{path} was not written by this script")
    try:
        tune(found["records"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} was not written by this script: {error!r}") from error
    return 0


def tune(found: list[Record]) -> None:
    """Write the winners of a run into the router's table.

    Raises:
        ValueError: no GPU was measured, or another than the table's.
    """
    from benchmarks.kernels.stats import entry, merged
    from compiler.to_triton.kernels.router import GAIN

    env = found[0]
    if env.get("record") != "env" or env.get("cuda") is None:
        raise ValueError("no GPU was measured")
    entries = [entry(record, env) for record in found if record["record"] == "case"]
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    replace(TABLE, merged(table, entries, env["gpu"]))
    won = sum(row["correct"] and row["speedup"] >= GAIN for row in entries)
    print(f"{TABLE}: {len(entries)} keys, {won} of them for our kernels", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
