"""Normalisation before the network and labels after it, as nodes of the file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.peers import need

torch = need("torch")
onnx = need("onnx")
need("onnxruntime")

from compiler.to_onnx import to_onnx  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from tests.compiler.to_onnx.runs import (  # noqa: E402
    Array,
    checked,
    error,
    fixture,
    run_onnx,
    run_torch,
)
from tests.support.programs import graph, net  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FROM_3 = "input image: f32[N, 3, H, W] where H >= 3, W >= 3"
PADDED = "output mask = image -> conv(5, 3, pad=1) @c -> relu -> conv(4, 1) @d"
VALID = PADDED.replace("3, pad=1", "3")
BOUND = 2e-6


def net_of(body: str, items: str = "") -> str:
    return net(body, items, given=FROM_3)


def kinds(made: Graph, **options: Any) -> list[str]:
    return [node.op_type for node in checked(to_onnx(made, **options)).graph.node]


def picture(seed: int = 0, channels: int = 3) -> Array:
    """Bytes `[2, C, 9, 8]`."""
    return np.random.default_rng(seed).integers(0, 256, (2, channels, 9, 8), np.uint8)


def wanted(made: Graph, pixels: Array, mean: Any, std: Any) -> Array:
    """What torch answers in float64 on the normalised picture."""
    columns = [np.reshape(np.array(n, np.float64), (-1, 1, 1)) for n in (mean, std)]
    image = (pixels / 255 - columns[0]) / columns[1]
    (found,) = run_torch(made, fixture(made), {"image": image}).values()
    return found


@pytest.mark.parametrize("body", [PADDED, VALID], ids=["padded", "valid"])
@pytest.mark.parametrize("mean", [MEAN, (0.5,), None], ids=["three", "one", "none"])
@pytest.mark.parametrize("form", ["float", "uint8", "uint8-nhwc"])
def test_the_file_normalises(body: str, mean: Any, form: Any) -> None:
    made, pixels = graph(net_of(body)), picture()
    content = to_onnx(made, None, fixture(made), pixels=form, mean=mean, std=STD)
    checked(content)
    fed = pixels.astype(np.float32) / 255 if form == "float" else pixels
    fed = np.ascontiguousarray(fed.transpose(0, 2, 3, 1)) if form == "uint8-nhwc" else fed
    (ours,) = run_onnx(content, {"image": fed}).values()
    assert error(ours, wanted(made, pixels, mean or 0.0, STD)) <= BOUND


def test_only_a_convolution_without_padding_takes_it() -> None:
    """A border of zeros comes after normalisation, so it must not be normalised."""
    options = {"mean": MEAN, "std": STD}
    assert kinds(graph(net(PADDED)), **options) == ["Sub", "Div", "Conv", "Relu", "Conv"]
    assert kinds(graph(net_of(VALID)), **options) == ["Conv", "Relu", "Conv"]
    bytes_in = kinds(graph(net_of(VALID)), **options, pixels="uint8")
    assert bytes_in == ["Cast", "Conv", "Relu", "Conv"]


@pytest.mark.parametrize(
    "body",
    [
        "output y = (image -> conv(3, 1) @c) + image",
        "layer f = conv(3, 1) @c\noutput y = image -> f -> f",
        "output y = image -> relu -> conv(3, 1) @c",
        "output y = image -> conv(3, 3, pad=1) @c",
        "output y = concat([image -> conv(3, 1) @c, image -> conv(3, 1) @d])",
    ],
)
def test_who_shares_picture_or_weights_does_not_take_it(body: str) -> None:
    made, pixels = graph(net_of(body)), picture()
    options: dict[str, Any] = {"mean": MEAN, "std": STD}
    assert kinds(made, **options)[:2] == ["Sub", "Div"]
    content = to_onnx(made, None, fixture(made), **options)
    (ours,) = run_onnx(content, {"image": pixels.astype(np.float32) / 255}).values()
    assert error(ours, wanted(made, pixels, MEAN, STD)) <= BOUND


@settings(max_examples=15)
@given(
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    norm=st.booleans(),
    stride=st.integers(1, 2),
    numbers=st.lists(st.floats(0.0625, 1.0, width=32), min_size=8, max_size=8),
)
def test_groups_biases_and_folded_norms(
    groups: int, bias: bool, norm: bool, stride: int, numbers: list[float]
) -> None:
    text = (
        f"output y = image -> conv(8, 3, stride={stride}, groups={groups}, "
        f"bias={str(bias).lower()}) @c" + (" -> bn @n" if norm else "")
    )
    made = graph(net(text, given="input image: f32[N, 4, H, W] where H >= 3, W >= 3"))
    pixels, mean, std = picture(1, 4), numbers[:4], numbers[4:]
    content = to_onnx(made, None, fixture(made), pixels="uint8", mean=mean, std=std)
    assert [node.op_type for node in checked(content).graph.node] == ["Cast", "Conv"]
    (ours,) = run_onnx(content, {"image": pixels}).values()
    assert error(ours, wanted(made, pixels, mean, std)) <= 1e-5


def test_metadata_say_who_normalises() -> None:
    stated = "## @mean 0.1, 0.2, 0.3\n## @std 0.4, 0.5, 0.6"
    made = graph(net_of(VALID, stated))
    for options, inside in (({}, False), ({"pixels": "uint8"}, True), ({"mean": [0.5]}, True)):
        model = checked(to_onnx(made, **options))
        found = {entry.key: entry.value for entry in model.metadata_props}
        assert ("mean" in found) != inside
        assert ("segdsl.preprocessing" in found) == inside
        if inside:
            told = json.loads(found["segdsl.preprocessing"])
            assert told["mean"] == ([0.5] if "mean" in options else [0.1, 0.2, 0.3])
        else:
            assert json.loads(found["std"]) == [0.4, 0.5, 0.6]


def test_numbers_of_the_program_are_applied_to_bytes() -> None:
    made, pixels = graph(net(PADDED, "## @mean 0.1, 0.2, 0.3\n## @std 0.4")), picture()
    content = to_onnx(made, None, fixture(made), pixels="uint8")
    (ours,) = run_onnx(content, {"image": pixels}).values()
    assert error(ours, wanted(made, pixels, (0.1, 0.2, 0.3), 0.4)) <= BOUND


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mean": (0.1, 0.2)}, "2 numbers of mean for 3 channels"),
        ({"std": (1.0,) * 4}, "4 numbers of std for 3 channels"),
        ({"mean": ()}, "0 numbers of mean"),
        ({"std": (0.0,)}, "above 0"),
        ({"std": (1.0, -1.0, 1.0)}, "above 0"),
        ({"std": (1e-60,)}, "above 0"),
        ({"mean": (float("nan"),)}, "finite"),
        ({"std": (1e60,)}, "finite"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(options: dict[str, Any], told: str) -> None:
    for body in (PADDED, VALID):
        with pytest.raises(SegError) as refused:
            to_onnx(graph(net_of(body)), **options)
        (found,) = refused.value.diagnostics
        assert found.code == "E6005"
        assert told in found.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            net("output y = a + image", given=f"{FROM_3}\n{FROM_3}".replace("image", "a", 1)),
            "`a` and",
        ),
        (net("output y = image", given="input image: u8[N, 3, H, W]"), "u8"),
        (net("output y = image", given="input image: f32[N, 3]"), "f32[N, 3]"),
        (net(PADDED, "## @mean grey"), "@mean grey"),
    ],
)
def test_networks_without_one_float_picture_are_refused(text: str, told: str) -> None:
    with pytest.raises(SegError) as refused:
        to_onnx(graph(text), pixels="uint8")
    (found,) = refused.value.diagnostics
    assert found.code == "E6005"
    assert told in found.message


def test_no_wish_is_ignored() -> None:
    with pytest.raises(ValueError, match="pixels are one of"):
        to_onnx(graph(net(PADDED)), pixels="bgr")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="labels are"):
        to_onnx(graph(net(PADDED)), argmax="int8")  # type: ignore[call-overload]


@pytest.mark.parametrize(("kind", "dtype"), [("uint8", np.uint8), ("int64", np.int64)])
def test_labels_are_the_largest_channel(kind: Any, dtype: type) -> None:
    made, pixels = graph(net(PADDED)), picture()
    image = pixels.astype(np.float32) / 255
    content = to_onnx(made, None, fixture(made), argmax=kind)
    checked(content)
    found = run_onnx(content, {"image": image})
    (scores,) = run_onnx(to_onnx(made, None, fixture(made)), {"image": image}).values()
    assert list(found) == ["mask_labels"]
    assert found["mask_labels"].dtype == dtype
    assert np.array_equal(found["mask_labels"], scores.argmax(1))
    assert len(np.unique(scores.argmax(1))) > 1


@pytest.mark.parametrize(("end", "bound"), [("", 0.0), (" -> sigmoid", 0.5)])
def test_a_single_channel_has_a_bound(end: str, bound: float) -> None:
    made = graph(net(f"output mask = image -> conv(1, 3, pad=1) @c{end}"))
    image = np.random.default_rng(0).normal(0, 1, (2, 3, 9, 8)).astype(np.float32)
    content = to_onnx(made, None, fixture(made), argmax="uint8")
    checked(content)
    (found,) = run_onnx(content, {"image": image}).values()
    (scores,) = run_onnx(to_onnx(made, None, fixture(made)), {"image": image}).values()
    assert np.array_equal(found, scores[:, 0] > bound)
    assert 0 < found.mean() < 1


def test_several_outputs_and_names_that_are_taken() -> None:
    body = (
        "x = image -> conv(2, 1) @c\noutput a = x\n"
        "output a_labels = x -> relu -> conv(3, 1) @d\n"
        "output place = x -> argmax(axis=channels)"
    )
    made = graph(net_of(body))
    model = checked(to_onnx(made, argmax="uint8"))
    assert [o.name for o in model.graph.output] == ["a_labels_", "a_labels_labels", "place"]


def test_more_classes_than_a_byte_holds() -> None:
    made = graph(net("output mask = image -> conv(257, 1) @c"))
    with pytest.raises(SegError) as refused:
        to_onnx(made, argmax="uint8")
    assert refused.value.diagnostics[0].code == "E6005"
    model = checked(to_onnx(made, argmax="int64"))
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.INT64
    with pytest.raises(SegError) as refused:
        to_onnx(graph(net("output mask = image -> argmax(axis=channels)")), argmax="uint8")
    assert "no output holds scores" in refused.value.diagnostics[0].message
