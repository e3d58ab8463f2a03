"""Whole networks: the Triton target by each policy, and the torch target, compiled too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.kernels.aspp import Shape, useful_pixels
from benchmarks.kernels.check import said
from benchmarks.kernels.coverage import coverage
from benchmarks.kernels.machine import Machine
from benchmarks.kernels.stats import spread
from compiler import to_torch, to_triton
from compiler.to_triton.kernels.router import policy
from compiler.to_triton.prepare import fused_graph
from compiler.to_triton.regions import AsppBlock
from segdsl.analysis.cost import macs
from segdsl.analysis.params import node_params
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Node, Value
from segdsl.ops.ports import Input, Output, Weight
from segdsl.program import load

HALF = 2
"""Bytes of an element of the maps and the weights."""


@dataclass(frozen=True)
class Network:
    """A network of the library at one size.

    Attributes:
        name: of the program.
        size: batch, height and width.
        settings: of the program.
    """

    name: str
    size: tuple[int, int, int]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def key(self) -> str:
        """What its record is called."""
        return f"network {self.name} {'x'.join(map(str, self.size))}"

    @property
    def sizes(self) -> dict[str, int]:
        """Its symbols."""
        return dict(zip(("N", "H", "W"), self.size, strict=True))


NETWORKS = (
    Network("deeplabv3", (1, 513, 513), {"depth": 101, "aux": False}),
    Network("deeplabv3", (1, 1024, 2048), {"depth": 101, "aux": False}),
    Network("unet", (1, 512, 512)),
    Network("tiramisu", (1, 352, 480)),
    Network("internimage", (1, 512, 2048)),
    Network("deeplabv2_crf", (1, 513, 513)),
)

SMALL = Network("unet", (1, 9, 10), {"width": 16, "depth": 1})
"""For a rehearsal."""


def network(row: Network, machine: Machine, ceilings: Mapping[str, Any]) -> dict[str, Any]:
    """The record of one network, channels last, with the random weights of one seed.

    The others are the torch target as it is and under `torch.compile`; where a network ends in a
    random field, that is its plain torch.
    """
    graph = load(row.name, **row.settings)
    torch.manual_seed(0)
    image = torch.randn(row.size[0], 3, *row.size[1:], device=machine.device)
    half = image.to(machine.dtype).contiguous(memory_format=torch.channels_last)
    plain = to_torch(graph).eval().to(machine.device)
    fused = to_triton(graph).to(machine.device, machine.dtype)
    found: dict[str, Any] = {"record": "network", "key": row.key, "name": row.name}
    found |= {"size": list(row.size), "settings": dict(row.settings)}
    with torch.no_grad():
        wanted = scores(plain(image)).float()
        found["policies"] = {
            how: _by_policy(how, fused, graph, row, half, wanted, machine)
            for how in ("measured", "all", "none")
        }
        base = plain.to(machine.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        found |= _others(base, half, wanted, machine)
    floor = network_floor(graph, row.sizes, ceilings)
    best = min(times["median"] for times in found["baselines_us"].values())
    ours = found["policies"]["measured"]["us"]["median"]
    return found | {"floor_us": floor, "of_floor": floor / ours, "speedup": best / ours}


def _by_policy(
    how: str, fused: nn.Module, graph: Graph, row: Network, half: Tensor, wanted: Tensor,
    machine: Machine,
) -> dict[str, Any]:  # fmt: skip
    """Errors, time, memory and coverage by one policy."""
    call = partial(fused, half)
    with policy(how):
        covered = coverage(fused, fused_graph(graph), row.sizes, call)
        times = spread(machine.timed(partial(_called, call), [{}]))
        found: dict[str, Any] = {"us": times, **_errors(call(), wanted)}
        found |= {"peak_bytes": machine.peak(call), "coverage": covered}
        try:
            found["time_share"] = machine.share(call)
        except Exception as failure:  # a profiler that does not work loses no other figure
            found["time_share_failed"] = said(failure)
    return found


def _called(call: Callable[[], Any], _: object) -> Any:
    return call()


def _others(base: nn.Module, half: Tensor, wanted: Tensor, machine: Machine) -> dict[str, Any]:
    calls: dict[str, Callable[..., Any]] = {"torch": base}
    if machine.compiles:
        calls["compile"] = torch.compile(base, mode="max-autotune-no-cudagraphs")
    found: dict[str, Any] = {"baselines_us": {}, "baselines_peak_bytes": {}, "baselines_error": {}}
    for who, net in calls.items():
        call = partial(net, half)
        try:
            times = spread(machine.timed(partial(_called, call), [{}]))
        except Exception as failure:  # told, not hidden: `torch` alone then is the other
            found.setdefault("baselines_failed", {})[who] = said(failure)
            continue
        found["baselines_us"][who] = times
        found["baselines_peak_bytes"][who] = machine.peak(call)
        found["baselines_error"][who] = _errors(call(), wanted)
    return found


def _errors(got: Any, wanted: Tensor) -> dict[str, float]:
    y = scores(got).float()
    return {
        "rel_l2": float((y - wanted).norm() / wanted.norm()),
        "same_class": float((y.argmax(1) == wanted.argmax(1)).double().mean()),
    }


def scores(found: Any) -> Tensor:
    """The first output, which holds the scores."""
    first: Tensor = found[0] if isinstance(found, tuple) else found
    return first


def network_floor(graph: Graph, sizes: Mapping[str, int], ceilings: Mapping[str, Any]) -> float:
    """Microseconds of a network whose every region is bound by memory or by multiplication.

    The sum over regions of the larger of the two; taps that see padding only are not counted.
    """
    fused = fused_graph(graph)
    types, counts = shapes(fused, sizes), macs(fused, sizes)
    total = 0.0
    for node in fused.nodes():
        if isinstance(node.op, Input | Output | Weight):
            continue
        work = 2 * counts.get(node.name, 0) - _dead(fused, node, types)
        flops = work / ceilings["matmul_bf16_tflops"] / 1e6
        memory = _bytes(fused, node, types) / ceilings["copy_tb_s"] / 1e6
        total += max(flops, memory)
    return round(total, 2)


def _bytes(graph: Graph, node: Node, types: Mapping[Value, Any]) -> int:
    """What a region reads and writes: its operands, its arrays and its results."""
    reads = graph.operands(node.name)
    maps = [types[value] for value in reads]
    maps += [types[Value(node.name, port)] for port in range(len(node.op.results))]
    elements = sum(_elements(feature.shape) for feature in maps)
    arrays = node_params(node, [types[value] for value in reads])
    return HALF * (elements + sum(param.count for param in arrays.values()))


def _elements(shape: tuple[Any, ...]) -> int:
    total = 1
    for size in shape:
        total *= int(str(size))
    return total


def _dead(graph: Graph, node: Node, types: Mapping[Value, Any]) -> int:
    """The operations of a pyramid on padding."""
    if not isinstance(node.op, AsppBlock):
        return 0
    n, c, h, w = (int(str(size)) for size in types[graph.operands(node.name)[0]].shape)
    shape = Shape(n, h, w, node.op.rates, c, node.op.branches[0].out)
    dense = n * h * w * sum(9 if rate else 1 for rate in shape.rates)
    return 2 * c * shape.k * (dense - useful_pixels(shape))
