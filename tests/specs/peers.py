"""The published models that the stock specs are compared with, number for number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.specs.crf_references import CrfRnnScores, LargeFOV, MultiScale
from tests.specs.dcn_references import dcn_resnet50
from tests.specs.intern_references import (
    ClipClassifier,
    ConvClassifier,
    Size,
    UPerNet,
    upernet_internimage,
)
from tests.specs.references import (
    FCN8s,
    MilesialUNet,
    UNet2015,
    names_of_2015,
    tiramisu,
)
from tests.support.peers import need

Prefixes = Mapping[str, str]


@dataclass(frozen=True)
class Peer:
    """A spec with settings, and the model that it must equal.

    Attributes:
        spec: name of the stock spec.
        settings: its parameters.
        make: the published model, with its random weights.
        image: shape of a small input.
        prefixes: the model's names -> ours; empty where they are the same.
        double: the model adds in another order: compared in float64, not to the last bit.
    """

    spec: str
    settings: dict[str, Any]
    make: Callable[[], nn.Module]
    image: tuple[int, int, int, int]
    prefixes: Prefixes = field(default_factory=dict[str, str])
    double: bool = False

    @property
    def id(self) -> str:
        """As `resnet[depth=18]`."""
        words = ",".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{self.spec}[{words}]" if words else self.spec


def _vision(name: str, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        models = need("torchvision").models
        maker = getattr(models, name, None) or getattr(models.segmentation, name)
        module: nn.Module = maker(weights=None, **options)
        return module

    return make


def _segmentation(name: str, *, aux: bool = True, classes: int = 21) -> Callable[[], nn.Module]:
    return _vision(name, weights_backbone=None, num_classes=classes, aux_loss=aux)


def _seresnet50() -> nn.Module:
    module: nn.Module = need("timm").create_model("seresnet50", pretrained=False)
    return module


def _smp_unet() -> nn.Module:
    smp = need("segmentation_models_pytorch")
    module: nn.Module = smp.Unet("resnet34", encoder_weights=None, classes=21)
    return module


def _unet(form: str, channels: int, depth: int, drop: float = 0.0, width: int = 8) -> Peer:
    settings = {"form": form, "channels": channels, "width": width, "depth": depth, "drop": drop}
    if form == "valid":
        size = 12 * 2**depth
        return Peer(
            "unet",
            settings,
            lambda: UNet2015(channels, 2, width, depth, drop),
            (2, channels, size - 4, size - 4 + 2**depth),
            names_of_2015(depth),
        )
    pad = form == "padded"
    image = (2, channels, 37, 51) if pad else (2, channels, 3 * 2**depth, 2 * 2**depth)
    return Peer("unet", settings, lambda: MilesialUNet(channels, 2, width, depth, pad), image)


def _intern(variant: str, size: Size) -> Peer:
    head = ClipClassifier if variant == "H" else ConvClassifier
    settings = {"variant": variant, "channels": size.channels, "depths": tuple(size.depths)}
    image = (2, 3, 64, 96) if variant == "H" else (2, 3, 65, 49)
    settings["classes"] = 7
    return Peer("internimage", settings, lambda: _filled(head(size, 7)), image, double=True)


def _filled(module: nn.Module) -> nn.Module:
    """With numbers for the bare arrays, which no layer owns."""
    for name, array in module.named_parameters():
        if name.split(".")[-1] not in ("weight", "bias"):
            nn.init.uniform_(array, -0.5, 1.0)
    return module


class _Features(nn.Module):
    """timm's ResNet-50-C: three 3x3 convolutions where ResNet-50 has one 7x7."""

    def __init__(self) -> None:
        super().__init__()
        options = {"features_only": True, "out_indices": (1, 2, 3, 4)}
        self.body = need("timm").create_model("resnet50c", pretrained=False, **options)

    def forward(self, image: Tensor) -> Any:
        return self.body(image)


def _upernet_resnet50() -> nn.Module:
    return UPerNet(_Features(), (256, 512, 1024, 2048), 150)


