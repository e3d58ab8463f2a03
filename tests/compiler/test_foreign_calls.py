"""Translated calls against the modules of torch that they came from: shapes, weights, values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compiler.to_torch.build import build
from segdsl.diagnostics import Applicability
from segdsl.fixes import fix
from tests.support.grown import examine_text

SIDE = 18
CALLS = (
    "Conv2d(4, 8, 3)", "Conv2d(4, 8, 3, 2, 1)", "Conv2d(4, 8, [3, 5], padding=[1, 2], bias=False)",
    "Conv2d(4, 8, 3, 1, 2, 2, 4, False)", "Conv2d(in_channels=4, out_channels=6, kernel_size=1)",
    'Conv2d(4, 8, 3, padding="same", dilation=2)', 'Conv2d(4, 8, 3, padding_mode="zeros")',
    "ConvTranspose2d(4, 8, 2, stride=2)", "ConvTranspose2d(4, 8, 3, 2, 1, 1, 2, False, 1)",
    "BatchNorm2d(4)", "BatchNorm2d(4, 1e-3, 0.2)", "BatchNorm2d(num_features=4, affine=False)",
    "GroupNorm(2, 4)", "GroupNorm(2, 4, eps=1e-3)", "LocalResponseNorm(3, alpha=1e-3, k=2.0)",
    "MaxPool2d(2)", "MaxPool2d(3, 2, 1)", "MaxPool2d(3, stride=2, ceil_mode=True)",
    "MaxPool2d(kernel_size=2, dilation=2, stride=1)", "AvgPool2d(3, 2, 1)",
    "AvgPool2d(3, stride=2, padding=1, count_include_pad=False)", "AdaptiveAvgPool2d(3)",
    "AdaptiveAvgPool2d(output_size=[2, 3])", "ReLU(inplace=True)", "ReLU6()", "LeakyReLU(0.2)",
    "GELU()", 'GELU(approximate="tanh")', "SiLU()", "Hardswish()", "Hardsigmoid()", "Sigmoid()",
    "Tanh()", "Identity()", "Softmax(dim=1)", "Softmax2d()", "LogSoftmax(1)", "PixelShuffle(2)",
    "PixelUnshuffle(3)", "Upsample(scale_factor=2)", "Upsample(size=32)", "Upsample([20, 30])",
    'Upsample(scale_factor=2, mode="bilinear", align_corners=True)',
    "UpsamplingBilinear2d(scale_factor=2)", "UpsamplingNearest2d(size=[32, 24])",
    "Dropout(0.3)", "Dropout2d(0.3)", "Unfold(3, padding=1)",
)  # fmt: skip


def translated(call: str) -> str:
    """The program that says the call, after its certain fixes."""
    text = (
        f"seg 1\nnet T() {{\n  input x: f32[N, 4, {SIDE}, {SIDE}]\n"
        f"  output y = x -> nn.{call} @m\n}}\n"
    )
    for _ in range(3):
        program = examine_text(text)
        if not program.failed:
            return text
        found = [d for d in program.diagnostics if d.span is not None]
        assert {d.code for d in found} <= {"E1002", "E1009"}, [d.message for d in found]
        assert any(h.applicability is Applicability.CERTAIN for d in found for h in d.helps), call
        text = fix(found[0].span.source, found).text  # type: ignore[union-attr]
    raise AssertionError(text)


def weightless(call: str) -> str:
    """A path stands only behind what has weights."""
    owns = call.startswith(("Conv", "BatchNorm", "GroupNorm"))
    return call if owns else f"{call}\n  # "


@pytest.mark.parametrize("call", CALLS)
def test_the_translated_call_computes_what_the_module_does(call: str) -> None:
    text = translated(weightless(call))
    graph = examine_text(text).graph
    assert graph is not None
    peer = eval(f"nn.{call}", {"nn": nn}).eval()
    ours = build(graph).eval()
    theirs = dict(peer.state_dict())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())
    ours.load_state_dict({f"m.{name}": array for name, array in theirs.items()}, strict=True)
    x = torch.rand(2, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.no_grad():
        wanted, got = peer(x), ours(x)
    got = got if isinstance(got, torch.Tensor) else got["y"]
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
