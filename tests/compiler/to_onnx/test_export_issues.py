"""What users meet when they export segmentation networks: one test for each public issue.

Each is a small network of the kind that the issue is about, from its text to the numbers that ONNX
Runtime gives, at more than one size; `test_traps.py` looks at the single operators.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.peers import need

torch = need("torch")
onnx = need("onnx")
need("onnxruntime")

from compiler.to_onnx import files, to_onnx  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.compiler.to_onnx.runs import (  # noqa: E402
    Array,
    checked,
    error,
    fixture,
    random_inputs,
    run_onnx,
    run_torch,
)
from tests.support.programs import graph, net  # noqa: E402

LIMIT = 1e-5
Sizes = Iterable[tuple[int, int, int]]


def holds(made: Graph, sizes: Sizes) -> Any:
    """One file gives what float64 torch gives at every batch, height and width; answers it."""
    weights = fixture(made)
    content = to_onnx(made, None, weights)
    for n, height, width in sizes:
        inputs = random_inputs(made, 0, N=n, H=height, W=width)
        theirs = run_torch(made, weights, inputs)
        fixed = to_onnx(made, None, weights, size=(height, width), batch=n)
        checked(fixed)
        for ours in (run_onnx(content, inputs), run_onnx(fixed, inputs)):
            assert list(ours) == list(theirs)
            assert max(error(ours[name], theirs[name]) for name in ours) <= LIMIT
    return checked(content)


def kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


def given(name: str, model: Any) -> dict[str, Any]:
    """The attributes of the only node of a kind."""
    (node,) = (node for node in model.graph.node if node.op_type == name)
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


HEAD = """\
deep = image -> conv(8, 3, stride=2, pad=1) -> relu
output y = resize(deep -> conv(2, 1), like=image, {})"""


@pytest.mark.parametrize("corners", ["true", "false"])
def test_upsampling_of_scores_with_and_without_aligned_corners(corners: str) -> None:
    """pytorch#29229, pytorch#22906, onnx#1612, onnxruntime#3292: not exported, or different."""
    made = graph(net(HEAD.format(f"mode=bilinear, align_corners={corners}")))
    model = holds(made, [(1, 9, 14), (2, 16, 7), (1, 1, 2)])
    mode = given("Resize", model)["coordinate_transformation_mode"]
    assert mode == (b"align_corners" if corners == "true" else b"half_pixel")


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resizing_to_a_single_pixel(mode: str) -> None:
    """pytorch#183523: `pytorch_half_pixel` reads pixel 0 instead of the centre."""
    body = f"output y = image -> conv(4, 3, pad=1) -> resize(to=[1, 1], mode={mode})"
    holds(graph(net(body)), [(1, 6, 9), (2, 1, 8), (1, 5, 1)])


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_shrinking_with_antialias(mode: str) -> None:
    """pytorch#183546, pytorch#157220, pytorch#80033, lightly-train#250: exported values differ."""
    body = f"output y = image -> resize(0.5, mode={mode}, antialias=true) -> conv(4, 3, pad=1)"
    accepts = "input image: f32[N, 3, H, W] where H >= 4, W >= 4"
    holds(graph(net(body, given=accepts)), [(1, 16, 22), (2, 9, 31)])


def test_the_size_of_an_upsampling_is_not_traced() -> None:
    """pytorch#7732, pytorch#84374, pytorch#33443: one size was written into the file."""
    made = graph(net(HEAD.format("mode=nearest")))
    model = holds(made, [(1, 8, 8), (2, 13, 30), (3, 31, 6)])
    assert kinds(model).count("Shape") > 0
    assert all(d.dim_param for d in model.graph.output[0].type.tensor_type.shape.dim[2:])


PYRAMID = """\
deep = image -> conv(8, 3, stride=2, pad=1) -> relu
output y = concat([deep, *[for b in [1, 2, 3, 6]:
  deep -> adaptive_avg_pool(b) -> conv(2, 1) @pool.{b} -> resize(like=deep, mode=bilinear)]])"""


