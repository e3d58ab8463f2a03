"""Whether two forms of one graph's source are one network: names, order, numbers, modes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compiler.to_torch.build import build
from compiler.weights import initialise
from segdsl.analysis.params import params
from segdsl.ir import Graph
from segdsl.ops.ports import Input

SIZES = {"N": 2, "H": 32, "W": 48}


def images(graph: Graph, seed: int = 0, **sizes: int) -> list[Tensor]:
    """Random inputs of the graph; free sizes are those of `SIZES` unless given."""
    generator = torch.Generator().manual_seed(seed)
    known = {**SIZES, **sizes}
    tensors = []
    for name in graph.inputs:
        op = graph[name].op
        assert isinstance(op, Input)
        shape = [size if isinstance(size, int) else known[str(size)] for size in op.shape]
        tensors.append(torch.rand(shape, generator=generator) * (255 if op.dtype == "u8" else 1))
        tensors[-1] = tensors[-1].to(torch.uint8) if op.dtype == "u8" else tensors[-1]
    return tensors


def results(module: nn.Module, inputs: list[Tensor], seed: int = 0) -> list[Tensor | None]:
    """The outputs, and last where the random stream stands after them."""
    torch.manual_seed(seed)
    found = module(*inputs)
    outputs = list(found) if isinstance(found, tuple) else [found]
    return [*outputs, torch.rand(3)]


def assert_equal(ours: list[Tensor | None], theirs: list[Tensor | None]) -> None:
    """Equal to the last bit, training outputs missing in the same places."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        if a is None or b is None:
            assert a is b
        else:
            assert a.shape == b.shape
            assert torch.isfinite(a).all()
            assert torch.equal(a, b)


def pair(graph: Graph) -> tuple[nn.Module, nn.Module]:
    """The outlined and the flat module with equal weights that are nowhere 0 or 1."""
    table = params(graph)
    weights = initialise(table, seed=3, style="fixture")
    outlined, flat = build(graph, weights), build(graph, weights, flat=True)
    assert list(outlined.state_dict()) == list(flat.state_dict()) == list(table)
    return outlined, flat


def check_forms(graph: Graph, **sizes: int) -> nn.Module:
    """Outlined is flat in both modes; scripted and traced is eager. Answers the outlined module."""
    outlined, flat = pair(graph)
    inputs = images(graph, **sizes)
    for train in (False, True):
        assert_equal(results(outlined.train(train), inputs), results(flat.train(train), inputs))
    outlined.eval()
    eager = results(outlined, inputs)
    assert_equal(results(torch.jit.script(outlined), inputs), eager)
    assert_equal(results(torch.fx.symbolic_trace(outlined), inputs), eager)
    return outlined
