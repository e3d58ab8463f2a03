"""Published receptive fields of networks written out in `data/nets`, for any size and at one.

The rows with the padding by input size are TF-slim's, which cannot be imported here: the programs
follow its code, with TensorFlow's SAME padding written out for the even and the odd sizes. Where
torchvision or timm has the network, `tests/compiler/test_reach_peers.py` holds it against that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdsl import load
from segdsl.analysis.reach.concrete import Concrete, fields, interior
from segdsl.analysis.reach.periodic import Phases
from segdsl.analysis.reach.tables import reach
from segdsl.elaborate.net import Setting
from segdsl.ir import Graph
from segdsl.types import Axis

HERE = Path(__file__).parent / "data"
ROWS: list[dict[str, Any]] = json.loads((HERE / "receptive_fields.json").read_text())["published"]
AXES: tuple[Axis, Axis] = (0, 1)


@dataclass(frozen=True)
class Net:
    """One program of `data/nets` and the rows that it stands for.

    `sizes` has the inputs of one parity: the one whose padding the row gives, and a larger one
    (the widest row has 3,039 pixels) in which whole fields fit.
    """

    network: str
    spec: str
    settings: tuple[tuple[str, Setting], ...] = ()
    sizes: tuple[int, int] = (224, 224)

    @property
    def id(self) -> str:
        """As `inception_v2 at 321`."""
        return f"{self.network} at {self.sizes[0]}"


def both(network: str, spec: str, wide: int, **settings: Setting) -> list[Net]:
    """A network of TF-slim at 224 and 321; its maps stay odd, or even, down to the last stride."""
    return [
        Net(network, spec, (*settings.items(), ("odd", size == 321)), (size, size + wide))
        for size in (224, 321)
    ]


def unpadded(network: str, spec: str, wide: int) -> list[Net]:
    """A network whose padding is the same at all sizes."""
    return [Net(network, spec, (), (size, size + wide)) for size in (224, 321)]


SLIM = [
    *both("inception_v2", "inception_v2", 1024, separable=True),
    *both("inception_v2-no-separable-conv", "inception_v2", 1024, separable=False),
    *unpadded("inception_v3", "inception_v3", 1600),
    *unpadded("inception_resnet_v2", "inception_resnet_v2", 3200),
    *both("inception_resnet_v2-same", "inception_resnet_v2", 3200, same=True),
    *both("resnet_v1_50", "slim_resnet", 640, depth=50, preact=False),
    *both("resnet_v1_101", "slim_resnet", 1280, depth=101, preact=False),
    *both("resnet_v2_50", "slim_resnet", 640, depth=50, preact=True),
    *both("resnet_v2_101", "slim_resnet", 1280, depth=101, preact=True),
]
OTHERS = [
    (Net("torchvision googlenet", "googlenet", (("form", "torchvision"),), (256, 768)),
     "inception5b"),
    (Net("GoogLeNet (paper geometry)", "googlenet", (("form", "paper"),), (256, 1280)),
     "inception5b"),
    (Net("FCN-GoogLeNet", "googlenet", (("form", "paper"),), (256, 1600)), "pooled"),
    (Net("timm resnet50d", "resnet50d", (), (224, 864)), "layer4"),
]  # fmt: skip


@lru_cache(maxsize=4)
def program(net: Net) -> Graph:
    settings: dict[str, Any] = dict(net.settings)
    return load(HERE / "nets" / f"{net.spec}.seg", **settings)


@lru_cache(maxsize=4)
def exact(net: Net, size: int) -> Concrete:
    return fields(program(net), {"H": size, "W": size})


def check(net: Net, stage: str, row: dict[str, Any], padding: int | None) -> None:
    """A row against the periodic field, and that against the exact fields at two sizes."""
    graph = program(net)
    value = graph.stages[stage]
    table = reach(graph)
    for axis in AXES:
        state = table.line(value, axis).local
        assert isinstance(state, Phases)
        assert (state.period, state.shift) == (1, row["effective_stride"])
        (span,) = state.spans
        assert span is not None
        assert span.length == row["receptive_field"]
        assert padding is None or -span.lo == padding
        at_the_border(exact(net, net.sizes[0]), net.sizes[0], value, axis, state)
        field = exact(net, net.sizes[1]).local(value, axis)
        assert field is not None
        inside = interior(field, state)
        assert inside is not None
        assert field.at(inside[0]) == (
            inside[0] * state.shift + span.lo,
            inside[0] * state.shift + span.hi,
        )


def at_the_border(concrete: Concrete, size: int, value: Any, axis: Axis, state: Phases) -> None:
    """Each field at this size begins where the periodic one does, clipped, and ends no later."""
    field = concrete.local(value, axis)
    assert field is not None
    (span,) = state.spans
    assert span is not None
    first = np.arange(len(field)) * state.shift
    assert (field.lo == np.maximum(first + span.lo, 0)).all()
    assert (field.hi <= np.minimum(first + span.hi, size - 1)).all()


@pytest.mark.parametrize("net", SLIM, ids=lambda net: net.id)
def test_the_networks_of_tf_slim(net: Net) -> None:
    found = [row for row in ROWS if row["network"] == net.network]
    assert found
    for row in found:
        padding = row["effective_padding"][str(net.sizes[0])]
        assert padding is not None
        assert row["effective_padding"]["None"] in (None, padding)
        check(net, row["end_point"].split("/")[-1], row, padding)


@pytest.mark.parametrize(("net", "stage"), OTHERS, ids=[net.network for net, _ in OTHERS])
def test_googlenets_and_resnet_d(net: Net, stage: str) -> None:
    (row,) = (row for row in ROWS if row["network"] == net.network)
    check(net, stage, row, row["effective_padding"])


ELSEWHERE = {
    "alexnet_v2", "vgg_a", "vgg_16", "mobilenet_v1", "mobilenet_v1_075",
    "Yu&Koltun context module", "Yu&Koltun front-end + context",
    "Yu&Koltun front-end (VGG16, pool4/5 removed, conv5 dilation 2, fc6 7x7 dilation 4, all valid)",
    "FCN-AlexNet", "FCN-VGG16", "FCN", "FCN-32s output", "FCN-16s output", "FCN-8s output",
    "torchvision resnet18", "torchvision resnet34", "torchvision resnet50 (v1.5)",
    "torchvision resnet101", "torchvision resnet152", "U-Net (Ronneberger)",
    "U-Net (Ronneberger, valid convs, up-conv 2x2)", "vinloo/u-net-receptive-field-study trf204",
    "FC-DenseNet56", "FC-DenseNet103", "torchvision fcn_resnet50 backbone os8",
    "torchvision fcn_resnet50 head", "torchvision deeplabv3_resnet50",
    "torchvision deeplabv3_resnet50 (os8, rates 12/24/36)",
    "torchvision-style deeplabv3_resnet101 os8",
}  # fmt: skip
"""The networks of `test_reach_published.py`, next to the DeepLabs v1 and V-Net."""


def test_no_row_is_left_out() -> None:
    here = {net.network for net in SLIM} | {net.network for net, _ in OTHERS}
    rest = {row["network"] for row in ROWS} - here - ELSEWHERE
    assert all(name.startswith("DeepLab-CRF") for name in rest), rest