PEERS = (
    *(
        Peer("resnet", {"depth": depth}, _vision(f"resnet{depth}"), (2, 3, 65, 49))
        for depth in (18, 34, 50, 101, 152)
    ),
    Peer("vgg16", {}, _vision("vgg16"), (2, 3, 33, 40)),
    Peer("seresnet50", {}, _seresnet50, (2, 3, 65, 49)),
    Peer("deeplabv3", {}, _segmentation("deeplabv3_resnet101"), (2, 3, 65, 49)),
    Peer(
        "deeplabv3",
        {"depth": 50, "classes": 19, "aux": False},
        _segmentation("deeplabv3_resnet50", aux=False, classes=19),
        (2, 3, 65, 49),
    ),
    Peer("fcn_resnet50", {}, _segmentation("fcn_resnet50"), (2, 3, 65, 49)),
    Peer("fcn_resnet50", {"depth": 101}, _segmentation("fcn_resnet101"), (2, 3, 33, 49)),
    Peer("unet_resnet34", {}, _smp_unet, (2, 3, 64, 96)),
    Peer("fcn8s", {}, lambda: FCN8s(21), (1, 3, 33, 40)),
    Peer("crfasrnn", {"crf": False}, lambda: CrfRnnScores(21), (1, 3, 33, 40)),
    Peer("deeplabv1_largefov", {"crf": False}, lambda: LargeFOV(21), (2, 3, 33, 49)),
    Peer("deeplabv2_crf", {"crf": False, "scales": (0.5,)}, lambda: MultiScale(21), (1, 3, 33, 49)),
    Peer(
        "convcrf",
        {"crf": False, "depth": 50},
        _segmentation("fcn_resnet50", aux=False),
        (2, 3, 33, 49),
    ),
    *(
        Peer(
            "dcn_resnet50",
            {"modulated": modulated},
            partial(dcn_resnet50, modulated),
            (2, 3, 33, 33),
            double=True,
        )
        for modulated in (False, True)
    ),
    _intern("T", Size(16, (1, 1, 2, 1), drop=0.1)),
    _intern("S", Size(32, (1, 2, 1, 1), "post", 1e-5, drop=0.4)),
    _intern("L", Size(16, (1, 1, 1, 1), "post", 1e-5, offset_scale=2.0, drop=0.1)),
    _intern("H", Size(32, (1, 1, 7, 1), "res_post", huge=True, drop=0.2)),
    Peer(
        "upernet_internimage",
        {"channels": 16, "depths": (1, 1, 2, 1), "width": 24, "classes": 5},
        lambda: _filled(
            upernet_internimage(Size(16, (1, 1, 2, 1), layer_scale=1.0, drop=0.2), 5, 24)
        ),
        (2, 3, 65, 49),
        double=True,
    ),
    Peer(
        "upernet",
        {},
        _upernet_resnet50,
        (2, 3, 65, 49),
        {"backbone.body.conv1": "backbone.stem", "backbone.body.bn1": "backbone.stem.7"}
        | {f"backbone.body.layer{i}": f"backbone.layer{i}" for i in range(1, 5)},
    ),
    _unet("padded", channels=3, depth=4),
    _unet("padded", channels=1, depth=2),
    _unet("same", channels=3, depth=4),
    _unet("valid", channels=1, depth=4),
    _unet("valid", channels=3, depth=2, drop=0.5),
    *(
        Peer("tiramisu", {"depth": d, "classes": 12}, partial(tiramisu, d, 12), (2, 3, 33, 49))
        for d in (56, 67, 103)
    ),
)


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Weights that tell networks apart: outputs keep their scale, statistics are not 0 and 1."""
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.uniform_(layer.weight, 0.5, 1.0)
            nn.init.normal_(layer.bias, std=0.1)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
        elif isinstance(layer, nn.LayerNorm):
            nn.init.uniform_(layer.weight, 0.5, 1.0)
            nn.init.normal_(layer.bias, std=0.1)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            bound = (3.0 / layer.weight[0].numel()) ** 0.5
            nn.init.uniform_(layer.weight, -1.4 * bound, 1.4 * bound)
    return module


def renamed(state: Mapping[str, Tensor], prefixes: Prefixes) -> dict[str, Tensor]:
    """The state_dict of a peer under our names."""
    return {_rename(name, prefixes): tensor for name, tensor in state.items()}


def _rename(name: str, prefixes: Prefixes) -> str:
    for old, new in prefixes.items():
        if name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


def tensors(output: Any) -> list[Tensor]:
    """The maps that a module returns, in order: one, a tuple, or torchvision's dict.

    What is computed in training only is None outside of it.
    """
    return [tensor for tensor in _tensors(output) if tensor is not None]


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from output.values()
    else:
        yield from output
