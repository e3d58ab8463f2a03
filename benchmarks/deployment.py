"""What is fastest on a CPU? Every way to run what `segdsl compile` gives, beside torch eager.

One picture, one thread, calls in turn; each round of calls gives ratios of CPU times to torch eager
in float32.  No bars: a table to choose from.  How far each way is from eager stands beside it, as
the largest difference on the scale of the answer and as the share of pixels with the same class.
Weights and picture are random, so the shares are worse than on trained networks.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
from _measure import conditions, significant, spread, table, write
from onnx_speed import NETWORKS, Network, run, session
from torch import nn

import compiler
import segdsl
from compiler.pipeline import optimize
from compiler.to_onnx.quantize import quantize
from compiler.weights import Weights, initialise
from compiler.weights.baking import baked_graph, baked_weights
from segdsl.analysis.params import params
from segdsl.ir import Graph

EAGER = "torch eager"
Way = Callable[[], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds of calls")
    parser.add_argument("--side", type=int, default=256, help="of the square picture")
    parser.add_argument("--only", choices=NETWORKS, help="one network alone")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile (slow)")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    where = conditions("torch", "onnxruntime", "openvino", "numpy")
    rows = {}
    for name, network in NETWORKS.items():
        if args.only in (None, name):
            rows[name] = measure(network, args.side, args.rounds, compiled=not args.no_compile)
            _print(name, rows[name])
    results = {
        "question": "CPU time of one forward pass by way of running it, against torch eager",
        "conditions": where | {"threads": 1},
        "input": [1, 3, args.side, args.side],
        "networks": rows,
    }
    if args.only is None and not args.no_compile:
        write("deployment", results)


def measure(network: Network, side: int, rounds: int, *, compiled: bool) -> dict[str, Any]:
    """Time every way of running one network."""
    graph = segdsl.load(network.spec, **network.settings)
    weights = initialise(params(graph), 0, style="fixture")
    image = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        ways = _torch_ways(graph, weights, image, compiled=compiled)
        ways |= _file_ways(graph, weights, image, Path(folder))
        answers = {name: way() for name, way in ways.items()}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            names = list(ways) if turn % 2 else list(ways)[::-1]
            for name in names:
                begin = process_time()
                ways[name]()
                if turn:
                    times[name].append(process_time() - begin)
    return {name: _row(name, times, answers) for name in ways}


def _torch_ways(
    graph: Graph, weights: Weights, image: np.ndarray, *, compiled: bool
) -> dict[str, Way]:
    """The emitted module as it is, folded, in another layout, type and through the compiler."""
    picture = torch.from_numpy(image)
    last = picture.to(memory_format=torch.channels_last)
    eager = compiler.to_torch(graph, weights).eval()
    folded = optimize(graph)

    def made() -> nn.Module:
        plain = compiler.to_torch(baked_graph(folded), baked_weights(folded, weights)).eval()
        # torch's annotation lacks the keyword
        return plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def way(module: nn.Module, x: torch.Tensor) -> Way:
        return lambda: _first(module(x)).float().numpy()

    ways = {
        EAGER: way(eager, picture),
        "--fold, channels_last": way(made(), last),
        "--fold, channels_last, bfloat16": way(made().bfloat16(), last.bfloat16()),
    }
    if compiled:
        ways["torch.compile"] = way(torch.compile(eager), picture)  # type: ignore[arg-type]
    return ways


def _first(answer: Any) -> torch.Tensor:
    first: torch.Tensor = answer if isinstance(answer, torch.Tensor) else answer[0]
    return first


def _file_ways(graph: Graph, weights: Weights, image: np.ndarray, folder: Path) -> dict[str, Way]:
    """Our file, for all sizes, in the runtimes that are here."""
    content = compiler.to_onnx(graph, None, weights)
    name = graph.inputs[0]
    eight = quantize(content, [lambda: {name: image}], {}).content
    ready, small = session(content), session(eight)
    ways: dict[str, Way] = {
        "ONNX Runtime": lambda: run(ready, image),
        "ONNX Runtime, int8": lambda: run(small, image),
    }
    if find_spec("openvino") is not None:
        ways["OpenVINO"] = _openvino(content, image, folder, "f32")
        ways["OpenVINO, bfloat16"] = _openvino(content, image, folder, "bf16")
    return ways


def _openvino(content: bytes, image: np.ndarray, folder: Path, precision: str) -> Way:
    import openvino

    file = folder / "net.onnx"
    file.write_bytes(content)
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
    made = openvino.Core().compile_model(str(file), "CPU", options)
    request = made.create_infer_request()
    return lambda: np.array(request.infer({0: image})[0])


def _row(
    name: str, times: Mapping[str, list[float]], answers: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    exact, found = answers[EAGER], answers[name]
    ratios = [mine / other for mine, other in zip(times[name], times[EAGER], strict=True)]
    return {
        "cpu_seconds": spread(times[name]),
        "ratio": significant(median(ratios)),
        "largest_difference": significant(
            float(np.abs(found - exact).max()) / max(1.0, float(np.abs(exact).max()))
        ),
        "same_class": significant(float((found.argmax(1) == exact.argmax(1)).mean())),
    }


def _print(name: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    lines = [
        (
            way,
            row["cpu_seconds"]["median"],
            row["ratio"],
            f"{row['largest_difference']:.1e}",
            f"{row['same_class']:.2%}",
        )
        for way, row in rows.items()
    ]
    table([name, "CPU s", "ratio", "difference", "same class"], lines)
    print(flush=True)


if __name__ == "__main__":
    main()
