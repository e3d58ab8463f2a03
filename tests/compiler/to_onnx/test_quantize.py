"""Eight bits: the file loads, runs at every size, keeps its metadata, and nearly agrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.support.peers import need

onnx = need("onnx")
need("onnxruntime")

from compiler.to_onnx import to_onnx  # noqa: E402
from compiler.to_onnx.quantize import (  # noqa: E402
    Feed,
    _compared,
    _held_out,
    _session,
    labels,
    quantize,
)
from segdsl.diagnostics import SegError  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from tests.compiler.to_onnx.runs import Array, fixture, run_onnx  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

NET = net(
    "a = image -> conv(16, 3, stride=2, pad=1, bias=false) @a -> bn @an -> relu\n"
    "b = a -> conv(16, 3, pad=2, dilation=2, bias=false) @b -> bn @bn -> relu\n"
    "c = concat([a + b, b]) -> avg_pool(2) -> conv(8, 1) @c -> relu\n"
    "output mask = c -> conv(5, 1) @d -> resize(like=image, mode=bilinear)",
    given="input image: f32[N, 3, H, W] where H >= 4, W >= 4",
)


def pictures(count: int, height: int = 32, width: int = 40) -> list[Feed]:
    """Smooth random pictures."""

    def reader(seed: int) -> Feed:
        def read() -> Mapping[str, Array]:
            coarse = np.random.default_rng(seed).normal(0, 1, (1, 3, height // 8, width // 8))
            return {"image": coarse.repeat(8, 2).repeat(8, 3).astype(np.float32)}

        return read

    return [reader(seed) for seed in range(count)]


def small() -> Graph:
    return graph(NET)


def test_it_agrees_and_loads_at_other_sizes() -> None:
    """The four-element form of Resize survives: with `axes` the int8 file does not load."""
    made = small()
    content = to_onnx(made, None, fixture(made), class_names=["a", "b", "c", "d", "e"])
    found = quantize(content, pictures(6), {})
    assert (found.calibration.pictures, found.held_out and found.held_out.pictures) == (5, 1)
    assert found.held_out is not None
    assert found.calibration.by_output["mask"] >= 0.9
    assert found.held_out.by_output["mask"] >= 0.9
    model = onnx.load_from_string(found.content)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    given = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    assert given.items() <= kept.items()
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Resize"} <= kinds
    for height, width in ((33, 47), (64, 32)):
        image = {"image": np.zeros((2, 3, height, width), np.float32)}
        assert run_onnx(found.content, image)["mask"].shape == (2, 5, height, width)


def test_weights_are_eight_bits_by_channel() -> None:
    made = small()
    model = onnx.load_from_string(quantize(to_onnx(made), pictures(2), {}).content)
    arrays = {a.name: a for a in model.graph.initializer}
    assert arrays["b.weight_quantized"].data_type == onnx.TensorProto.INT8
    assert list(arrays["b.weight_scale"].dims) == [16]


def test_bytes_and_labels_pass_through() -> None:
    made = small()
    options: dict[str, Any] = {"pixels": "uint8", "mean": [0.5], "std": [0.25], "argmax": "uint8"}
    content = to_onnx(made, None, fixture(made), size=(32, 40), **options)

    def read() -> Mapping[str, Array]:
        (image,) = pictures(1)[0]().values()
        return {"image": np.clip(image * 60 + 128, 0, 255).astype(np.uint8)}

    found = quantize(content, [read], {})
    assert found.held_out is None
    assert found.calibration.by_output["mask_labels"] >= 0.9
    assert run_onnx(found.content, read())["mask_labels"].dtype == np.uint8


def test_the_wrong_pictures_are_told() -> None:
    """A comparison that cannot fail would say nothing: other weights must disagree."""
    made = small()
    content = to_onnx(made, None, fixture(made))
    other = to_onnx(made, None, fixture(made, 1))
    found = _compared(_session(content), _session(other), pictures(2), {})
    assert found.by_output["mask"] < 0.9


def test_nodes_that_are_to_stay() -> None:
    made = small()
    content = to_onnx(made, None, fixture(made))
    names = [n.name for n in onnx.load_from_string(content).graph.node if n.op_type == "Conv"]
    model = onnx.load_from_string(quantize(content, pictures(1), {}, names[1:2]).content)
    arrays = {a.name: a.data_type for a in model.graph.initializer}
    assert arrays["b.weight"] == onnx.TensorProto.FLOAT
    assert "a.weight_quantized" in arrays


def test_a_failure_of_the_runtime_is_told() -> None:
    def wrong() -> Mapping[str, Array]:
        return {"image": np.zeros((1, 4, 8, 8), np.float32)}

    with pytest.raises(SegError) as refused:
        quantize(to_onnx(small()), [wrong], {})
    assert [d.code for d in refused.value.diagnostics] == ["E6008"]
    with pytest.raises(ValueError, match="needs pictures"):
        quantize(b"", [], {})


def test_every_fifth_picture_is_held_out() -> None:
    assert [sorted(_held_out(n)) for n in (1, 2, 4, 5, 11)] == [[], [1], [3], [4], [4, 9]]


def test_classes_of_scores() -> None:
    whole = np.array([[3, 1]])
    assert labels(whole, 0.0) is whole
    assert np.array_equal(labels(np.array([[[0.2, 0.7]]]), 0.5), [[[False, True]]])
    assert np.array_equal(labels(np.array([[[0.0], [1.0]]]), 0.5), [[1]])
