"""What users meet when they export segmentation networks, one test per public issue or fact.

The numbers are those of issues in the projects named; `design` of the lowerings follows from them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.peers import need

torch = need("torch")
onnx = need("onnx")
need("onnxruntime")

import torch.nn.functional as F  # noqa: E402

from compiler.to_onnx import to_onnx  # noqa: E402
from compiler.to_onnx.resize import evaluated, torch_indices  # noqa: E402
from compiler.to_torch import to_torch  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.symbolic import ceil_div, evaluate, least, symbol  # noqa: E402
from tests.compiler.to_onnx.runs import (  # noqa: E402
    checked,
    differences,
    fixture,
    random_inputs,
    run_onnx,
)
from tests.support.programs import graph, net  # noqa: E402


def nodes(made: Graph, kind: str, **options: Any) -> list[Any]:
    model = checked(to_onnx(made, **options))
    return [node for node in model.graph.node if node.op_type == kind]


def attributes(node: Any) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def agrees(made: Graph, limit: float = 1e-5, **sizes: int) -> None:
    inputs = random_inputs(made, 0, **{"N": 2, **sizes})
    fixed = (sizes["H"], sizes["W"])
    for options in ({}, {"size": fixed}):
        found = differences(made, inputs, fixture(made), **options)
        assert max(found.values()) <= limit


@pytest.mark.parametrize("corners", ["true", "false"])
def test_upsampling_states_its_corners(corners: str) -> None:
    """pytorch#29229, #22906, onnx#1612, onnxruntime#3292."""
    body = f"output y = image -> resize(2, mode=bilinear, align_corners={corners})"
    made = graph(net(body))
    (resize,) = nodes(made, "Resize")
    mode = attributes(resize)["coordinate_transformation_mode"]
    assert mode == (b"align_corners" if corners == "true" else b"half_pixel")
    agrees(made, H=5, W=7)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resizing_to_one_pixel(mode: str) -> None:
    """pytorch#183523: `pytorch_half_pixel` reads pixel 0."""
    agrees(graph(net(f"output y = image -> resize(to=[1, 1], mode={mode})")), H=6, W=9)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialiasing(mode: str) -> None:
    """pytorch#183546, #157220, #80033."""
    made = graph(net(f"output y = image -> resize(to=[5, 6], mode={mode}, antialias=true)"))
    (resize,) = nodes(made, "Resize")
    assert attributes(resize)["exclude_outside"] == 1
    agrees(made, H=17, W=23)


def test_antialiasing_to_one_column_where_torch_is_wrong() -> None:
    """torch 2.13 repeats the first row where the result is one pixel wide; ours interpolates."""
    made = graph(net("output y = image -> resize([2, 1], mode=bilinear, antialias=true)"))
    column = np.random.default_rng(0).random((1, 3, 4, 1), np.float32)
    (ours,) = run_onnx(to_onnx(made), {"image": column}).values()
    twice = torch.from_numpy(np.repeat(column, 2, axis=3))
    wanted = F.interpolate(twice, scale_factor=(2, 1), mode="bilinear", antialias=True)
    np.testing.assert_allclose(ours, wanted[..., :1].numpy(), atol=1e-6)


def test_sizes_come_from_a_tensor_not_from_a_trace() -> None:
    """pytorch#7732, #84374, #33443, and int8: four sizes and no `axes`."""
    body = (
        "x = image -> conv(4, 3, stride=2, pad=1)\noutput y = resize(x, like=image, mode=bilinear)"
    )
    made = graph(net(body))
    (resize,) = nodes(made, "Resize")
    assert "axes" not in attributes(resize)
    assert list(resize.input)[1:3] == ["", ""]
    assert {node.input[0] for node in nodes(made, "Shape")} == {"image"}
    agrees(made, H=9, W=14)


@pytest.mark.parametrize("factor", ["1.5", "0.6", "1/3", "7/3", "[0.4, 1.2]"])
def test_a_fractional_factor_is_a_factor(factor: str) -> None:
    """With `sizes` the result is off by more than 1; 7/3 in f32 makes 62 pixels of 27."""
    given = "input image: f32[N, 3, H, W] where H >= 3, W >= 3"
    made = graph(net(f"output y = image -> resize({factor}, mode=bilinear)", given=given))
    (resize,) = nodes(made, "Resize")
    assert len(resize.input) == 3
    for size in (7, 9, 12, 27, 30, 33):
        agrees(made, H=size, W=size + 3)


