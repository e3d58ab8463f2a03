"""How long does `segdsl check specs/deeplabv3.seg` take as a process, and what does it import?

Bar: 0.5 s of CPU time; neither torch nor onnx nor rich is imported.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from statistics import median

from _measure import SEGDSL, child, conditions, interleaved, python, spread, table, verdict, write

BAR = 0.5
SPEC = "specs/deeplabv3.seg"
UNWANTED = frozenset({"torch", "onnx", "onnx_ir", "onnxruntime", "triton", "rich", "hypothesis"})
COMMANDS = {
    "python -c pass": python("-c", "pass"),
    "import networkx": python("-c", "import networkx"),
    "import segdsl": python("-c", "import segdsl"),
    "segdsl check deeplabv3": python("-c", SEGDSL, "check", SPEC),
}
IMPORT = r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)"
MODULES = f"""
import json, sys
from compiler.cli import main
assert main(["check", {SPEC!r}]) == 0
print(json.dumps(sorted(sys.modules)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="counted runs of each command")
    runs = parser.parse_args().runs
    where = conditions("lark", "networkx", "numpy")
    found = interleaved(COMMANDS, runs)
    modules = json.loads(child(python("-c", MODULES)).output)
    foreign = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    results = {
        "question": "segdsl check specs/deeplabv3.seg as a process",
        "conditions": where,
        "bar_seconds": BAR,
        "commands": {
            name: {
                "cpu_seconds": spread(r.cpu for r in group),
                "wall_seconds": spread(r.wall for r in group),
                "peak_mib": spread(r.peak for r in group),
            }
            for name, group in found.items()
        },
        "modules": len(modules),
        "packages": sorted(p for p in foreign if not p.startswith("_")),
        "unwanted_packages": sorted(foreign & UNWANTED),
        "import_milliseconds_by_package": imports(),
    }
    write("check", results)
    rows = [
        (name, *(median(getattr(r, what) for r in group) for what in ("cpu", "wall", "peak")))
        for name, group in found.items()
    ]
    table(["medians", "CPU s", "wall s", "peak MiB"], rows)
    print(verdict(rows[-1][1], BAR))
    print(f"unwanted imports: {', '.join(sorted(foreign & UNWANTED)) or 'none'}")


def imports() -> dict[str, float]:
    """Milliseconds that the imports of one run take, by package; Python's own are one entry."""
    code = f"import subprocess, sys; sys.exit(subprocess.call({_timed()!r}, stderr=1))"
    text = child(python("-c", code)).output
    total: dict[str, float] = defaultdict(float)
    for microseconds, module in re.findall(IMPORT, text, re.MULTILINE):
        package = module.partition(".")[0]
        name = "standard library" if package in sys.stdlib_module_names else package
        total[name] += int(microseconds) / 1000
    ranked = sorted(total.items(), key=lambda item: -item[1])
    return {name: round(value, 1) for name, value in ranked if value >= 0.5}


def _timed() -> list[str]:
    return python("-X", "importtime", "-c", SEGDSL, "check", SPEC)


if __name__ == "__main__":
    main()
