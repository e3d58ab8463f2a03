"""How long does it take to generate the DeepLabV3 module, against `torch.onnx.export`?

Generating is reading, proving and emitting: from `specs/deeplabv3.seg` to Python text.  The
exporters are given that same network as a module, once built.  In turn, one thread, CPU time.
Bar: a tenth of the faster exporter.
"""

from __future__ import annotations

import argparse
import io
import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from time import process_time
from typing import Any

import torch
from _measure import conditions, significant, spread, table, verdict, write

import compiler
import segdsl
from compiler.to_torch.emit import emit

BAR = 0.1
SPEC = "specs/deeplabv3.seg"
SIDE = 224
NEEDED = ("onnx", "onnxscript")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each")
    runs = parser.parse_args().runs
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(f"not measured: torch.onnx.export needs {' and '.join(missing)}; pip install them")
        return
    torch.set_num_threads(1)
    where = conditions("torch", *NEEDED) | {"threads": 1}
    times = measure(runs)
    medians = {name: median(values) for name, values in times.items()}
    ours, *others = medians
    ratios = {name: significant(medians[ours] / medians[name]) for name in others}
    results = {
        "question": "DeepLabV3-ResNet-101 from .seg to Python text, against torch.onnx.export",
        "conditions": where,
        "input_of_the_exporters": [1, 3, SIDE, SIDE],
        "cpu_seconds": {name: spread(values) for name, values in times.items()},
        "ratio": ratios,
        "bar": BAR,
    }
    write("emit_time", results)
    table(["medians", "CPU s"], list(medians.items()))
    for name, ratio in ratios.items():
        print(f"generating / {name}: {ratio:.3f}; {verdict(ratio, BAR, 'times')}")


def measure(runs: int) -> dict[str, list[float]]:
    """CPU seconds of each way, in turn; the first turn only warms up."""
    module = compiler.to_torch(segdsl.load(SPEC)).eval()
    image = torch.zeros(1, 3, SIDE, SIDE)

    def dynamo() -> object:
        return torch.onnx.export(module, (image,), dynamo=True, verbose=False)

    def torchscript() -> object:
        file: Any = io.BytesIO()  # torch's annotation knows paths only; files work
        return torch.onnx.export(module, (image,), file, dynamo=False)

    ways: dict[str, Callable[[], object]] = {
        "load and emit": lambda: emit(segdsl.load(SPEC)),
        "torch.onnx.export, dynamo": dynamo,
        "torch.onnx.export, TorchScript": torchscript,
    }
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # both exporters comment on their own internals
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, way in ways.items():
            begin = process_time()
            way()
            if turn:
                found[name].append(process_time() - begin)
    return found


if __name__ == "__main__":
    main()
