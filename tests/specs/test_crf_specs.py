"""The presets of `std.crf`, and the stock specs that end in a conditional random field."""

from __future__ import annotations

import pytest

from segdsl.analysis.params import count, params
from segdsl.ops.crf import MeanField
from segdsl.ops.terms import Bilateral, Gaussian, Pairwise
from segdsl.program import load, parse
from segdsl.types import Slot
from tests.specs.published import keys
from tests.support.peers import need

PRESETS: dict[str, tuple[int, tuple[float, float], tuple[float, float, float]]] = {
    "DenseCRF": (5, (3, 3), (10, 80, 13)),
    "DeepLabV1CRF": (10, (3, 3), (4, 49, 5)),
    "DeepLabV2VggCRF": (10, (2, 2), (4, 65, 3)),
    "DeepLabV2CRF": (10, (3, 1), (4, 67, 3)),
}
"""Iterations, weight and width in pixels of the gaussian; weight and widths of the bilateral."""


def operator(call: str, classes: int = 4) -> MeanField:
    text = f"""seg 1
from std.crf import {call.partition("(")[0]}
net T() {{
  input s: f32[N, {classes}, H, W]
  input rgb: u8[N, 3, H, W]
  output y = s -> {call}
}}
"""
    graph = parse(text)
    (op,) = (node.op for node in graph.nodes() if isinstance(node.op, MeanField))
    return op


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_numbers_of_their_sources(name: str) -> None:
    iterations, (weight, wide), (colour, far, fine) = PRESETS[name]
    op = operator(f"{name}(rgb)")
    place, like = Gaussian(float(wide), compat=float(weight)), Slot(1)
    pair = Bilateral(like, float(far), float(fine), compat=float(colour))
    assert op == MeanField((place, pair), iterations=iterations)
    assert operator(f"{name}(rgb, iterations=2, method=window)").method == "window"


def test_crf_as_rnn_has_three_learned_matrices() -> None:
    op = operator("CRFasRNN(rgb) @crf")
    kernels = (
        Gaussian(3.0, compat=Slot(1), norm="after"),
        Bilateral(Slot(2), 160.0, 3.0, compat=Slot(3), norm="after"),
    )
    assert op == MeanField(kernels, mix=Slot(4), returns="logits")
    table = params(load("crfasrnn"))
    own = {name: param for name, param in table.items() if name.startswith("crfrnn.")}
    assert [(name.partition(".")[2], str(p.init)) for name, p in own.items()] == [
        ("spatial_ker_weights", "eye(3.0)"),
        ("bilateral_ker_weights", "eye(5.0)"),
        ("compatibility_matrix", "eye(1.0)"),
    ]
    assert sum(p.count for p in own.values()) == 1_323


def test_conv_crf_copies_the_release() -> None:
    op = operator("ConvCRF(rgb)")
    kernels = (
        Gaussian(3.0, compat=0.6, norm=None),
        Pairwise(Slot(1), 13.0, compat=2.0, norm=None),
    )
    assert op == MeanField(
        kernels, method="window", window=11, blur=4, iterations=5, unary_weight=0.8,
        returns="logits",
    )  # fmt: skip
    assert operator("ConvCRF(rgb, quirk=true)").start == "log_softmax"


def test_crfasrnn_has_the_names_of_the_port() -> None:
    """FCN-8s's names, a bias, and the three matrices; as a set, for the port declares otherwise."""
    table = params(load("crfasrnn"))
    wanted = {(name, shape) for name, shape, _ in keys("fcn8s_pytorch_fcn")}
    wanted |= {("upscore2.bias", (21,))}
    matrices = ("spatial_ker_weights", "bilateral_ker_weights", "compatibility_matrix")
    wanted |= {(f"crfrnn.{name}", (21, 21)) for name in matrices}
    assert {(name, tuple(param.shape)) for name, param in table.items()} == wanted
    assert all(param.trained for param in table.values())


def test_largefov_has_the_layers_of_the_prototxt() -> None:
    names = [name.rpartition(".")[0] for name in params(load("deeplabv1_largefov"))][::2]
    stages = [2, 2, 3, 3, 3]
    convs = [f"conv{s}_{i}" for s, n in enumerate(stages, 1) for i in range(1, n + 1)]
    assert names == [*convs, "fc6", "fc7", "fc8_voc12"]


@pytest.mark.parametrize("name", ["deeplabv1_largefov", "deeplabv2_crf", "convcrf"])
def test_a_crf_without_weights_changes_no_checkpoint(name: str) -> None:
    whole, scores = params(load(name)), params(load(name, crf=False))
    assert list(whole.items()) == list(scores.items())
    assert count(whole) == count(scores)


def test_scores_and_refinement_together() -> None:
    """The spec is the net without a CRF, and then the library's own mean field on its scores."""
    torch = need("torch")
    from compiler.crf.field import bilateral, gaussian, mean_field
    from compiler.to_torch import to_torch

    torch.manual_seed(3)
    whole = to_torch(load("deeplabv1_largefov", classes=4, iterations=3)).eval()
    alone = to_torch(load("deeplabv1_largefov", classes=4, crf=False)).eval()
    alone.load_state_dict(whole.state_dict())
    image = torch.randn(1, 3, 41, 34)
    rgb = torch.randint(0, 256, (1, 3, 41, 34), dtype=torch.uint8)
    terms = [gaussian(3.0, compat=3.0), bilateral(rgb, 49.0, 5.0, compat=4.0)]
    with torch.no_grad():
        wanted = mean_field(alone(image), terms, iterations=3)
        torch.testing.assert_close(whole(image, rgb), wanted)
