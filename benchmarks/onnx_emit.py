"""How long does it take to write an ONNX file, and how much memory, against `torch.onnx.export`?

DeepLabV3-ResNet-101 with its weights, to a file.  Ours starts from the `.seg` text and a
safetensors file; the exporters start from the module in memory.  In turn, one thread, CPU time.
Then the command as a process for its peak memory, and a network of 10,000 nodes.
Bars: a fifth of torch's exporter (dynamo, its default); 1.5 times the weights; 10 s.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from _measure import SEGDSL, child, conditions, python, significant, spread, table, verdict, write

import compiler
import segdsl
from compiler.weights import initialise
from segdsl.analysis.params import params

SPEC = "specs/deeplabv3.seg"
SIDE = 256
FIFTH, MEMORY, LARGE = 0.2, 1.5, 10.0
DYNAMO, TORCHSCRIPT, OURS = "torch.onnx.export, dynamo", "torch.onnx.export, TorchScript", "ours"
CHAIN = """seg 1
net Chain() {
  input image: f32[N, 8, H, W]
  output y = image -> repeat 5000 as i { conv(8, 1) @c.{i} -> relu }
}
"""
"""10,002 nodes with 10,000 arrays."""

LOAD = "import segdsl, compiler; compiler.to_onnx(segdsl.load({!r}), {!r})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each")
    runs = parser.parse_args().runs
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # both exporters comment on their own internals
    where = conditions("torch", "onnx", "onnx_ir", "onnxscript") | {"threads": 1}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory = peak(folder, runs)
        large = chain(folder, runs)
        times = measure(folder, runs)
    medians = {way: median(values) for way, values in times.items()}
    ratios = {way: significant(medians[OURS] / medians[way]) for way in (DYNAMO, TORCHSCRIPT)}
    results = {
        "question": "DeepLabV3-ResNet-101 with weights to an ONNX file; 10,000 nodes",
        "conditions": where,
        "input_of_the_exporters": [1, 3, SIDE, SIDE],
        "cpu_seconds": {way: spread(values) for way, values in times.items()},
        "ratio": ratios,
        "memory": memory,
        "chain_of_10000_nodes": large,
        "bars": {"ratio": FIFTH, "peak_over_weights": MEMORY, "chain_cpu_seconds": LARGE},
    }
    write("onnx_emit", results)
    table(["medians", "CPU s"], list(medians.items()))
    for way, ratio in ratios.items():
        told = verdict(ratio, FIFTH, "times") if way == DYNAMO else "no bar"
        print(f"ours / {way}: {ratio:.3f}; {told}")
    print(f"peak / weights: {memory['ratio']:.2f}; {verdict(memory['ratio'], MEMORY, 'times')}")
    seconds = large["cpu_seconds"]["median"]
    print(f"10,000 nodes: {seconds:.2f} s; {verdict(seconds, LARGE)}")


def measure(folder: Path, runs: int) -> dict[str, list[float]]:
    """CPU seconds of each way, in turn; the first turn only warms up."""
    import torch  # not before the children are done: their peak is never below this process's

    torch.set_num_threads(1)
    graph = segdsl.load(SPEC)
    weights = initialise(params(graph), 0, style="fixture")
    module = compiler.to_torch(graph, weights).eval()
    image = torch.zeros(1, 3, SIDE, SIDE)
    target = str(folder / "out.onnx")

    def export(dynamo: bool) -> Callable[[], object]:
        return lambda: torch.onnx.export(module, (image,), target, dynamo=dynamo, verbose=False)

    ways: dict[str, Callable[[], object]] = {
        OURS: lambda: compiler.to_onnx(segdsl.load(SPEC), target, folder / "w.safetensors"),
        DYNAMO: export(True),
        TORCHSCRIPT: export(False),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, way in ways.items():
            begin = process_time()
            way()
            if turn:
                found[name].append(process_time() - begin)
    return found


def peak(folder: Path, runs: int) -> dict[str, Any]:
    """The largest memory of the command, against the bytes of the weights."""
    file, target = folder / "w.safetensors", str(folder / "net.onnx")
    child(python("-c", SEGDSL, "weights", SPEC, "-o", str(file)))
    command = ["compile", SPEC, "--target", "onnx", "--weights", str(file), "-o", target]
    found = [child(python("-c", SEGDSL, *command)) for _ in range(runs)]
    size = file.stat().st_size / 2**20
    most = median(run.peak for run in found)
    return {
        "weights_mib": significant(size),
        "peak_mib": spread(run.peak for run in found),
        "ratio": significant(most / size),
        "cpu_seconds": spread(run.cpu for run in found),
    }


def chain(folder: Path, runs: int) -> dict[str, Any]:
    """A long network, from text to file, as a process."""
    spec = folder / "chain.seg"
    spec.write_text(CHAIN, encoding="utf-8")
    script = LOAD.format(str(spec), str(folder / "chain.onnx"))
    found = [child(python("-c", script)) for _ in range(runs)]
    return {
        "cpu_seconds": spread(run.cpu for run in found),
        "peak_mib": spread(run.peak for run in found),
    }


if __name__ == "__main__":
    main()
