"""Deformable stages and heads: LPSNet's head, and what stages are while no point moves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compiler import to_torch
from segdsl.program import load, parse
from tests.specs.dcn_references import SemanticHead
from tests.specs.peers import randomise
from tests.support.peers import need

HEAD = """seg 1
from std.dcn import DeformSemanticHead
net Head() {
  input p2: f32[N, 6, H, W] where H % 4 == 0, W % 4 == 0
  p3 = p2 -> max_pool(2)
  p4 = p3 -> max_pool(2)
  output scores = [p2, p3, p4] -> DeformSemanticHead(5, channels=8) @.
}
"""


def test_the_semantic_head_shares_its_convolutions_over_the_levels() -> None:
    theirs = randomise(SemanticHead(6, 8, 5), seed=1).double()
    ours = to_torch(parse(HEAD)).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    finest = torch.randn(2, 6, 16, 24, dtype=torch.float64)
    levels = [finest, *(nn.functional.max_pool2d(finest, k) for k in (2, 4))]
    expected = theirs(*levels)
    assert expected.std() > 0.1
    assert (ours(finest) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("modulated", [False, True])
def test_stages_that_move_nothing_are_those_of_resnet(modulated: bool) -> None:
    """Offsets start at zero; the mask, a sigmoid of zero, halves what a convolution gives."""
    theirs = randomise(need("torchvision").models.resnet50(weights=None, num_classes=9), seed=1)
    state = dict(theirs.state_dict())
    ours = to_torch(load("dcn_resnet50", modulated=modulated, classes=9))
    for name in ours.state_dict():
        if ".conv_offset." in name:
            state[name] = torch.zeros_like(ours.state_dict()[name])
            if modulated and name.endswith("conv_offset.bias"):
                weight = name.replace("conv_offset.bias", "weight")
                state[weight] = 2 * state[weight]
    ours.load_state_dict(state, strict=True)
    image = torch.randn(1, 3, 33, 40, dtype=torch.float64)
    ours, theirs = ours.double().eval(), theirs.double().eval()
    with torch.no_grad():
        expected = theirs(image)
        assert expected.std() > 1e-3
        assert (ours(image) - expected).abs().max() < 1e-10
