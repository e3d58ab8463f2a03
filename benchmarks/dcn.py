"""Is the emitted sampling of DCNv3 faster and smaller than grid_sample, the usual fallback?

InternImage-T's first stage: one image, 64 channels in 4 groups, a 128x128 map, 3x3 points.  The
peer is the release's own fallback, `dcnv3_core_pytorch`, written from its text: one grid_sample of
all points, times the mask, summed.  Both are given NHWC maps, as the layer makes them, and both do
the softmax.  One thread; runs are interleaved, and each pair gives one ratio.

Bars: at least 1.5 times faster forward and backward, and at most half the peak memory, which is
how far a child process that does nothing else grows beyond one that only makes the operands.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from _measure import MIB_PER_UNIT, child, conditions, python, spread, table, write

FASTER, SMALLER = 1.5, 0.5
N, SIDE, GROUPS, EACH, POINTS = 1, 128, 4, 16, 9
NET = f"""seg 1
net T() {{
  input x: f32[N, {GROUPS * EACH}, H, W]
  input offset: f32[N, {2 * GROUPS * POINTS}, H, W]
  input mask: f32[N, {GROUPS * POINTS}, H, W]
  output y = x -> dcnv3_core(offset, mask, groups={GROUPS})
}}
"""

Operator = Callable[..., Any]


def emitted() -> Operator:
    """The operator as the torch target writes it."""
    from compiler.to_torch.build import build
    from segdsl.program import parse

    module = build(parse(NET))
    return lambda x, offset, mask: module(x, offset, mask)


def fallback() -> Operator:
    """grid_sample on a padded map at normalised positions (OpenGVLab/InternImage, ops_dcnv3)."""
    import torch
    import torch.nn.functional as F

    def run(x: Any, offset: Any, mask: Any) -> Any:
        x, offset, mask = (t.permute(0, 2, 3, 1) for t in (x, offset, mask))
        n, height, width, channels = x.shape
        padded = F.pad(x, [0, 0, 1, 1, 1, 1])
        rows, columns = height + 2, width + 2
        y, along = torch.meshgrid(
            torch.arange(height) + 1.5, torch.arange(width) + 1.5, indexing="ij"
        )
        centre = torch.stack((along / columns, y / rows), -1).reshape(1, height, width, 1, 2)
        step = torch.tensor([-1.0, 0.0, 1.0])
        i, j = torch.meshgrid(step, step, indexing="ij")
        grid = torch.stack([i / columns, j / rows], -1).reshape(-1, 1, 2)
        grid = grid.repeat(1, GROUPS, 1).permute(1, 0, 2).reshape(1, 1, 1, GROUPS * POINTS, 2)
        size = torch.tensor([columns, rows]).reshape(1, 1, 1, 2).repeat(1, 1, 1, GROUPS * POINTS)
        places = (centre + grid).repeat(n, 1, 1, 1, 1).flatten(3, 4) + offset / size
        grids = (2 * places - 1).view(n, height * width, GROUPS, POINTS, 2)
        values = padded.view(n, rows * columns, channels).transpose(1, 2)
        sampled = F.grid_sample(
            values.reshape(n * GROUPS, EACH, rows, columns),
            grids.transpose(1, 2).flatten(0, 1),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        shares = mask.reshape(n, height, width, GROUPS, POINTS).softmax(-1)
        shares = shares.view(n, height * width, GROUPS, POINTS).transpose(1, 2)
        shares = shares.reshape(n * GROUPS, 1, height * width, POINTS)
        mixed = (sampled * shares).sum(-1).view(n, channels, height * width)
        return mixed.transpose(1, 2).reshape(n, height, width, channels).permute(0, 3, 1, 2)

    return run


OPERATORS = {"emitted": emitted, "grid_sample": fallback}


def operands(seed: int = 0) -> list[Any]:
    """NHWC memory; offsets of about a pixel."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    counts = (GROUPS * EACH, 2 * GROUPS * POINTS, GROUPS * POINTS)
    maps = [torch.randn(N, SIDE, SIDE, count, generator=generator) for count in counts]
    return [m.permute(0, 3, 1, 2).requires_grad_() for m in maps]


def step(operator: Operator, maps: list[Any], gradient: Any) -> tuple[float, float]:
    """Seconds of the forward and of the backward pass."""
    for m in maps:
        m.grad = None
    begin = perf_counter()
    result = operator(*maps)
    middle = perf_counter()
    result.backward(gradient)
    return middle - begin, perf_counter() - middle


def one_process(name: str) -> None:
    """What a child does: one step (or none), and its peak in MiB on stdout."""
    import torch

    maps = operands()
    gradient = torch.randn_like(maps[0])
    operator = {**OPERATORS, "operands": emitted}[name]()
    small = [m.detach()[:, :, :8, :8].requires_grad_() for m in maps]
    if name != "grid_sample":
        step(operator, small, gradient[:, :, :8, :8])  # what is loaded once
    if name != "operands":
        step(operator, maps, gradient)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MIB_PER_UNIT)


def timed(pairs: int) -> dict[str, list[tuple[float, float]]]:
    """Interleaved runs of both in this process, after checking that they agree."""
    import torch

    maps = operands()
    gradient = torch.randn_like(maps[0])
    made = {name: make() for name, make in OPERATORS.items()}
    with torch.no_grad():
        ours, theirs = (operator(*maps) for operator in made.values())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for count in range(pairs + 1):
        for name, operator in made.items():
            seconds = step(operator, maps, gradient)
            if count:
                found[name].append(seconds)
    return found


def peaks(runs: int) -> dict[str, list[float]]:
    """Peak memory in MiB of processes that do nothing else."""
    names = ("operands", *OPERATORS)
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(runs):
        for name in names:
            found[name].append(float(child(python(__file__, "--child", name)).output))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="pairs of counted runs")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        one_process(options.child)
        return
    where = conditions("torch", "numpy")
    memory = peaks(3)  # before torch is loaded here: a child starts with the peak of its parent
    seconds = timed(options.runs)
    ratios = {
        word: [b[i] / a[i] for a, b in zip(*seconds.values(), strict=True)]
        for i, word in enumerate(("forward", "backward"))
    }
    grown = {name: median(memory[name]) - median(memory["operands"]) for name in OPERATORS}
    share = grown["emitted"] / grown["grid_sample"]
    results = {
        "question": "DCNv3 sampling at InternImage-T's first stage against grid_sample",
        "conditions": where,
        "milliseconds": {
            f"{name} {word}": spread(1e3 * s[i] for s in runs)
            for name, runs in seconds.items()
            for i, word in enumerate(("forward", "backward"))
        },
        "times_faster": {word: spread(values) for word, values in ratios.items()},
        "peak_mib_beyond_operands": grown,
        "share_of_memory": share,
        "bars": {"times_faster": FASTER, "share_of_memory": SMALLER},
    }
    write("dcn", results)
    table(
        ["median ms", "forward", "backward", "peak MiB"],
        [
            (
                name,
                f"{1e3 * median(s[0] for s in runs):.1f}",
                f"{1e3 * median(s[1] for s in runs):.1f}",
                f"{grown[name]:.1f}",
            )
            for name, runs in seconds.items()
        ],
    )
    for word, values in ratios.items():
        met = "met" if median(values) >= FASTER else "MISSED"
        print(f"{word}: {median(values):.2f} times faster (bar {FASTER}): {met}")
    print(
        f"memory: {share:.2f} of theirs (bar {SMALLER}): {'met' if share <= SMALLER else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
