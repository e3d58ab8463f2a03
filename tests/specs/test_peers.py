"""The emitted modules against the published models: strict loading, outputs equal bit by bit.

Those with deformable convolutions, which the models add up in another order, are equal in float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from compiler import to_torch
from segdsl.library import stock_names
from segdsl.program import load
from tests.specs.peers import PEERS, Peer, randomise, renamed, tensors


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pair(peer: Peer) -> tuple[nn.Module, nn.Module]:
    """Our module and the published one, with the same arrays (not shared)."""
    theirs = randomise(peer.make(), seed=1)
    ours = to_torch(load(peer.spec, **peer.settings))
    ours.load_state_dict(renamed(theirs.state_dict(), peer.prefixes), strict=True)
    return ours, theirs


def run(module: nn.Module, image: Tensor) -> list[Tensor]:
    """The outputs, and last where the random stream stands: nobody drew more or fewer numbers."""
    torch.manual_seed(3)
    with torch.no_grad():
        found = tensors(module(image))
    return [*found, torch.rand(7)]


def assert_equal(ours: list[Tensor], theirs: list[Tensor], within: float = 0.0) -> None:
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert torch.isfinite(b).all()
        assert b.std() > 1e-3
        assert (a - b).abs().max().item() <= within


def test_every_stock_spec_has_a_peer() -> None:
    assert {peer.spec for peer in PEERS} == set(stock_names())


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.id)
def test_outputs_are_equal_to_the_last_bit(peer: Peer) -> None:
    ours, theirs = pair(peer)
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(peer.image, generator=generator)
    within = 0.0
    if peer.double:
        ours, theirs, image, within = ours.double(), theirs.double(), image.double(), 1e-10
    assert_equal(run(ours.eval(), image), run(theirs.eval(), image), within)

    assert_equal(run(ours.train(), image), run(theirs.train(), image), within)
    buffers = renamed(dict(theirs.named_buffers()), peer.prefixes)
    assert set(buffers) == {name for name, _ in ours.named_buffers()}
    for name, buffer in ours.named_buffers():
        assert torch.allclose(buffer, buffers[name], rtol=0.0, atol=within), name