def test_a_pyramid_of_pools_at_sizes_that_do_not_divide() -> None:
    """pytorch#109370, #67611, #74034, #81551, #19954; mmsegmentation#1310, #1840, #1624, PR #463;
    pspnet-pytorch#19; mmsegmentation#1253: refused, wrong, or a crash of the runtime.
    """
    holds(graph(net(PYRAMID)), [(1, 24, 24), (2, 21, 34), (1, 5, 47), (1, 3, 2)])


SEGNET = """\
a = image -> conv(4, 3, pad=1) -> max_pool(2, indices=true)
b = a.values -> conv(6, 3, pad=1) -> max_pool(2, indices=true)
c = b.values -> conv(6, 3, pad=1) -> max_unpool(b.indices, like=a.values)
output y = c -> conv(4, 3, pad=1) -> max_unpool(a.indices, like=image)"""


def test_unpooling_of_two_levels_with_batches_and_odd_sizes() -> None:
    """pytorch#43367, pytorch#25088, pytorch#85388, onnx#3138, PyTorch-ENet#57: not supported.

    Indices count within a plane in torch and over the whole batch in ONNX.
    """
    accepts = "input image: f32[N, 3, H, W] where H >= 4, W >= 4"
    model = holds(graph(net(SEGNET, given=accepts)), [(1, 8, 12), (3, 11, 7), (2, 5, 4)])
    assert kinds(model).count("MaxUnpool") + kinds(model).count("ScatterElements") == 2


DEFORMED = """\
moved = image -> conv(18, 3, stride=2, pad=1)
weighed = image -> conv(9, 3, stride=2, pad=1) -> sigmoid
a = image -> deform_conv(moved, 6, 3, mask=weighed, stride=2, pad=1)
output y = a -> dcnv3(groups=2)"""


def test_deformable_convolutions() -> None:
    """pytorch#68910, pytorch#99770, vision#2066, onnxruntime#16903, #20810, #22060,
    mmdetection#6047, mmcv#1072: not exported, or a node that no runtime knew.
    """
    model = holds(graph(net(DEFORMED)), [(1, 9, 8), (2, 6, 13), (1, 1, 4)])
    assert {"GridSample"} <= set(kinds(model))
    assert {node.domain for node in model.graph.node} == {""}
    assert model.opset_import[0].version == 18


def test_batch_height_and_width_are_free_and_outputs_say_what_they_are() -> None:
    """pytorch#157621, pytorch#149065, vision#8937, rf-detr#376, rf-detr#949, mmdeploy#2731,
    segmentation_models.pytorch PR #804: fixed sizes, or output axes without a name.
    """
    made = graph(net(HEAD.format("mode=bilinear") + "\noutput z = deep"))
    model = holds(made, [(1, 5, 6), (4, 12, 9)])
    stated = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert stated == {
        "image": ["N", 3, "H", "W"],
        "y": ["N", 2, "H", "W"],
        "z": ["N", 8, "(H + 1)//2", "(W + 1)//2"],
    }


def test_a_fixed_file_computes_what_the_free_one_does() -> None:
    """mmdeploy#777: static and dynamic exports differed in accuracy."""
    made = load("unet", width=4, depth=2)
    weights = fixture(made)
    free = to_onnx(made, None, weights)
    for height, width in ((37, 30), (24, 41)):
        inputs = random_inputs(made, 0, N=2, H=height, W=width)
        fixed = to_onnx(made, None, weights, size=(height, width), batch=2)
        (one,), (other,) = run_onnx(free, inputs).values(), run_onnx(fixed, inputs).values()
        assert error(one, other) <= LIMIT


@pytest.mark.parametrize("pool", ["max_pool", "avg_pool"])
def test_pools_that_round_up(pool: str) -> None:
    """pytorch#71549, pytorch#113074, pytorch#99424, onnx#5711, onnxruntime#15446, openvino#18731:
    wrong shapes. Below opset 22 `onnx` itself infers wrong ones from `ceil_mode`.
    """
    second = f"{pool}(2, stride=4, pad=1, ceil=true)"
    body = f"output y = image -> {pool}(3, stride=2, ceil=true) -> {second}"
    accepts = "input image: f32[N, 3, H, W] where H >= 8, W >= 8"
    made = graph(net(body, given=accepts))
    holds(made, [(1, 13, 9), (2, 8, 16), (1, 27, 12)])
    for size in ((13, 9), (27, 12)):
        content = to_onnx(made, size=size, batch=1)
        model = onnx.shape_inference.infer_shapes(checked(content), strict_mode=True)
        (found,) = run_onnx(content, random_inputs(made, 0, N=1, H=size[0], W=size[1])).values()
        dims = model.graph.output[0].type.tensor_type.shape.dim
        assert tuple(d.dim_value for d in dims) == found.shape


