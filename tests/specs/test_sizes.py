"""The sizes that a spec accepts are those at which the published model runs, size by size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compiler import to_torch
from segdsl.analysis.shapes import shapes
from segdsl.analysis.sizes import SizeSet
from segdsl.ir import Graph
from segdsl.library import stock_names
from segdsl.program import examine
from tests.specs.peers import PEERS, Peer, tensors

LARGEST = 80

CHOSEN = tuple(
    peer
    for peer in PEERS
    if peer.settings.get("depth") not in (34, 67, 101, 103, 152)
    and (peer.spec, peer.settings) not in (("resnet", {"depth": 50}), ("deeplabv3", {}))
    and peer.settings.get("variant", "T") == "T"
    and not peer.settings.get("modulated")
    and not (
        peer.spec == "unet" and peer.settings["depth"] == 4 and peer.settings["form"] == "valid"
    )
)
"""One of each kind: other depths have the same sizes. The deep valid U-Net begins at 188."""


SPARSE = {"convcrf": 10, "crfasrnn": 10, "deeplabv2_crf": 20, "dcn_resnet50": 40}
SPARSE |= {"internimage": 20, "upernet_internimage": 20, "upernet": 40}
"""Specs whose backbone is tried at every size by another one: one size in so many will do."""


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
    always = [name for name in graph.outputs if not getattr(graph[name].op, "train", False)]
    found = [table[graph.operands(name)[0]].shape for name in always]
    return [tuple(int(size) for size in shape) for shape in found]  # type: ignore[arg-type]


def test_every_stock_spec_is_tried() -> None:
    assert {peer.spec for peer in CHOSEN} == set(stock_names())


def sizes_of(accepted: SizeSet) -> dict[tuple[int, int], bool]:
    """Heights and widths to try, each with whether it should run: every height, some widths."""
    other = accepted.at_least(LARGEST // 2)
    least = accepted.minimum
    assert other is not None
    assert least is not None
    heights = {(size, other): size in accepted for size in range(1, LARGEST + 1)}
    widths = {*range(1, LARGEST, 13), least - 1, least, least + 1} - {0}
    return heights | {(other, size): size in accepted for size in widths}


@pytest.mark.parametrize("peer", CHOSEN, ids=lambda peer: peer.id)
def test_accepted_sizes_are_those_that_run(peer: Peer) -> None:
    program = examine(peer.spec, settings=peer.settings)
    graph = program.graph
    assert graph is not None
    assert program.accepted["H"].stretches == program.accepted["W"].stretches
    with torch.device("meta"):
        theirs = peer.make().eval()
    ours = to_torch(graph).to("meta").eval()
    channels = peer.image[1]
    pairs = list(sizes_of(program.accepted["H"]).items())
    for (height, width), fits in pairs[:: SPARSE.get(peer.spec, 1)]:
        found = runs(theirs, height, width, channels)
        assert (found is not None) == fits, (height, width)
        if found is not None:
            assert found == declared(graph, height, width)
        if found is not None and (height + width) % 3 == 0:
            assert found == shapes_at(ours, height, width, channels)