@pytest.mark.parametrize("mode", ["nearest", "nearest_exact"])
@pytest.mark.parametrize(("before", "after"), [(39, 96), (7, 41), (3, 123), (8, 4), (13, 6)])
def test_nearest_picks_the_pixels_of_torch(mode: str, before: int, after: int) -> None:
    """`asymmetric` and `floor` differ from torch at 51 of 2,145 pairs of sizes, as 39 to 96."""
    made = graph(net(f"output y = image -> resize(to=[{after}, 5], mode={mode})"))
    agrees(made, 0.0, H=before, W=5)
    exact = mode == "nearest_exact"
    line = torch.arange(before, dtype=torch.float32).reshape(1, 1, before, 1)
    step = np.float32(before) / np.float32(after)
    theirs = F.interpolate(line, size=(after, 1), mode=mode.replace("_", "-"))
    ours = torch_indices(before, after, step, exact)
    assert np.array_equal(ours, theirs.flatten().numpy())


@pytest.mark.parametrize("mode", ["nearest", "nearest_exact"])
def test_nearest_at_free_sizes(mode: str) -> None:
    """A decoder's step, 2n - 1 or 2n pixels from n: Resize where it agrees up to 4,096 pixels.

    `nearest_exact` disagrees at 50 to 99, so it is computed. Against torch in f32: in f64 torch
    itself picks other pixels, as at 96 to 191.
    """
    body = "a = image -> conv(3, 3, stride=2, pad=1)\noutput y = resize(a, like=image, mode=MODE)"
    made = graph(net(body.replace("MODE", mode)))
    assert len(nodes(made, "Resize")) == (mode == "nearest")
    weights = fixture(made)
    content, module = to_onnx(made, None, weights), to_torch(made, weights).eval()
    for size in (1, 2, 11, 99, 191, 196):
        inputs = random_inputs(made, 0, N=1, H=size, W=7)
        (ours,) = run_onnx(content, inputs).values()
        with torch.no_grad():
            theirs = module(torch.from_numpy(inputs["image"])).numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_formulas_at_many_sizes_are_formulas_at_one() -> None:
    h, n = symbol("H"), symbol("N")
    sizes = [h, (h + 1) // 2 * 3 - 2, h * n + 4, least(ceil_div(h, 3), (h + 7) // 4), 5]
    for size in sizes:
        table = {"H": np.arange(1, 60), "N": np.full(59, 3)}
        found = np.broadcast_to(evaluated(size, table), 59)
        assert found.tolist() == [evaluate(size, {"H": k, "N": 3}) for k in range(1, 60)]


def test_whole_factors_need_one_node() -> None:
    """onnxscript#1533: an upsampling became a large subgraph."""
    made = graph(net("output y = image -> resize(2, mode=nearest)"))
    assert len(checked(to_onnx(made)).graph.node) == 1
    agrees(made, 0.0, H=5, W=7)


@pytest.mark.parametrize("bins", ["1", "6", "[2, 3]", "[1, 5]", "[7, 1]"])
@pytest.mark.parametrize("size", [(12, 12), (13, 7), (5, 30), (3, 2)])
def test_adaptive_pooling_of_any_size(bins: str, size: tuple[int, int]) -> None:
    """pytorch#109370, #67611, #74034, mmsegmentation#1310, #1840: the output had to divide."""
    agrees(graph(net(f"output y = image -> adaptive_avg_pool({bins})")), H=size[0], W=size[1])


@pytest.mark.parametrize("like", [True, False])
def test_unpooling(like: bool) -> None:
    """pytorch#43367, #25088, onnx#3138, PyTorch-ENet#57: more than one plane, odd sizes."""
    given = "input image: f32[N, 3, H, W] where H >= 2, W >= 2" + (
        "" if like else ", H % 2 == 0, W % 2 == 0"
    )
    body = (
        "p = image -> max_pool(2, indices=true)\n"
        f"output y = (p.values * 2.0) -> max_unpool(p.indices{', like=image' if like else ''})"
    )
    made = graph(net(body, given=given))
    agrees(made, 0.0, H=10, W=6)
    if like:
        agrees(made, 0.0, H=11, W=7)


@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("size", [(13, 9), (8, 7), (16, 5)])
@pytest.mark.parametrize("window", ["2, stride=4, pad=1", "3, stride=2", "3, stride=2, pad=1"])
def test_ceil(kind: str, window: str, size: tuple[int, int]) -> None:
    """pytorch#71549, #113074, onnx#5711, onnxruntime#15446, openvino#18731."""
    given = "input image: f32[N, 3, H, W] where H >= 4, W >= 4"
    made = graph(net(f"output y = image -> {kind}({window}, ceil=true)", given=given))
    (pool,) = nodes(made, "MaxPool" if kind == "max_pool" else "AveragePool", size=size)
    assert "ceil_mode" not in attributes(pool)
    agrees(made, H=size[0], W=size[1])


def test_ceil_that_changes_nothing_is_not_written() -> None:
    given = "input image: f32[N, 3, H, W] where H % 2 == 0, W % 2 == 0"
    made = graph(net("output y = image -> max_pool(2, ceil=true)", given=given))
    model = checked(to_onnx(made))
    assert model.opset_import[0].version == 18
    assert "ceil_mode" not in attributes(model.graph.node[0])


@pytest.mark.parametrize("count", ["true", "false"])
def test_the_divisor_of_an_average(count: str) -> None:
    body = f"output y = image -> avg_pool(3, stride=2, pad=1, ceil=true, count_include_pad={count})"
    agrees(graph(net(body)), H=8, W=6)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_lrn_of_even_sizes(size: int) -> None:
    """ONNX Runtime refuses LRN of an even size."""
    agrees(graph(net(f"output y = image -> conv(8, 1) -> lrn({size}, alpha=0.5)")), H=4, W=5)


def test_output_padding_from_the_stride_on() -> None:
    """torch allows it below the dilation; ONNX Runtime 1.31 refuses it."""
    window = "3, stride=1, dilation=3, output_pad=2"
    agrees(graph(net(f"output y = image -> conv_transpose(4, {window})")), H=4, W=5)
    agrees(graph(net(f"output y = image -> conv_transpose(4, {window}, pad=1)")), H=4, W=5)


@pytest.mark.parametrize("pool", ["max_pool(3)", "max_pool(3, pad=1)", "avg_pool(3)"])
@pytest.mark.parametrize("margin", ["1", "2", "4", "[1, 0, 2, 5]"])
def test_a_margin_of_zeros_before_a_pool_stays_one(pool: str, margin: str) -> None:
    """ONNX Runtime 1.31 fuses the two: zeros then count as -inf, large margins do not load."""
    given = "input image: f32[N, 3, H, W] where H >= 6, W >= 6"
    agrees(graph(net(f"output y = image - 2.0 -> pad({margin}) -> {pool}", given=given)), H=7, W=6)


def test_windows_on_padding_alone_differ_between_runtimes() -> None:
    """torch gives -inf, ONNX Runtime the lowest f32: nobody should read either."""
    body = "output y = image -> max_pool([1, 2], stride=[1, 4], pad=[0, 1], dilation=[1, 2])"
    inputs = {"image": np.zeros((1, 3, 1, 1), np.float32)}
    (ours,) = run_onnx(to_onnx(graph(net(body))), inputs).values()
    assert np.all(ours == np.finfo(np.float32).min)


def test_a_crop_in_the_centre_of_known_difference_is_a_plain_slice() -> None:
    """U-Net's crop: the difference of the two maps is the same for every input.

    Only the size of `a` was asked for, so its convolution is not written.
    """
    given = "input image: f32[N, 3, H, W] where H >= 7, W >= 7"
    body = "a = image -> conv(4, 7)\noutput y = crop(image, like=a, offset=centre)"
    model = checked(to_onnx(graph(net(body, given=given))))
    assert [node.op_type for node in model.graph.node] == ["Slice"]
    agrees(graph(net(body, given=given)), 0.0, H=9, W=12)


def test_a_size_that_is_a_multiple_is_written_as_a_factor() -> None:
    """No Shape is computed then, and ONNX Runtime keeps the layout of its neighbours."""
    given = "input image: f32[N, 3, H, W] where H % 4 == 0, W % 2 == 0"
    for mode in ("bilinear", "nearest", "bicubic"):
        body = f"x = image -> avg_pool(2)\noutput y = x -> resize(like=image, mode={mode})"
        made = graph(net(body, given=given))
        (resize,) = nodes(made, "Resize")
        assert len(resize.input) == 3
        assert not nodes(made, "Shape")
        agrees(made, H=8, W=10)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("input image: f32[N, 3, H, W] where H >= 2, W >= 2", None),
        ("input image: f32[N, 3, H, W] where H >= 2, W >= 2", (9, 8)),
    ],
)
def test_other_sizes_stay_sizes(given: str, size: Any) -> None:
    """H//2 is half of H for even H only; a factor would move the pixels for odd ones."""
    body = "x = image -> avg_pool(2)\noutput y = x -> resize(like=image, mode=bilinear)"
    made = graph(net(body, given=given))
    (resize,) = nodes(made, "Resize", size=size)
    assert len(resize.input) == 4
    agrees(made, H=9, W=8)
