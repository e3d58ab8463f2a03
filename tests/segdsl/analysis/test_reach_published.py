"""Published receptive fields: of the stock specs, and of chains written out here."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from segdsl import load
from segdsl.analysis.reach.tables import AxisReach, reach
from segdsl.ir import Graph
from segdsl.ops.combine import Crop
from tests.support.reach_nets import FCN_HEAD, chain, fcn, graph_of, output_of, vgg

DATA = json.loads((Path(__file__).parent / "data" / "receptive_fields.json").read_text())
ROWS: list[dict[str, Any]] = DATA["published"]


def rows(network: str) -> list[dict[str, Any]]:
    found = [row for row in ROWS if row["network"] == network]
    assert found, network
    return found


def row(network: str, end_point: str) -> dict[str, Any]:
    (found,) = (r for r in rows(network) if r["end_point"] == end_point)
    return found


def at(graph: Graph, stage: str, axis: int = 0) -> AxisReach:
    return reach(graph).axis(graph.stages[stage], 0 if axis == 0 else 1)


def matches(found: AxisReach, row: dict[str, Any], size: str | None = None) -> None:
    """Field, stride and padding of a row; a row of a table gives the padding by input size."""
    expected = row["receptive_field"]
    if expected == "global":
        assert found.is_global
        return
    low, high = expected if isinstance(expected, list) else (expected, expected)
    assert (found.rf_min, found.rf_max) == (low, high)
    assert found.jump == row["effective_stride"]
    padding = row["effective_padding"]
    if isinstance(padding, dict):
        padding = padding[size or "None"]
    if padding is not None:
        assert found.by_phase is not None
        assert found.by_phase[0] is not None
        assert -found.by_phase[0][0] == padding
    if "phase_period" in row:
        assert found.period == row["phase_period"]


ALEXNET = [
    ("conv1", "conv(4, 11, stride=4)"), ("pool1", "max_pool(3, stride=2)"),
    ("conv2", "conv(4, 5, pad=2)"), ("pool2", "max_pool(3, stride=2)"),
    ("conv3", "conv(4, 3, pad=1)"), ("conv4", "conv(4, 3, pad=1)"),
    ("conv5", "conv(4, 3, pad=1)"), ("pool5", "max_pool(3, stride=2)"),
]  # fmt: skip
CHAINS = {
    "alexnet_v2": ALEXNET,
    "vgg_a": vgg([1, 1, 2, 2, 2]),
    "vgg_16": vgg([2, 2, 3, 3, 3]),
    "Yu&Koltun context module": [
        (f"layer{i}", f"conv(4, {k}, pad={d * (k - 1) // 2}, dilation={d})")
        for i, (d, k) in enumerate(zip([1, 1, 2, 4, 8, 16, 1, 1], [3] * 7 + [1], strict=True), 1)
    ],
}


def bound(end_point: str) -> str:
    """The name that an end point has here: `conv1_1` for `vgg_a/conv1/conv1_1`."""
    last = end_point.split("/")[-1]
    return f"layer{last.split()[1]}" if last.startswith("layer ") else last


@pytest.mark.parametrize("network", CHAINS)
def test_chains(network: str) -> None:
    table = reach(graph := graph_of(chain(CHAINS[network])))
    for line in rows(network):
        for axis in (0, 1):
            matches(table.axis(graph.stages[bound(line["end_point"])], axis), line)


def mobilenet(size: int) -> list[tuple[str, str]]:
    """MobileNet-v1 with TensorFlow's SAME padding at one input size."""
    layers, strides = [], [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    for i, stride in enumerate(strides):
        after = -(-size // stride)
        total = max((after - 1) * stride + 3 - size, 0)
        left, right = total // 2, total - total // 2
        name = "Conv2d_0" if i == 0 else f"Conv2d_{i}_pointwise"
        pad = f"[{left}, {left}, {right}, {right}]"
        layers.append((name, f"conv(4, 3, stride={stride}, pad={pad})"))
        size = after
    return layers


@pytest.mark.parametrize("network", ["mobilenet_v1", "mobilenet_v1_075"])
@pytest.mark.parametrize("size", [224, 321])
def test_mobilenet_pads_by_its_input_size(network: str, size: int) -> None:
    table = reach(graph := graph_of(chain(mobilenet(size))))
    for line in rows(network):
        found = table.axis(graph.stages[bound(line["end_point"])], 0)
        matches(found, line, str(size))


@pytest.mark.parametrize(("depth", "network"), [
    (18, "torchvision resnet18"), (34, "torchvision resnet34"),
    (50, "torchvision resnet50 (v1.5)"), (101, "torchvision resnet101"),
    (152, "torchvision resnet152"),
])  # fmt: skip
def test_resnets(depth: int, network: str) -> None:
    found = at(load("resnet", depth=depth), "layer4")
    matches(found, row(network, "layer4"))
    assert found.tags == ("local",)


def test_resnet_with_the_stride_in_the_first_1x1_is_another() -> None:
    """483, the number of the papers' own code: not 427, torchvision's."""
    lines, last = ["s = x -> conv(4, 7, stride=2, pad=3) -> max_pool(3, stride=2, pad=1)"], "s"
    for stage, count in enumerate([3, 4, 6, 3]):
        for i in range(count):
            stride = 2 if i == 0 and stage else 1
            name = f"b{stage}_{i}"
            short = f"({last} -> conv(4, 1, stride={stride}))" if stride == 2 else last
            lines.append(
                f"{name} = ({last} -> conv(4, 1, stride={stride}) -> conv(4, 3, pad=1)"
                f" -> conv(4, 1)) + {short}"
            )
            last = name
    graph = graph_of("\n  ".join([*lines, f"output y = {last}"]))
    assert reach(graph).axis(output_of(graph), 0).rf_max == 483


def test_dilated_resnets_and_their_heads() -> None:
    fcn_net = load("fcn_resnet50")
    matches(at(fcn_net, "backbone.layer4"), row("torchvision fcn_resnet50 backbone os8", "layer4"))
    matches(at(fcn_net, "classifier"), row("torchvision fcn_resnet50 head", "conv3x3"))
    networks = {
        50: "torchvision deeplabv3_resnet50 (os8, rates 12/24/36)",
        101: "torchvision-style deeplabv3_resnet101 os8",
    }
    for depth, network in networks.items():
        deeplab = at(load("deeplabv3", depth=depth), "classifier.0")
        matches(deeplab, row(network, "ASPP without image pooling"))
        assert deeplab.full == "global"
        assert deeplab.via == ("stat",)
    pooled = row("torchvision deeplabv3_resnet50", "ASPP with image pooling")
    matches(at(load("deeplabv3", depth=50), "classifier.0"), pooled)


def test_a_gated_resnet_is_local_and_global_by_its_gates() -> None:
    found = at(load("seresnet50"), "layer4")
    assert (found.rf_min, found.rf_max) == (427, 427)
    assert found.full == "global"
    assert found.via == ("gate",)
    assert found.gates == ("se",)
    assert found.tags == ("gate", "global", "stat")


def test_unets() -> None:
    graph = load("unet", form="valid")
    found = at(graph, "up4")
    matches(found, row("U-Net (Ronneberger, valid convs, up-conv 2x2)", "output"))
    matches(at(graph, "down4.maxpool_conv.1"), row("U-Net (Ronneberger)", "bottleneck"))
    largest = row("vinloo/u-net-receptive-field-study trf204", "output")
    assert found.rf_max == largest["receptive_field"]


@pytest.mark.parametrize("depth", [56, 103])
def test_tiramisu(depth: int) -> None:
    graph = load("tiramisu", depth=depth)
    network = f"FC-DenseNet{depth}"
    matches(at(graph, "deep"), row(network, "bottleneck"))
    matches(at(graph, "logits"), row(network, "output"))


def test_fcn_on_vgg() -> None:
    matches(at(load("fcn8s"), "fc7"), row("FCN-VGG16", "fc6/fc7"))
    matches(at(load("fcn8s"), "score"), row("FCN-8s output", "per pixel"))
    phases = at(load("fcn8s"), "score").by_phase
    assert phases is not None
    assert sorted(hi - lo + 1 for lo, hi in filter(None, phases)).count(436) == 8
    for kind in (32, 16):
        graph = graph_of(fcn(kind))
        matches(at_output(graph), row(f"FCN-{kind}s output", "per pixel"))


def at_output(graph: Graph) -> AxisReach:
    return reach(graph).axis(output_of(graph), 0)


@pytest.mark.parametrize(("kind", "offsets"), [
    (32, ["FCN-32s score crop"]),
    (16, ["FCN-16s score_pool4 crop", "FCN-16s score crop"]),
    (8, ["FCN-16s score_pool4 crop", "FCN-8s score_pool3 crop", "FCN-8s score crop"]),
])  # fmt: skip
def test_automatic_crops_are_the_published_ones(kind: int, offsets: list[str]) -> None:
    graph = graph_of(fcn(kind))
    crops = [n.op.offset for n in graph.nodes() if isinstance(n.op, Crop)]
    assert crops == [(row("FCN", o)["crop_offset"],) * 2 for o in offsets]
    found = at_output(graph)
    assert found.centre_offset == 0
    assert found.path_offsets == (Fraction(0), Fraction(0))


def test_fcn_on_alexnet() -> None:
    caffenet = [
        ("conv1", "conv(4, 11, stride=4, pad=100)"), ("pool1", "max_pool(3, stride=2)"),
        ("conv2", "conv(4, 5, pad=2)"), ("pool2", "max_pool(3, stride=2)"),
        *ALEXNET[4:], ("fc6", "conv(4, 6)"), ("fc7", "conv(4, 1)"),
    ]  # fmt: skip
    body = chain(caffenet).rsplit("\n", 1)[0]
    up = "output y = fc7 -> conv_transpose(4, 63, stride=32) -> crop(like=x, offset=auto)"
    graph = graph_of(f"{body}\n  {up}")
    matches(at(graph, "fc7"), row("FCN-AlexNet", "fc6/fc7"))
    (crop,) = (n.op.offset for n in graph.nodes() if isinstance(n.op, Crop))
    assert crop == (18, 18)


def deeplab_v1(kernel: int, rate: int, pool: int) -> str:
    layers = []
    for stage, count in enumerate([2, 2, 3, 3, 3], 1):
        dilation = 2 if stage == 5 else 1
        layers += [(f"conv{stage}_{i}", f"conv(4, 3, pad={dilation}, dilation={dilation})")
                   for i in range(count)]  # fmt: skip
        stride = 2 if stage < 4 else 1
        layers.append((f"pool{stage}", f"max_pool({pool}, stride={stride}, pad={pool // 2})"))
    pad = rate * (kernel - 1) // 2
    return chain([*layers, ("fc6", f"conv(4, {kernel}, pad={pad}, dilation={rate})")])


@pytest.mark.parametrize("line", [r for r in ROWS if r["network"].startswith("DeepLab-CRF")],
                         ids=lambda r: str(r["network"]))  # fmt: skip
def test_deeplab_v1_is_wider_than_its_column(line: dict[str, Any]) -> None:
    for pool in (2, 3):
        graph = graph_of(deeplab_v1(line["kernel"], line["rate"], pool))
        expected = line["true_receptive_field"][f"pool{pool}x{pool}"]
        assert at(graph, "fc6").rf_max == expected
        assert line["receptive_field"] == (line["kernel"] - 1) * line["rate"] * 8 + 32


def test_yu_and_koltun_front_end() -> None:
    layers = [(name, f"conv(4, 3{', dilation=2' if name[:5] == 'conv5' else ''})")
              for name, _ in vgg([2, 2, 3, 3, 3])]  # fmt: skip
    layers = [(n, "max_pool(2)" if n.startswith("pool") else c) for n, c in layers
              if n not in ("pool4", "pool5")]  # fmt: skip
    layers += [("fc6", "conv(4, 7, dilation=4)"), ("fc7", "conv(4, 1)")]
    graph = graph_of(chain([*layers, *CHAINS["Yu&Koltun context module"]]))
    (front,) = (r for r in ROWS if r["network"].startswith("Yu&Koltun front-end (VGG16"))
    matches(at(graph, "fc7"), front)
    matches(at_output(graph), row("Yu&Koltun front-end + context", "final"))


def test_fcn_fc7_is_that_of_the_spec() -> None:
    graph = graph_of(chain([*vgg([2, 2, 3, 3, 3], 100, ceil=True), *FCN_HEAD]))
    assert at(graph, "fc7") == at(load("fcn8s"), "fc7")
