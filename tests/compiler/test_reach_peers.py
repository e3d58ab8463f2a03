"""The programs of published networks against the networks themselves, as torchvision and timm.

The peer's graph is kept, its arithmetic is not: every convolution becomes one channel with equal
positive weights (an exact stand-in for a receptive field, and cheap at 3,200 pixels), maximum
becomes average, normalization nothing. Then the gradient of one pixel is nonzero just where the
network reads. TF-slim's own forms cannot be imported; their rows are in the tests of `segdsl`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from segdsl import load
from segdsl.analysis.reach.support import supports
from segdsl.analysis.reach.wiring import wire_at
from segdsl.types import Axis
from tests.support.peers import need

NETS = Path(__file__).parents[1] / "segdsl" / "analysis" / "data" / "nets"


class Mean(nn.Module):
    """A convolution of the same window to one channel, all weights equal."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.kernel = torch.full((1, 1, *conv.kernel_size), 1 / prod(conv.kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        """The mean over channels and window; whoever comes next takes any number of channels."""
        conv, mean = self.conv, x.mean(1, keepdim=True)
        assert not isinstance(conv.padding, str)
        weight = self.kernel.to(x)
        return functional.conv2d(mean, weight, None, conv.stride, conv.padding, conv.dilation)


def averaged(pool: nn.MaxPool2d) -> nn.AvgPool2d:
    assert pool.dilation == 1
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)


def linear(module: nn.Module) -> nn.Module:
    """The network with all that could hide a dependence replaced, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, Mean(child))
        elif isinstance(child, nn.MaxPool2d):
            setattr(module, name, averaged(child))
        elif isinstance(child, nn.BatchNorm2d | nn.ReLU):
            # timm's norms hold their activation; what reaches either is never negative.
            setattr(module, name, nn.Identity())
        else:
            linear(child)
    return module.eval()


def _googlenet() -> Callable[[Tensor], Tensor]:
    models = need("torchvision").models
    net = models.googlenet(weights=None, aux_logits=False, init_weights=False)
    found: list[Tensor] = []
    net.inception5b.register_forward_hook(lambda _module, _given, out: found.append(out))
    net.fc = nn.Identity()
    linear(net)

    def last(image: Tensor) -> Tensor:
        net(image)
        return found.pop()

    return last


def _timm(name: str) -> Callable[[], Callable[[Tensor], Tensor]]:
    def make() -> Callable[[Tensor], Tensor]:
        features: Any = linear(need("timm").create_model(name, pretrained=False))
        answer: Callable[[Tensor], Tensor] = features.forward_features
        return answer

    return make


@dataclass(frozen=True)
class Case:
    """A program, the stage, the network, and a long and a short side of the input."""

    spec: str
    stage: str
    peer: Callable[[], Callable[[Tensor], Tensor]]
    long: int
    short: int

    @property
    def settings(self) -> dict[str, Any]:
        """What the program needs to be the peer."""
        return {"form": "torchvision"} if self.spec == "googlenet" else {}


CASES = [
    Case("googlenet", "inception5b", _googlenet, 703, 223),
    Case("resnet50d", "layer4", _timm("resnet50d"), 577, 64),
    Case("inception_v3", "Mixed_7c", _timm("inception_v3"), 1451, 75),
    Case("inception_resnet_v2", "Conv2d_7b_1x1", _timm("inception_resnet_v2"), 3203, 75),
]


def read_by(
    peer: Callable[[Tensor], Tensor], sides: tuple[int, int], axis: Axis
) -> tuple[int, list[tuple[int, ...]]]:
    """The size of the peer's map along an axis, and what its first, middle and last places read."""
    image = torch.ones(1, 3, *sides, dtype=torch.float64, requires_grad=True)
    out = peer(image)
    size = out.shape[2 + axis]
    found = []
    for y in (0, size // 2, size - 1):
        (gradient,) = torch.autograd.grad(out.select(2 + axis, y).sum(), image, retain_graph=True)
        found.append(tuple(gradient.abs().sum((0, 1, 3 - axis)).nonzero()[:, 0].tolist()))
    return size, found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.spec)
def test_a_program_reads_what_its_network_reads(case: Case) -> None:
    graph = load(NETS / f"{case.spec}.seg", **case.settings)
    peer = case.peer()
    axes: tuple[Axis, Axis] = (0, 1)
    for axis in axes:
        sides = (case.long, case.short) if axis == 0 else (case.short, case.long)
        wiring = wire_at(graph, dict(zip("HW", sides, strict=True)))
        ours = supports(wiring, graph.stages[case.stage], axis)
        size, theirs = read_by(peer, sides, axis)
        assert len(ours) == size
        assert [tuple(sorted(ours[y])) for y in (0, size // 2, size - 1)] == theirs
