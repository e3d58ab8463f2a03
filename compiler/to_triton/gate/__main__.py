"""`python -m compiler.to_triton.gate --arch sm_90`: compiles all cases and says what is wrong."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys

from compiler.to_triton.gate.cases import cases
from compiler.to_triton.gate.compile import TARGETS, Code, compiled
from compiler.to_triton.gate.rules import faults

COLUMNS = ("registers", "stack", "shared", "matrix", "matrix_count", "copies", "wide_loads")


def main(argv: list[str] | None = None) -> int:
    """Prints a row or a JSON object for every case; exit code 1 if a rule is broken."""
    parser = argparse.ArgumentParser(prog="python -m compiler.to_triton.gate", description=__doc__)
    parser.add_argument("--arch", choices=sorted(TARGETS), action="append", required=True)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each N-th case alone")
    args = parser.parse_args(argv)
    if args.every < 1:
        parser.error("--every takes a number of at least 1")
    if os.environ.get("TRITON_INTERPRET", "0") == "1":
        parser.error("TRITON_INTERPRET is set: interpreted kernels cannot be compiled")
    wrong = 0
    for arch in args.arch:
        chosen = [case for case in cases(arch) if args.only in case.name]
        for case in chosen[:: args.every]:
            code = compiled(case, arch)
            found = list(faults(case, code, arch))
            wrong += bool(found)
            row = {"arch": arch, "case": case.name, **dataclasses.asdict(code), "faults": found}
            print(json.dumps(row) if args.json else _row(arch, case.name, code, found), flush=True)
    return 1 if wrong else 0


def _row(arch: str, name: str, code: Code, found: list[str]) -> str:
    cells = "  ".join(f"{column} {getattr(code, column)}" for column in COLUMNS)
    return f"{arch:7} {name:36} {cells}  {'; '.join(found) or 'ok'}"


if __name__ == "__main__":
    sys.exit(main())
