"""The settings that the field's tools and papers use, by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Two kernels and how they are run.

    Attributes:
        gaussian: weight and sigma of the kernel over places; weight 0 leaves it out.
        bilateral: weight, sigma of the places (`None`: colours alone), sigma of the colours.
        source: where the numbers come from.
    """

    gaussian: tuple[float, float]
    bilateral: tuple[float, float | None, float]
    source: str
    iterations: int = 10
    norm: str = "symmetric"
    method: str = "lattice"
    window: int = 7
    blur: int = 1
    unary_weight: float = 1.0


PRESETS = {
    "pydensecrf": Preset((3, 3), (10, 80, 13), "README of lucasb-eyer/pydensecrf", iterations=5),
    "deeplab_v1": Preset((3, 3), (4, 49, 5), "run_densecrf.sh of DeepLab-LargeFOV"),
    "deeplab_v2_vgg": Preset((2, 2), (4, 65, 3), "public ports of DeepLab v2, VGG-16"),
    "deeplab_v2_resnet": Preset((3, 1), (4, 67, 3), "voc12.yaml of kazuto1011/deeplab-pytorch"),
    "crfasrnn": Preset((3, 3), (5, 160, 3), "torrvision/crfasrnn", norm="after"),
    "convcrf": Preset(
        # 0.2 stands before both kernels there, and is taken from the unary.
        (0.6, 3),
        (2.0, None, 13),
        "defaults of MarvinTeichmann/ConvCRF, started from the softmax",
        iterations=5,
        norm="none",
        method="window",
        window=11,
        blur=4,
        unary_weight=0.8,
    ),
}
"""By name, as in the standard library of the language."""
