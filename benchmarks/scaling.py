"""How does the time from text to checked shapes grow with the network?

Bars: 0.5 s for 1,000 layers written out, 20 s for 100,000 nodes by `repeat`, and linear growth.
Every run is a fresh process, so that its peak memory is its own; importing segdsl is not counted.
"""

from __future__ import annotations

import argparse
import json
from math import log
from statistics import linear_regression, median

from _measure import Run, child, conditions, python, significant, spread, table, verdict, write

BARS = {("written", 1_000): 0.5, ("repeated", 100_000): 20.0}
SIZES = {
    "written": (1_000, 2_000, 4_000, 8_000),
    "repeated": (1_000, 10_000, 20_000, 50_000, 100_000),
}
RUNS = {1_000: 9, 2_000: 5, 4_000: 5, 8_000: 5}
LINEAR_FROM = {"written": 1_000, "repeated": 10_000}
"""The exponent is fitted from here on: below, constant costs weigh."""

HEAD = """seg 1

"""
STEM = "image -> conv(64, 3, stride=2, pad=1, bias=false) @stem -> bn @norm -> relu"


def written(layers: int) -> str:
    """A residual network of so many operations, each on a line of its own, all sizes formulas."""
    forms = (
        "conv(64, 3, pad=1, bias=false) @layer{i}",
        "bn @layer{i}",
        "relu",
        "conv(64, 3, pad=1) @layer{i}",
    )
    lines = ["net Written() {", "  input image: f32[N, 3, H, W]"]
    lines.append("  x0 = image -> conv(64, 3, stride=2, pad=1) @layer0")
    for i in range(1, layers):
        part = i % 5
        value = f"x{i - 1} + x{i - 5}" if part == 0 else f"x{i - 1} -> {forms[part - 1]}"
        lines.append(f"  x{i} = {value.format(i=i)}")
    lines += [f"  output y = x{layers - 1}", "}", ""]
    return HEAD + "\n".join(lines)


def repeated(nodes: int) -> str:
    """A network of exactly so many nodes (a multiple of 5): residual units in one `repeat`."""
    turns = nodes // 5 - 1
    return f"""{HEAD}block Unit(x: [N, C, h, w]) -> (y: [N, C, h, w]) {{
  new = x -> conv(C, 3, pad=1, bias=false) @conv -> bn @bn -> relu -> conv(C, 1) @mix
  y = new + x
}}

net Repeated() {{
  input image: f32[N, 3, H, W]
  output y = {STEM}
    -> repeat {turns} as k {{ Unit @units.{{k}} }}
}}
"""


TEXTS = {"written": written, "repeated": repeated}


def one(kind: str, size: int) -> None:
    """The work of a child: print nodes and CPU seconds."""
    from time import process_time

    from segdsl.program import examine_source
    from segdsl.source import Source

    source = Source(f"{kind}.seg", TEXTS[kind](size))
    begin = process_time()
    program = examine_source(source, None)
    seconds = process_time() - begin
    assert not program.diagnostics, program.diagnostics[0].message
    assert program.graph is not None
    print(json.dumps({"nodes": len(program.graph), "seconds": seconds}))


def profile(kind: str, size: int) -> None:
    """Print what the time goes to. The profiler itself makes calls two to three times slower."""
    import cProfile
    from pstats import Stats

    from segdsl.program import examine_source
    from segdsl.source import Source

    source = Source(f"{kind}.seg", TEXTS[kind](size))
    with cProfile.Profile() as recorded:
        examine_source(source, None)
    Stats(recorded).strip_dirs().sort_stats("tottime").print_stats(25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "SIZE"), help="one measured run")
    parser.add_argument("--profile", nargs=2, metavar=("KIND", "SIZE"), help="top costs of one run")
    parser.add_argument("--runs", type=int, default=3, help="runs of each size above 8,000")
    args = parser.parse_args()
    if args.one:
        one(args.one[0], int(args.one[1]))
    elif args.profile:
        profile(args.profile[0], int(args.profile[1]))
    else:
        measure(args.runs)


def measure(runs: int) -> None:
    where = conditions("lark", "networkx")
    series: dict[str, list[dict[str, object]]] = {}
    exponents: dict[str, float] = {}
    for kind, sizes in SIZES.items():
        medians: list[tuple[int, float]] = []
        series[kind] = []
        for size in sizes:
            row, seconds = _size(kind, size, RUNS.get(size, runs))
            series[kind].append(row)
            medians.append((size, seconds))
        exponents[kind] = _exponent([m for m in medians if m[0] >= LINEAR_FROM[kind]])
    results = {
        "question": "from text to checked shapes, by size; every run in a fresh process",
        "conditions": where,
        "bars_seconds": {f"{kind} {size}": bar for (kind, size), bar in BARS.items()},
        "exponents": {kind: significant(value, 3) for kind, value in exponents.items()},
        **series,
    }
    write("scaling", results)
    rows = [_row(kind, row) for kind, found in series.items() for row in found]
    table(["nodes", "CPU s", "us per node", "peak MiB", ""], rows)
    for kind, exponent in exponents.items():
        print(f"{kind}: time grows as nodes ** {exponent:.2f}")


def _size(kind: str, size: int, runs: int) -> tuple[dict[str, object], float]:
    found: list[Run] = [
        child(python("benchmarks/scaling.py", "--one", kind, str(size))) for _ in range(runs)
    ]
    answers = [json.loads(run.output) for run in found]
    seconds = median(a["seconds"] for a in answers)
    row: dict[str, object] = {
        "size": size,
        "nodes": answers[0]["nodes"],
        "cpu_seconds": spread(a["seconds"] for a in answers),
        "peak_mib": spread(run.peak for run in found),
    }
    return row, seconds


def _row(kind: str, row: dict[str, object]) -> list[object]:
    nodes, seconds, peak = row["nodes"], row["cpu_seconds"], row["peak_mib"]
    assert isinstance(nodes, int)
    assert isinstance(seconds, dict)
    assert isinstance(peak, dict)
    bar = BARS.get((kind, int(str(row["size"]))))
    words = verdict(seconds["median"], bar) if bar is not None else ""
    each = 1e6 * seconds["median"] / nodes
    return [f"{kind} {nodes:,}", seconds["median"], round(each), peak["median"], words]


def _exponent(points: list[tuple[int, float]]) -> float:
    """The slope of log(seconds) over log(nodes)."""
    return linear_regression([log(n) for n, _ in points], [log(s) for _, s in points]).slope


if __name__ == "__main__":
    main()
