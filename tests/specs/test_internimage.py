"""InternImage: its six sizes, its memory, its fields, its targets, one stage that learns."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compiler import to_torch
from compiler.cli import main
from segdsl.analysis.params import count, params
from segdsl.program import examine, load, parse
from tests.specs.intern_references import (
    ClipClassifier,
    ConvClassifier,
    Size,
    upernet_internimage,
)
from tests.support.peers import need

SIZES = {
    "T": Size(64, (4, 4, 18, 4)),
    "S": Size(80, (4, 4, 21, 4), "post", 1e-5),
    "B": Size(112, (4, 4, 21, 4), "post", 1e-5),
    "L": Size(160, (5, 5, 22, 5), "post", 1e-5, 2.0),
    "XL": Size(192, (5, 5, 24, 5), "post", 1e-5, 2.0),
    "H": Size(320, (6, 6, 32, 6), "res_post", huge=True),
}
PRINTED = {"T": (30, 59), "S": (50, 80), "B": (97, 128), "L": (223, 256), "XL": (335, 368)}
"""Millions of parameters in the tables of the paper: classification, UPerNet."""


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("variant", SIZES)
def test_every_size_has_the_weights_of_the_release(variant: str) -> None:
    size = SIZES[variant]
    segmenting = replace(size, layer_scale=None if variant == "H" else 1.0)
    head = ClipClassifier if variant == "H" else ConvClassifier
    with torch.device("meta"):
        modules = {
            "internimage": head(size, 1000),
            "upernet_internimage": upernet_internimage(segmenting, 150),
        }
    for i, (spec, module) in enumerate(modules.items()):
        table = params(load(spec, variant=variant))
        assert {name: param.shape for name, param in table.items()} == shapes_of(module)
        assert count(table) == sum(p.numel() for p in module.parameters())
        if variant in PRINTED:
            assert round(count(table) / 1e6) == PRINTED[variant][i]


PEAK = """
import resource, sys
from compiler.cli import main

main(["summary", "internimage", "--set", "variant=" + sys.argv[1], "--size", "640x640", "--json"])
assert "torch" not in sys.modules
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def test_a_billion_parameters_are_summed_up_without_an_array() -> None:
    peaks = {}
    for variant in ("T", "H"):
        command = [sys.executable, "-c", PEAK, variant]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[variant] = int(done.stderr) / (2**20 if sys.platform == "darwin" else 2**10)
        found = json.loads(done.stdout)["parameters"]
        assert found == {"T": 29_918_424, "H": 1_089_636_760}[variant]
    assert peaks["H"] - peaks["T"] < 64  # MiB; the weights of H would take 4,157


@pytest.mark.parametrize("variant", SIZES)
def test_the_nominal_field_is_that_of_the_grid(variant: str) -> None:
    """By hand: a 3x3 grid of points, as wide as its scale, in every block."""
    size = SIZES[variant]
    field, jump = 7, 4  # of the stem
    for level, depth in enumerate(size.depths):
        field += depth * 2 * round(size.offset_scale) * jump
        if level < 3:
            field, jump = field + 2 * jump, 2 * jump
    checks = f"  check rf(f.c5).size == {field}px\n  check rf(f.c5).is_global\n"
    text = f"""seg 1
from std.internimage import InternImage
net Field() {{
  input image: f32[N, 3, H, W]
  f = image -> InternImage("{variant}") @.
  output y = f.c5
{checks}}}
"""
    parse(text)  # raises where a check fails


def test_the_sizes_of_h_are_those_where_nothing_is_spread() -> None:
    """The release adds maps of h and 2h' rows; where one has a single row, torch spreads it."""
    settings: dict[str, Any] = {"variant": "H", "channels": 32, "depths": (1, 1, 1, 1)}
    accepted = examine("internimage", settings=settings).accepted
    for side in range(1, 200):
        fine, coarse = -(-side // 16), -(-side // 32)
        assert (side in accepted["H"]) == (side in accepted["W"]) == (fine == 2 * coarse)


SHORT = ["--set", "channels=16", "--set", "depths=[1,1,1,1]", "--set", "classes=5"]


@pytest.mark.parametrize(
    "command",
    [
        ["internimage", *SHORT],
        ["upernet_internimage", *SHORT, "--set", "width=24"],
    ],
    ids=lambda command: command[0],
)
def test_torch_and_onnx_agree(command: list[str]) -> None:
    need("onnxruntime")
    assert main(["verify", *command, "--size", "64x96"]) == 0


STAGE = """seg 1
from std.internimage import Level, Stem
net Stage() {
  input image: f32[N, 3, H, W]
  output scores = image -> Stem(64) @patch_embed -> Level(4, 4, [], "pre") @levels.0
                        -> conv(2, 1) @head
}
"""


def picture() -> tuple[Tensor, Tensor]:
    """An astronaut, and at stride 4 where she is brighter than the middle value."""
    pixels = need("skimage.data").astronaut()[:128, 150:278]
    image = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None] / 127.5 - 1
    bright = F.avg_pool2d(image.mean(1, keepdim=True), 4)[:, 0]
    return image, (bright > bright.median()).long()


def test_a_stage_of_t_learns_a_real_picture() -> None:
    torch.manual_seed(0)
    module = to_torch(parse(STAGE)).train()
    image, labels = picture()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    losses, moved = [], set()
    for _ in range(8):
        optimizer.zero_grad()
        loss = F.cross_entropy(module(image), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        moved |= {name for name, p in module.named_parameters() if _has_gradient(p)}
        optimizer.step()
        losses.append(loss.item())
    assert moved == {name for name, _ in module.named_parameters()}
    assert sum(p.numel() for p in module.parameters()) == 19_584 + 197_936 + 130
    assert losses[-1] < 0.6 * losses[0], losses


def _has_gradient(array: nn.Parameter) -> bool:
    grad = array.grad
    return grad is not None and bool(torch.isfinite(grad).all() & (grad != 0).any())
