"""The hand-written references are the published models: same names, order, shapes and counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.specs.intern_references import (
    ClipClassifier,
    ConvClassifier,
    Size,
    upernet_internimage,
)
from tests.specs.published import Key, keys, zoo
from tests.specs.references import FCN8s, MilesialUNet, UNet2015, tiramisu

PUBLISHED: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "unet_milesial": (
        lambda: MilesialUNet(3, 2, 64, 4, pad=True),
        "U-Net milesial (bilinear=False)",
        2,
    ),
    "unet2015_reference": (
        lambda: UNet2015(1, 2, 64, 4, drop=0.0),
        "U-Net 2015 (valid, 1 in, 2 classes)",
        2,
    ),
    "fcn8s_pytorch_fcn": (lambda: FCN8s(21), "FCN-8s VGG16 (pytorch-fcn)", 21),
    "fcdensenet103_bfortuner": (lambda: tiramisu(103, 12), "FC-DenseNet103", 12),
    "internimage_t": (
        lambda: ConvClassifier(Size(64, (4, 4, 18, 4)), 1000),
        "InternImage-T",
        1000,
    ),
    "internimage_h": (
        lambda: ClipClassifier(Size(320, (6, 6, 32, 6), "res_post", huge=True), 1000),
        "InternImage-H",
        1000,
    ),
    "upernet_internimage_t": (
        lambda: upernet_internimage(Size(64, (4, 4, 18, 4), layer_scale=1.0), 150),
        "UPerNet(InternImage-T)",
        150,
    ),
}


def entries(module: nn.Module) -> list[Key]:
    state = module.state_dict()
    return [(k, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for k, t in state.items()]


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_order_shapes_and_count(name: str) -> None:
    make, model, classes = PUBLISHED[name]
    with torch.device("meta"):
        module = make()
    assert entries(module) == keys(name)
    assert sum(p.numel() for p in module.parameters()) == zoo(model, classes)["params"]


def test_the_2015_net_maps_572_to_388() -> None:
    with torch.device("meta"):
        module = UNet2015(1, 2, 64, 4, drop=0.0)
        assert module(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
