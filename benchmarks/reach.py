"""How fast are receptive fields?

Periodic tables of every stock network after parsing (bar 50 ms each); every stage of ResNet-152
with an FCN head at 2049x2049, exact at borders (bar 1 s); a chain with skips up to 100,000 nodes,
with the exponent of time against nodes; and the same question put to gradients of the torch
module, as other tools do it (bar: at least 100 times slower).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from statistics import median

from _measure import conditions, significant, spread, table, write

import segdsl
from segdsl.analysis.reach.concrete import fields
from segdsl.analysis.reach.tables import reach
from segdsl.ir import Graph
from segdsl.library import stock_names

DEEP = """seg 1
from std.resnet import ResNet
from std.fcn import FCNHead
net Deep() {
  input image: f32[N, 3, H, W]
  f = image -> ResNet(152, output_stride=8, first_block=previous) @backbone
  output out = f.c5 -> FCNHead(21) @head
}
"""
PERIODIC_BAR, CONCRETE_BAR, RATIO_BAR = 0.05, 1.0, 100.0


def once(work: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def seconds(work: Callable[[], object], runs: int) -> list[float]:
    """CPU seconds of some runs after one that does not count."""
    return [once(work) for _ in range(runs + 1)][1:]


def chain(units: int) -> Graph:
    """Residual units in a row, three nodes each."""
    body = "x -> repeat {} as i {{ Unit @{{i}} }}"
    return segdsl.parse(
        "seg 1\nblock Unit(x: [N, C, h, w]) -> (y) {\n"
        "  y = x + (x -> conv(C, 3, pad=1) @c -> relu)\n}\n"
        "net Chain() {\n  input x: f32[N, 8, H, W]\n"
        f"  output y = {body.format(units)}\n}}\n"
    )


def stages_at(graph: Graph, side: int) -> None:
    """The exact fields of every stage at one size."""
    found = fields(graph, {"N": 1, "H": side, "W": side})
    for value in graph.stages.values():
        for axis in (0, 1):
            found.local(value, axis)  # type: ignore[arg-type]


def gradient_seconds(graph: Graph, side: int) -> float:
    """The box of one pixel from gradients: one forward and one backward pass on a linear module."""
    import torch

    import compiler

    module = compiler.to_torch(graph).eval()
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 1e-3)
    image = torch.ones(1, 3, side, side, requires_grad=True)
    begin = time.process_time()
    out = module(image)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    gradient = image.grad
    assert gradient is not None
    gradient.abs().sum(1).nonzero()
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each")
    runs = parser.parse_args().runs
    where = conditions("numpy", "networkx", "torch")
    stock = {name: segdsl.load(name) for name in stock_names()}
    deep = segdsl.parse(DEEP)
    first = once(lambda: stages_at(deep, 2049))
    periodic = {name: seconds(lambda g=graph: reach(g), runs) for name, graph in stock.items()}
    concrete = seconds(lambda: stages_at(deep, 2049), runs)
    chains = {}
    for units in (3_333, 10_000, 33_332):
        long = chain(units)
        chains[len(long)] = median(seconds(lambda g=long: reach(g), 2))
    ends = sorted(chains.items())
    exponent = math.log(ends[-1][1] / ends[0][1]) / math.log(ends[-1][0] / ends[0][0])
    gradients = gradient_seconds(deep, 513)
    ours = median(seconds(lambda: reach(deep), runs))
    results = {
        "question": "receptive fields: CPU seconds",
        "conditions": where,
        "bars": {"periodic": PERIODIC_BAR, "concrete": CONCRETE_BAR, "ratio": RATIO_BAR},
        "periodic_seconds": {name: spread(times) for name, times in periodic.items()},
        "concrete_2049_resnet152_fcn_first_seconds": significant(first),
        "concrete_2049_resnet152_fcn_again_seconds": spread(concrete),
        "chain_seconds": {str(n): significant(t) for n, t in ends},
        "chain_exponent": significant(exponent, 3),
        "gradient_seconds_one_pixel_513": significant(gradients),
        "all_stages_seconds": significant(ours),
        "gradient_over_ours": significant(gradients / ours),
    }
    write("reach", results)
    rows = [(name, median(times) * 1e3) for name, times in periodic.items()]
    table(["periodic, all values", "ms"], rows)
    print(f"concrete at 2049x2049: {first:.3f} s at first; bar {CONCRETE_BAR:g} s")
    print(f"chain exponent {exponent:.2f}; gradients take {gradients / ours:.0f} times as long")


if __name__ == "__main__":
    main()
