"""Stock networks and random programs: one file at several sizes and batches, against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.peers import need

torch = need("torch")
need("onnxruntime")

from compiler.to_onnx import to_onnx  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.compiler.to_onnx.runs import (  # noqa: E402
    WHOLE_NET,
    checked,
    differences,
    error,
    fixture,
    random_inputs,
    run_onnx,
    run_torch,
    session,
)
from tests.support.grown import Grown, programs  # noqa: E402

Size = tuple[int, int, int]

STOCK: list[tuple[str, dict[str, Any], tuple[Size, ...]]] = [
    ("unet", {}, ((1, 64, 80), (2, 71, 65))),
    ("unet_resnet34", {}, ((1, 65, 97), (2, 64, 64))),
    ("fcn_resnet50", {}, ((1, 65, 97), (2, 64, 64))),
    ("deeplabv3", {"depth": 50}, ((1, 65, 97), (2, 64, 64))),
    ("resnet", {"depth": 18}, ((1, 65, 97), (2, 64, 64))),
    ("seresnet50", {}, ((1, 65, 97), (2, 64, 64))),
    ("tiramisu", {}, ((1, 64, 96), (2, 35, 47))),
]
"""Network, settings, and (batch, height, width) to run it at; fcn8s and vgg16 are 0.5 GB each."""


@pytest.mark.parametrize(("name", "settings", "sizes"), STOCK, ids=[row[0] for row in STOCK])
def test_one_file_at_two_sizes(
    name: str, settings: dict[str, Any], sizes: tuple[Size, ...]
) -> None:
    graph = load(name, **settings)
    weights = fixture(graph)
    content = to_onnx(graph, None, weights)
    checked(content)
    for n, height, width in sizes:
        inputs = random_inputs(graph, 0, N=n, H=height, W=width)
        ours, theirs = run_onnx(content, inputs), run_torch(graph, weights, inputs)
        assert list(ours) == list(theirs)
        assert max(error(ours[key], theirs[key]) for key in ours) <= WHOLE_NET


@pytest.mark.parametrize("name", ["unet", "unet_resnet34", "resnet"])
def test_fixed_and_unoptimized_files_are_equal(name: str) -> None:
    graph = load(name, depth=18) if name == "resnet" else load(name)
    weights = fixture(graph)
    inputs = random_inputs(graph, 0, N=2, H=48, W=64)
    for options in ({"size": (48, 64)}, {"size": (48, 64), "batch": 2}, {"optimize": False}):
        assert max(differences(graph, inputs, weights, **options).values()) <= WHOLE_NET


@settings(max_examples=50)
@given(grown=programs(), data=st.data())
def test_random_programs(grown: Grown, data: st.DataObject) -> None:
    graph = grown.program.graph
    assert graph is not None
    accepted = grown.program.accepted
    sizes = {"N": data.draw(st.integers(1, 2))}
    for name in ("H", "W"):
        fits = [n for n in range(1, 41) if n in accepted[name]]
        assume(fits)
        sizes[name] = data.draw(st.sampled_from(fits))
    options: dict[str, Any] = {"optimize": data.draw(st.booleans())}
    if data.draw(st.booleans()):
        options["size"] = (sizes["H"], sizes["W"])
    found = differences(graph, random_inputs(graph, 1, **sizes), fixture(graph), **options)
    assert max(found.values()) <= WHOLE_NET, grown.text


@pytest.mark.slow
def test_torchvision_through_the_exporter_of_torch(tmp_path: Path) -> None:
    """The published DeepLabV3, exported by torch, and ours with the same arrays."""
    need("onnxscript")
    segmentation = need("torchvision.models.segmentation")
    graph = load("deeplabv3", depth=50)
    weights = fixture(graph)
    peer = segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, aux_loss=True
    ).eval()
    arrays = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
    peer.load_state_dict(arrays, strict=True)
    inputs = random_inputs(graph, 0, N=1, H=65, W=81)
    image = torch.from_numpy(inputs["image"])
    file = tmp_path / "peer.onnx"
    torch.onnx.export(peer, (image,), file, dynamo=True, verbose=False)
    theirs = session(str(file))
    found = theirs.run(None, {theirs.get_inputs()[0].name: inputs["image"]})
    ours = run_onnx(to_onnx(graph, None, weights), inputs)
    for mine, other in zip(ours.values(), found, strict=True):
        assert error(mine, other) <= WHOLE_NET
