"""Do the analyses of a network with a billion parameters fit in the memory of a small one?

`segdsl check` and `segdsl summary` of one file, 4,096 and 8 channels wide: analyses never allocate
weights, so both peaks are equal within noise.  In numbers: at most 2 MiB apart.
"""

from __future__ import annotations

import argparse
import json
from statistics import median

from _measure import SEGDSL, conditions, interleaved, python, spread, table, write

FILE = "benchmarks/data/giant.seg"
WIDTHS = {"wide": 4096, "narrow": 8}
APART = 2.0


def command(name: str, width: int) -> list[str]:
    """One call of the command line at a width."""
    sizes = ["--size", "512x512", "--json"] if name == "summary" else []
    return python("-c", SEGDSL, name, FILE, "--set", f"width={width}", *sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="counted runs of each command")
    runs = parser.parse_args().runs
    where = conditions("lark", "networkx", "numpy")
    commands = {
        f"{name} {label}": command(name, width)
        for name in ("check", "summary")
        for label, width in WIDTHS.items()
    }
    found = interleaved(commands, runs)
    parameters = {
        label: json.loads(found[f"summary {label}"][0].output)["parameters"] for label in WIDTHS
    }
    peaks = {name: median(run.peak for run in group) for name, group in found.items()}
    apart = {
        name: round(peaks[f"{name} wide"] - peaks[f"{name} narrow"], 2)
        for name in ("check", "summary")
    }
    results = {
        "question": "peak memory of analyses of a wide and a narrow network",
        "conditions": where,
        "parameters": parameters,
        "weights_would_take_mib": {k: round(4 * n / 2**20) for k, n in parameters.items()},
        "peak_mib": {name: spread(run.peak for run in group) for name, group in found.items()},
        "wide_minus_narrow_mib": apart,
        "bar_mib": APART,
    }
    write("memory", results)
    table(
        ["medians", "parameters", "peak MiB"],
        [(name, f"{parameters[name.split()[1]]:,}", peak) for name, peak in peaks.items()],
    )
    for name, difference in apart.items():
        words = "met" if abs(difference) <= APART else "MISSED"
        print(f"{name}: {difference:+.2f} MiB; bar {APART:g} MiB either way: {words}")


if __name__ == "__main__":
    main()
