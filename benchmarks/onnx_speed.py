"""Does our ONNX file run as fast in ONNX Runtime as the one that `torch.onnx.export` writes?

The same weights, without auxiliary heads, one thread, calls in turn; each round of calls gives
ratios of CPU times.  Theirs is exported at the very size it is run at; ours once at that size and
once for all sizes.  Bars: median ratio 1.00 (fixed) and 1.05 (free).  All must answer the same.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from time import process_time
from typing import Any

import numpy as np
import onnxruntime
import torch
from _measure import conditions, significant, spread, table, verdict, write
from _peers import library, tensors
from torch import Tensor, nn

import compiler
import segdsl
from compiler.weights import Weights, initialise
from segdsl.analysis.params import params

BARS = {"ours, fixed": 1.00, "ours, free": 1.05}
THEIRS = "torch.onnx.export"
SAME = 1e-4
"""The most that answers may differ, on the scale of the largest."""


@dataclass(frozen=True)
class Network:
    """A stock spec beside a published module without auxiliary head."""

    spec: str
    settings: Mapping[str, Any]
    make: Callable[[], nn.Module]
    sizes: tuple[int, ...]


class _First(nn.Module):
    """The first map that a module answers."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor) -> Tensor:
        return tensors(self.inner(image))[0]


def _torchvision(name: str) -> nn.Module:
    make = getattr(library("torchvision.models.segmentation"), name)
    module: nn.Module = make(weights=None, weights_backbone=None, aux_loss=False)
    return module


def _smp() -> nn.Module:
    smp = library("segmentation_models_pytorch")
    module: nn.Module = smp.Unet("resnet34", encoder_weights=None, classes=21)
    return module


NETWORKS = {
    "deeplabv3_resnet50": Network(
        "specs/deeplabv3.seg",
        {"depth": 50, "aux": False},
        lambda: _torchvision("deeplabv3_resnet50"),
        (256, 513),
    ),
    "fcn_resnet50": Network(
        "specs/fcn_resnet50.seg", {"aux": False}, lambda: _torchvision("fcn_resnet50"), (256, 513)
    ),
    "unet_resnet34": Network("specs/unet_resnet34.seg", {}, _smp, (256, 512)),
}
"""The U-Net of segmentation_models_pytorch takes multiples of 32 only."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="counted rounds of calls")
    parser.add_argument("--only", choices=NETWORKS, help="one network alone")
    parser.add_argument("--size", type=int, help="one side alone")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # the exporter comments on its own internals
    torch.set_num_threads(1)
    where = conditions("onnxruntime", "onnx", "torch", "torchvision", "segmentation_models_pytorch")
    rows: dict[str, Any] = {}
    for name, network in NETWORKS.items():
        for side in network.sizes:
            if args.only in (None, name) and args.size in (None, side):
                rows[f"{name} {side}"] = compare(network, side, args.rounds)
                _print(f"{name} {side}", rows[f"{name} {side}"])
    results = {
        "question": "CPU time of our file in ONNX Runtime against that of torch.onnx.export",
        "conditions": where | {"threads": 1},
        "bars": BARS,
        "networks": rows,
    }
    if args.only is None and args.size is None:
        write("onnx_speed", results)


def compare(network: Network, side: int, rounds: int) -> dict[str, Any]:
    """Time three files of one network."""
    graph = segdsl.load(network.spec, **network.settings)
    weights = initialise(params(graph), 0, style="fixture")
    image = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        sessions = {
            THEIRS: session(exported(network, weights, image, Path(folder))),
            "ours, fixed": session(compiler.to_onnx(graph, None, weights, size=(side, side))),
            "ours, free": session(compiler.to_onnx(graph, None, weights)),
        }
    difference = _difference({name: run(ready, image) for name, ready in sessions.items()})
    assert difference <= SAME, difference
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(rounds + 1):
        names = list(sessions) if turn % 2 else list(sessions)[::-1]
        for name in names:
            begin = process_time()
            run(sessions[name], image)
            if turn:
                times[name].append(process_time() - begin)
    return {
        "input": [1, 3, side, side],
        "largest_difference": significant(difference),
        "cpu_seconds": {name: spread(values) for name, values in times.items()},
        "ratio": {name: _ratio(times[name], times[THEIRS]) for name in BARS},
    }


def exported(network: Network, weights: Weights, image: np.ndarray, folder: Path) -> str:
    """The file that torch's exporter writes of the published module with these weights."""
    module = network.make()
    arrays = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
    module.load_state_dict(arrays, strict=True)
    target = folder / "theirs.onnx"
    picture = (torch.from_numpy(image),)
    torch.onnx.export(_First(module).eval(), picture, target, dynamo=True, verbose=False)
    return str(target)


def session(content: bytes | str) -> Any:
    """A session on one thread, with the optimisations that it has by default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(ready: Any, image: np.ndarray) -> np.ndarray:
    """The first output."""
    answer: np.ndarray = ready.run(None, {ready.get_inputs()[0].name: image})[0]
    return answer


def _difference(answers: Mapping[str, np.ndarray]) -> float:
    """The largest difference from theirs, on the scale of the answer."""
    theirs = answers[THEIRS]
    scale = max(1.0, float(np.abs(theirs).max()))
    return max(float(np.abs(answer - theirs).max()) for answer in answers.values()) / scale


def _ratio(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    low, _, high = quantiles(ratios, n=4)
    return {
        "median": significant(median(ratios)),
        "quartiles": [significant(low), significant(high)],
        "rounds": len(ratios),
    }


def _print(name: str, row: Mapping[str, Any]) -> None:
    print(f"{name}: difference {row['largest_difference']:.1e}")
    theirs = row["cpu_seconds"][THEIRS]["median"]
    lines = [(THEIRS, theirs, 1.0, "", "")]
    for ours, bar in BARS.items():
        ratio = row["ratio"][ours]
        quartiles = "{:.3f}..{:.3f}".format(*ratio["quartiles"])
        told = verdict(ratio["median"], bar, "times")
        lines.append((ours, row["cpu_seconds"][ours]["median"], ratio["median"], quartiles, told))
    table(["medians", "CPU s", "ratio", "quartiles", "bar"], lines)
    print(flush=True)


if __name__ == "__main__":
    main()
