"""The sizes that a spec accepts are those at which the published model runs, size by size."""

from __future__ import annotations

import pytest

from segdsl.analysis.shapes import shapes
from segdsl.analysis.sizes import SizeSet
from segdsl.ir import Graph
from segdsl.library import stock_names
from segdsl.program import examine
from tests.specs.peers import PEERS, Peer, tensors
from tests.support.peers import need

need("torch")

import torch
from torch import nn

from compiler import to_torch

LARGEST = 80

CHOSEN = tuple(
    peer
    for peer in PEERS
    if peer.settings.get("depth") not in (34, 67, 101, 103, 152)
    and (peer.spec, peer.settings) not in (("resnet", {"depth": 50}), ("deeplabv3", {}))
    and not (peer.spec == "unet" and peer.settings["depth"] == 4 and peer.settings["form"] == "valid")
)
"""One of each kind: other depths have the same sizes. The deep valid U-Net begins at 188."""


def shapes_at(module: nn.Module, height: int, width: int, channels: int) -> list[tuple[int, ...]]:
    with torch.no_grad():
        outputs = tensors(module(torch.empty(1, channels, height, width, device="meta")))
    return [tuple(output.shape) for output in outputs]


def runs(module: nn.Module, height: int, width: int, channels: int) -> list[tuple[int, ...]] | None:
    """The shapes of the outputs; None where the published model refuses the size."""
    try:
        return shapes_at(module, height, width, channels)
    except (RuntimeError, ValueError):
        return None


def declared(graph: Graph, height: int, width: int) -> list[tuple[int, ...]]:
    table = shapes(graph, {"N": 1, "H": height, "W": width})
    found = [table[graph.operands(name)[0]].shape for name in graph.outputs]
    return [tuple(int(size) for size in shape) for shape in found]  # type: ignore[arg-type]


def test_every_stock_spec_is_tried() -> None:
    assert {peer.spec for peer in CHOSEN} == set(stock_names())


@pytest.mark.parametrize("axis", ["H", "W"])
@pytest.mark.parametrize("peer", CHOSEN, ids=lambda peer: peer.id)
def test_accepted_sizes_are_those_that_run(peer: Peer, axis: str) -> None:
    program = examine(peer.spec, settings=peer.settings)
    assert program.graph is not None
    accepted: SizeSet = program.accepted[axis]
    other = accepted.at_least(LARGEST // 2)
    assert other is not None
    with torch.device("meta"):
        theirs = peer.make().eval()
    ours = to_torch(program.graph).to("meta").eval() if axis == "H" else None
    channels = peer.image[1]
    for size in range(1, LARGEST + 1):
        height, width = (size, other) if axis == "H" else (other, size)
        found = runs(theirs, height, width, channels)
        assert (found is not None) == (size in accepted), size
        if found is not None:
            assert found == declared(program.graph, height, width), size
            if ours is not None:
                assert shapes_at(ours, height, width, channels) == found, size
