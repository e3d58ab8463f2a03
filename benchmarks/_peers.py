"""The published modules that ours are compared with, and the means to import them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Peer:
    """A stock spec beside the module that it describes.

    Attributes:
        spec: the file, from the root of the repository.
        settings: its parameters.
        package: the library that has the peer.
        make: builds the peer, with random weights.
        size: side of the square picture that both are given.
    """

    spec: str
    settings: Mapping[str, Any]
    package: str
    make: Callable[[], nn.Module]
    size: int


def _deeplabv3(depth: int) -> nn.Module:
    models = library("torchvision.models.segmentation")
    make = getattr(models, f"deeplabv3_resnet{depth}")
    module: nn.Module = make(weights=None, weights_backbone=None, aux_loss=True)
    return module


def _smp_unet() -> nn.Module:
    smp = library("segmentation_models_pytorch")
    module: nn.Module = smp.Unet("resnet34", encoder_weights=None, classes=21)
    return module


PEERS = {
    "deeplabv3_resnet50": Peer(
        "specs/deeplabv3.seg", {"depth": 50}, "torchvision", lambda: _deeplabv3(50), 256
    ),
    "deeplabv3_resnet101": Peer(
        "specs/deeplabv3.seg", {"depth": 101}, "torchvision", lambda: _deeplabv3(101), 256
    ),
    "unet_resnet34": Peer(
        "specs/unet_resnet34.seg", {}, "segmentation_models_pytorch", _smp_unet, 256
    ),
}


def tensors(answer: Any) -> tuple[Tensor, ...]:
    """The maps that a network answers: alone, in a tuple or in a dictionary."""
    if isinstance(answer, Tensor):
        return (answer,)
    return tuple(answer.values() if isinstance(answer, Mapping) else answer)


def library(name: str) -> Any:
    """Import a peer's library.

    A torchvision wheel built for CUDA cannot load its compiled operators beside a CPU torch, and
    then fails while it registers fake kernels for them. Those registrations alone are skipped; the
    model definitions work as ever.
    """
    register = torch.library.register_fake

    def tolerant(op: Any, *args: Any, **options: Any) -> Any:
        if isinstance(op, str) and op.startswith("torchvision::"):
            try:
                getattr(torch.ops.torchvision, op.partition("::")[2])
            except AttributeError:
                return lambda function: function
        return register(op, *args, **options)

    torch.library.register_fake = tolerant
    try:
        return importlib.import_module(name)
    finally:
        torch.library.register_fake = register
