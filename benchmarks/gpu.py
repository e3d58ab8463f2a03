"""The kernels of the Triton target on a CUDA GPU: right first, then how fast.

    python benchmarks/gpu.py --out benchmarks/results/h200.json       # all, then networks
    python benchmarks/gpu.py --suite conv --only 1x512x65x65 --out r.json
    python benchmarks/gpu.py --out r.json --tune                      # winners into the table

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # instead of this folder: the scripts run from a checkout
TABLE = ROOT / "compiler" / "to_triton" / "kernels" / "h200.json"
SUITES = ("upsample", "conv", "aspp")


class Log:
    """The records so far, in a file that is whole at every moment."""

    def __init__(self, path: Path) -> None:
        self.path, self.records = path, list[dict[str, Any]]()

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record, and write all."""
        self.records.append(record)
        replace(self.path, {"schema": 1, "records": self.records})
        print(json.dumps(record), flush=True)


def replace(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    building = path.with_name(f".{path.name}.building")
    building.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    building.replace(path)


def main(argv: list[str] | None = None) -> int:
    """0 when all was measured, 1 when something was wrong or left out, 2 without a GPU."""
    args = arguments(argv)
    refusal = unusable()
    if refusal:
        print(f"nothing was measured: {refusal}", file=sys.stderr)
        return 2
    import torch

    from benchmarks.kernels import cuda

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    began, log = time.monotonic(), Log(args.out)
    env = cuda.env()
    if args.tune:
        check_table(env["gpu"])
    log.add(env)
    log.add(cuda.ceilings())
    for record in records(args, began):
        log.add(record)
    whole = not any(wrong(record) for record in log.records)
    log.add({"record": "end", "complete": whole, "seconds": round(time.monotonic() - began, 1)})
    if args.tune:
        tune(log.records, env)
    return 0 if whole else 1


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.py", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--suite", choices=SUITES, action="append", help="(default: all)")
    parser.add_argument("--only", default="", help="cases whose key holds this text; no networks")
    parser.add_argument("--minutes", type=float, default=9.0, help="cases left then are skipped")
    parser.add_argument("--tune", action="store_true", help="write winners into h200.json")
    return parser.parse_args(argv)


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


def records(args: argparse.Namespace, began: float) -> Iterator[dict[str, Any]]:
    """Cases and networks in turn; what there was no time for, or what failed, is told."""
    import torch

    from benchmarks.kernels import cuda, networks
    from benchmarks.kernels.case import size_of
    from benchmarks.kernels.check import measured
    from benchmarks.kernels.stats import sets_needed
    from benchmarks.kernels.suites import chosen

    def out_of_time() -> bool:
        return bool(time.monotonic() - began > 60 * args.minutes)

    for case in chosen(args.suite or list(SUITES), args.only):
        if out_of_time():
            yield {"record": "skipped", "key": case.key, "why": "out of time"}
            continue
        try:
            sets = sets_needed(size_of(case.make("meta", 0)))
            with torch.no_grad():
                yield measured(case, "cuda", cuda.timed, sets)
        except torch.OutOfMemoryError as error:
            yield {"record": "skipped", "key": case.key, "why": str(error).splitlines()[0]}
        torch.cuda.empty_cache()
    for row in () if args.only or args.suite else networks.NETWORKS:
        if out_of_time():
            yield {"record": "skipped", "key": f"network {row}", "why": "out of time"}
        else:
            yield networks.network(*row)


def wrong(record: dict[str, Any]) -> bool:
    """Whether a record tells of something that was left out or computed wrongly."""
    runs = record.get("configs", {}).values()
    skipped: bool = record["record"] == "skipped"
    return skipped or any(not run["correct"]["pass"] for run in runs)


def check_table(device: str) -> None:
    """Refuse, before anything is measured, to mix devices in the router's table."""
    from benchmarks.kernels.stats import merged

    merged(json.loads(TABLE.read_text(encoding="utf-8")), [], device)


def tune(found: list[dict[str, Any]], env: dict[str, Any]) -> None:
    """Write the winners of a run into the router's table."""
    from benchmarks.kernels.stats import entry, merged

    entries = [entry(record, env) for record in found if record["record"] == "case"]
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    replace(TABLE, merged(table, entries, env["gpu"]))
    won = sum(row["correct"] and row["speedup"] >= 1.03 for row in entries)
    print(f"{TABLE}: {len(entries)} keys, {won} of them for our kernels", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