def _sum_of_files(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir()}


def test_large_weights_lie_in_one_file_beside_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnx#3275, onnx#4394, onnx#5949, onnxruntime#4424, anomalib#2591, pytorch#110982:
    above 2 GB nothing was written, or a file per tensor; below it, a second file surprised.
    """
    made = load("unet", width=4, depth=2)
    weights = fixture(made)
    to_onnx(made, tmp_path / "one.onnx", weights)
    assert list(_sum_of_files(tmp_path)) == ["one.onnx"]
    monkeypatch.setattr(files, "MAX_IN_ONE", 1000)
    to_onnx(made, tmp_path / "two.onnx", weights)
    first, second, beside = sorted(_sum_of_files(tmp_path))
    assert (first, second) == ("one.onnx", "two.onnx")
    assert beside.startswith("two.onnx.")
    assert beside.endswith(".data")
    inputs = random_inputs(made, 0, N=1, H=16, W=20)
    results: list[Array] = [
        next(iter(run_onnx(str(tmp_path / name), inputs).values()))
        for name in ("one.onnx", "two.onnx")
    ]
    assert np.array_equal(results[0], results[1])
    model = onnx.load(tmp_path / "two.onnx", load_external_data=False)
    kept = {entry.value for a in model.graph.initializer for entry in a.external_data[:1]}
    assert kept == {beside}


CLASHES = """\
x = image -> conv(4, 3, stride=2, pad=1) @image_
Shape = resize(x, like=image, mode=bilinear)
y_Shape = Shape -> conv(4, 1) @Shape.Shape
constant = y_Shape -> bn @constant.x -> relu
x_2 = constant -> conv(4, 3, pad=1) @x
output y = crop(x_2 + y_Shape, like=image, offset=centre)
output image_out = resize(x, like=image, mode=nearest)"""


def test_names_never_meet() -> None:
    """pytorch#168211, pytorch#173076, pytorch#75100, pytorch#43289: one name for two values gave a
    wrong graph.
    """
    model = holds(graph(net(CLASHES)), [(1, 9, 8), (2, 6, 11)])
    values = [name for node in model.graph.node for name in node.output]
    given_values = [v.name for v in (*model.graph.input, *model.graph.initializer)]
    assert len(set(values + given_values)) == len(values) + len(given_values)
    nodes = [node.name for node in model.graph.node]
    assert len(set(nodes)) == len(nodes)
    assert all(nodes)


@pytest.mark.parametrize("form", ["2", "like=image"])
def test_an_upsampling_is_one_resize(form: str) -> None:
    """onnxscript#1533: it became a subgraph of dozens of nodes."""
    body = f"a = image -> avg_pool(2)\noutput y = a -> resize({form}, mode=bilinear)"
    accepts = "input image: f32[N, 3, H, W] where H % 2 == 0, W % 2 == 0"
    model = holds(graph(net(body, given=accepts)), [(1, 6, 8), (2, 10, 4)])
    computed = [kind for kind in kinds(model) if kind not in ("Shape", "Slice", "Concat")]
    assert computed == ["AveragePool", "Resize"]


PINNED = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13}
"""Opset -> IR version: the oldest that may carry it."""


def test_the_file_states_an_old_ir_version() -> None:
    """onnxruntime#23602, #20559, #15874, #14932, winml-cli#245: stamped with the library's newest
    IR version, which runtimes refuse.
    """
    made = graph(net(HEAD.format("mode=bilinear")))
    default = checked(to_onnx(made))
    assert (default.ir_version, default.opset_import[0].version) == (8, 18)
    for opset, version in PINNED.items():
        model = onnx.load_from_string(to_onnx(made, opset=opset))
        assert (model.ir_version, model.opset_import[0].version) == (version, opset)
        assert version == onnx.helper.find_min_ir_version_for(model.opset_import)
