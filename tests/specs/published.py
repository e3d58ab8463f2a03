"""Published facts about the stock networks: names and shapes of their weights, counts, costs."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"

Key = tuple[str, tuple[int, ...], str]
"""One entry of a state_dict: name, shape, element type."""


def keys(name: str) -> list[Key]:
    """The state_dict of a published model, in its order."""
    with gzip.open(DATA / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        (entries,) = json.load(file).values()
    return [(key, tuple(shape), dtype) for key, shape, dtype in entries]


def zoo(name: str, classes: int) -> dict[str, Any]:
    """Parameters, GMAC and input size of a published model."""
    models = json.loads((DATA / "zoo.json").read_text(encoding="utf-8"))
    (model,) = (m for m in models if m["name"] == name and m["num_classes"] == classes)
    return dict(model)


@dataclass(frozen=True)
class Form:
    """A stock spec with settings.

    Attributes:
        spec: its name.
        settings: values of its parameters.
        zoo: the published model that it is, or None.
        classes: that model's classes.
        keys: the committed list of names and shapes, or None.
    """

    spec: str
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    zoo: str | None = None
    classes: int = 21
    keys: str | None = None

    @property
    def id(self) -> str:
        """As `unet[form=valid]`."""
        words = ",".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{self.spec}[{words}]" if words else self.spec


def _resnet(depth: int, keys: str | None) -> Form:
    return Form("resnet", {"depth": depth}, keys and f"torchvision/{keys}", 1000, keys)


FORMS = (
    Form("convcrf", {}),
    Form("convcrf", {"crf": False}, "torchvision/fcn_resnet50 (no aux)"),
    Form("convcrf", {"depth": 101, "blur": 1, "window": 7}),
    Form("crfasrnn", {}),
    Form("crfasrnn", {"crf": False}),
    Form("dcn_resnet50", {}),
    Form("dcn_resnet50", {"modulated": True}),
    Form("dcn_resnet50", {"deform": (False, False, False, False)}, "torchvision/resnet50", 1000),
    Form("deeplabv1_largefov", {}),
    Form("deeplabv1_largefov", {"crf": False}, "DeepLab-LargeFOV VGG16 (3x3,r=12,1024)"),
    Form("deeplabv2_crf", {}, keys="deeplabv2_resnet101_msc_kazuto1011"),
    Form("deeplabv2_crf", {"crf": False}, "DeepLabV2 ResNet-101 ASPP-L MSC (0.5,0.75,1)"),
    Form("deeplabv2_crf", {"classes": 182, "scales": ()}),
    Form("deeplabv3", {}, "torchvision/deeplabv3_resnet101", 21, "deeplabv3_resnet101"),
    Form("deeplabv3", {"aux": False}, "torchvision/deeplabv3_resnet101 (no aux)"),
    Form("deeplabv3", {"depth": 50, "classes": 19}),
    Form("deeplabv3", {"rates": (6, 12, 18)}),
    Form("fcn_resnet50", {}, "torchvision/fcn_resnet50", 21, "fcn_resnet50"),
    Form("fcn_resnet50", {"aux": False}, "torchvision/fcn_resnet50 (no aux)"),
    Form("fcn_resnet50", {"depth": 101}),
    Form("fcn8s", {}, "FCN-8s VGG16 (pytorch-fcn)", 21),
    Form("fcn8s", {"classes": 60}),
    Form("internimage", {}, "InternImage-T", 1000, "internimage_t"),
    Form("internimage", {"variant": "S"}),
    Form("internimage", {"variant": "B"}),
    Form("internimage", {"variant": "L"}, "InternImage-L", 1000),
    Form("internimage", {"variant": "XL"}, "InternImage-XL", 1000),
    Form("internimage", {"variant": "H"}, "InternImage-H", 1000, "internimage_h"),
    Form("internimage", {"channels": 32, "depths": (1, 1, 2, 1)}),
    _resnet(18, "resnet18"),
    _resnet(34, "resnet34"),
    _resnet(50, "resnet50"),
    _resnet(101, "resnet101"),
    _resnet(152, None),
    Form("seresnet50", {}, "timm/seresnet50", 1000, "timm_seresnet50"),
    Form("tiramisu", {"depth": 56}, "FC-DenseNet56", 11),
    Form("tiramisu", {"depth": 56, "classes": 12}, "FC-DenseNet56", 12),
    Form("tiramisu", {"depth": 67}),
    Form("tiramisu", {}, "FC-DenseNet103", 11),
    Form("tiramisu", {"classes": 12}, "FC-DenseNet103", 12, "fcdensenet103_bfortuner"),
    Form("unet", {}, "U-Net milesial (bilinear=False)", 2, "unet_milesial"),
    Form("unet", {"classes": 1}, "U-Net milesial (bilinear=False, 1 class)", 1),
    Form("unet", {"form": "same"}, "U-Net milesial (bilinear=False)", 2, "unet_milesial"),
    Form("unet", {"form": "valid", "channels": 1}, "U-Net 2015 (valid, 1 in, 2 classes)", 2),
    Form("unet", {"form": "valid", "drop": 0.5}, "U-Net 2015 (valid, 3 in, 2 classes)", 2),
    Form("unet", {"form": "same", "width": 8, "depth": 2}),
    Form("unet", {"form": "valid", "width": 1, "depth": 1}),
    Form("unet_resnet34", {}, "smp/Unet(resnet34)", 21, "smp_Unet_resnet34"),
    Form("unet_resnet34", {"classes": 1, "width": 4}),
    Form("upernet", {}),
    Form("upernet", {"depth": 101, "aux": False}),
    Form("upernet_internimage", {}, "UPerNet(InternImage-T)", 150, "upernet_internimage_t"),
    Form("upernet_internimage", {"variant": "L"}, "UPerNet(InternImage-L)", 150),
    Form("upernet_internimage", {"variant": "XL"}, "UPerNet(InternImage-XL)", 150),
    Form("upernet_internimage", {"variant": "H"}, "UPerNet(InternImage-H)", 150),
    Form("upernet_internimage", {"channels": 16, "depths": (1, 1, 2, 1), "aux": False}),
    Form("vgg16", {}, "torchvision/vgg16", 1000, "vgg16"),
    Form("vgg16", {"classes": 10}),
)
"""Every stock spec at its defaults and at others."""
