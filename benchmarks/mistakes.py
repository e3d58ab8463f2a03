"""How fast does segdsl say no?

A file with 200 mistakes of many kinds, checked as a process (bar: 1 s, all of them found), and the
same text in a process that runs already; the set of accepted sizes of every stock network (bar:
100 ms each), which is what `summary` and a wrong `--size` ask for; and bombs that are refused by
their count (bar: 1 s).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _measure import conditions, interleaved, python, spread, table, verdict, write

from segdsl.acceptance import prove
from segdsl.elaborate.net import elaborate
from segdsl.imports import Reader, read_text
from segdsl.library import locate, stock_names
from segdsl.limits import Limits
from segdsl.program import examine_source
from segdsl.source import Source

MISTAKES = 200
FIRST = 4
"""The line of the first mistake."""

KINDS = (
    "a{i} = image -> rellu",
    "a{i} = image -> conv(8, 3, pading=1) @a{i}",
    "a{i} = missing{i} -> relu",
    "a{i} = image -> conv(8) @a{i}",
    'a{i} = image -> resize(scale="2")',
    "a{i} = image -> max_pool(2, 2",
    "a{i} = image -> Conv2d(3, 8, 3)",
    "a{i} = 1 / 0",
    "a{i} = concat(image)",
    "a{i} = image -> conv(2, 3) @b",
)
BAR, SIZES_BAR, BOMB_BAR = 1.0, 0.1, 1.0


def broken() -> str:
    """A net with 200 lines that are each wrong."""
    lines = [KINDS[i % len(KINDS)].format(i=i) for i in range(MISTAKES)]
    body = "\n".join(f"  {line}" for line in lines)
    return f"seg 1\nnet T() {{\n  input image: f32[N, 3, H, W]\n{body}\n  output y = image\n}}\n"


def bombs() -> dict[str, str]:
    """Texts that would make far too much."""
    ports = "(x: tensor) -> (y: tensor)"
    doubling = "".join(
        f"block B{i}{ports} {{\n  y = x -> B{i + 1} -> B{i + 1}\n}}\n" for i in range(40)
    )
    doubling += f"block B40{ports} {{\n  y = x -> relu\n}}\n"
    net = "seg 1\n{}net T() {{\n  input image: f32[N, 3, H, W]\n  output y = image -> {}\n}}\n"
    return {
        "40 doubling blocks": net.format(doubling, "B0"),
        "the same, unused": net.format(doubling, "relu"),
        "repeat of 10**9": net.format("", "repeat 1_000_000_000 { relu }"),
        "three loops of 1000": net.format(
            "", "repeat 1000 { repeat 1000 { repeat 1000 { relu } } }"
        ),
    }


def once(work: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def check(text: str, runs: int) -> dict[str, object]:
    """`segdsl check` of a text as a process, which must fail, and in this one."""
    source = Source("net.seg", text)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.seg"
        path.write_text(text)
        code = (
            "import sys; from compiler.cli import main; "
            f"sys.exit(0 if main(['check', {str(path)!r}, '--format', 'json']) == 1 else 3)"
        )
        found = interleaved({"check": python("-c", code)}, runs)["check"]
    own = [once(lambda: examine_source(source, None, every=True, lint=True)) for _ in range(runs)]
    lines = {json.loads(line)["span"]["line"] for line in found[0].output.splitlines()}
    wrong = range(FIRST, FIRST + MISTAKES)
    return {
        "cpu": spread(run.cpu for run in found),
        "peak_mib": round(max(run.peak for run in found), 1),
        "in_process": spread(own),
        "lines_told_of": len(lines & set(wrong)),
    }


def sizes(name: str, runs: int) -> dict[str, float]:
    """Proving which sizes a stock network accepts, after it was elaborated."""
    file = locate(name)
    source = Source(name, read_text(file, Limits()))
    module = Reader((file.parent,), Limits()).main(source, file.parent, str(file))
    (net,) = module.nets.values()
    found = []
    for _ in range(runs):
        program = elaborate(module, net, {}, Limits())
        found.append(once(lambda program=program: prove(program)))
    return spread(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    results = conditions("networkx")
    results["mistakes"] = check(broken(), runs)
    results["bombs"] = {
        name: spread(
            once(lambda text=text: examine_source(Source("bomb.seg", text), None, every=True))
            for _ in range(runs)
        )
        for name, text in bombs().items()
    }
    results["sizes"] = {name: sizes(name, runs) for name in stock_names()}
    slowest = max(results["sizes"], key=lambda name: results["sizes"][name]["median"])
    told = f"{results['mistakes']['lines_told_of']} of {MISTAKES} lines told of"
    rows = [(f"{MISTAKES} mistakes, a process", results["mistakes"]["cpu"]["median"], BAR, told)]
    rows += [(name, found["median"], BOMB_BAR, "") for name, found in results["bombs"].items()]
    rows.append((f"sizes of {slowest}", results["sizes"][slowest]["median"], SIZES_BAR, "slowest"))
    table(
        ["question", "CPU s", "", ""],
        [[name, value, verdict(value, bar), note] for name, value, bar, note in rows],
    )
    write("mistakes", results)


if __name__ == "__main__":
    main()
