"""Half precision: what becomes f16 and what must not, and how far the results move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.peers import need

torch = need("torch")
onnx = need("onnx")
need("onnxruntime")

from compiler.to_onnx import to_onnx  # noqa: E402
from compiler.to_onnx.half import positions  # noqa: E402
from compiler.weights import Weights  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.compiler.to_onnx.runs import (  # noqa: E402
    checked,
    error,
    fixture,
    random_inputs,
    run_onnx,
    run_torch,
)
from tests.support.programs import graph, net  # noqa: E402

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
ONE = 4 * 2**-11
"""One operator in f16, on the scale of its result."""


def types(model: Any) -> dict[str, int]:
    """The element type of every value and array."""
    graph = model.graph
    infos = [*graph.value_info, *graph.input, *graph.output]
    found = {info.name: info.type.tensor_type.elem_type for info in infos}
    return found | {array.name: array.data_type for array in graph.initializer}


@pytest.mark.parametrize(
    ("name", "settings"),
    [("resnet", {"depth": 18}), ("tiramisu", {})],
)
def test_stock_networks(name: str, settings: dict[str, Any]) -> None:
    made = load(name, **settings)
    weights = fixture(made)
    content = to_onnx(made, None, weights, fp16=True)
    model = checked(content)
    assert len(content) < 0.55 * len(to_onnx(made, None, weights))
    assert {types(model)[o.name] for o in (*model.graph.input, *model.graph.output)} == {FLOAT}
    assert all(types(model)[array] == HALF for array in types(model) if array.endswith(".weight"))
    assert {e.key: e.value for e in model.metadata_props}["segdsl.precision"] == "f16"
    inputs = random_inputs(made, 0, N=1, H=64, W=32)
    ours, theirs = run_onnx(content, inputs), run_torch(made, weights, inputs)
    assert max(error(ours[key], theirs[key]) for key in ours) <= 0.02


@pytest.mark.parametrize(
    "body",
    [
        "conv(4, 3, pad=1) @c -> bn @n -> relu",
        "conv(4, 3, pad=1) @c -> gelu",
        "conv_transpose(4, 2, stride=2) @c",
        "layer_norm @n",
        "conv(4, 3, pad=1) @c -> group_norm(2) @n",
        "resize(2, mode=bilinear)",
        "resize(1.7, mode=nearest)",
        "resize(2, mode=bicubic)",
        "conv(4, 3, pad=1) @c -> softmax(axis=space)",
        "adaptive_avg_pool(2)",
        "pad_to_multiple(4)",
        "max_pool(2)",
        "avg_pool(2)",
        "relu6",
        "lrn(5)",
    ],
)
def test_operators(body: str) -> None:
    """At free sizes and at fixed ones; some compute sizes and indices when they run."""
    made = graph(
        net(
            f"output y = image -> {body}", given="input image: f32[N, 3, H, W] where H >= 2, W >= 2"
        )
    )
    weights, inputs = fixture(made), random_inputs(made, 0, N=2, H=9, W=11)
    inputs = {name: array.astype(np.float16).astype(np.float32) for name, array in inputs.items()}
    theirs = run_torch(made, weights, inputs)
    for options in ({}, {"size": (9, 11)}):
        content = to_onnx(made, None, weights, fp16=True, **options)  # type: ignore[call-overload]
        checked(content)
        assert error(run_onnx(content, inputs)["y"], theirs["y"]) <= ONE


def test_indices_that_are_computed_stay_exact() -> None:
    """f16 counts to 2,048 only: a nearest resize of 2,100 pixels would repeat and skip some."""
    body = "x = image -> avg_pool(2)\noutput y = x -> resize(like=image, mode=nearest)"
    made = graph(net(body, given="input image: f32[N, 3, H, W] where H >= 2, W >= 2"))
    content = to_onnx(made, None, fp16=True)
    checked(content)
    row = (np.arange(4203) // 2 % 97).astype(np.float32)
    inputs = {"image": np.broadcast_to(row, (1, 3, 3, row.size)).copy()}
    theirs = run_torch(made, fixture(made), inputs)
    assert np.array_equal(run_onnx(content, inputs)["y"], theirs["y"])


def test_bytes_and_labels() -> None:
    made = graph(net("output mask = image -> conv(5, 3, pad=1) @c -> relu -> conv(4, 1) @d"))
    options: dict[str, Any] = {"pixels": "uint8-nhwc", "mean": [0.5], "std": [0.25]}
    content = to_onnx(made, None, fixture(made), fp16=True, argmax="uint8", **options)
    model = checked(content)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == ["Cast", "Transpose", "Sub", "Div", "Conv", "Relu", "Conv", "ArgMax", "Cast"]
    pixels = np.random.default_rng(0).integers(0, 256, (1, 9, 8, 3), np.uint8)
    (ours,) = run_onnx(content, {"image": pixels}).values()
    (full,) = run_onnx(
        to_onnx(made, None, fixture(made), argmax="uint8", **options), {"image": pixels}
    ).values()
    assert ours.shape == full.shape == (1, 9, 8)
    assert (ours == full).mean() >= 0.95


def test_what_f16_does_not_hold_is_refused(tmp_path: Path) -> None:
    made = graph(net("output y = image -> conv(4, 1) @c"))
    arrays = {name: array.copy() for name, array in fixture(made).items()}
    arrays["c.weight"][0, 0] = 70_000.0
    with pytest.raises(SegError) as refused:
        to_onnx(made, None, Weights(arrays), fp16=True)
    (found,) = refused.value.diagnostics
    assert found.code == "E6006"
    assert "`c.weight` holds 70000" in found.message
    with pytest.raises(SegError):
        to_onnx(made, tmp_path / "net.onnx", Weights(arrays), fp16=True)
    assert not list(tmp_path.iterdir())


def test_positions_are_found_back_to_what_made_them() -> None:
    """offset = Conv(x); grid = Transpose(offset * 2 + base); y = GridSample(x, grid)."""
    ir = need("onnx_ir")
    names = ("x", "w", "two", "base")
    x, w, two, base = (ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT)) for name in names)
    nodes = [ir.Node("", "Conv", [x, w])]
    for kind, other in (("Mul", two), ("Add", base), ("Transpose", None)):
        last = nodes[-1].outputs[0]
        nodes.append(ir.Node("", kind, [last] if other is None else [last, other]))
    nodes.append(ir.Node("", "GridSample", [x, nodes[-1].outputs[0]]))
    assert positions(nodes) == set(nodes[1:4])


def test_an_input_that_is_an_output_passes_as_it_is() -> None:
    made = graph(net("output y = image\noutput z = image -> relu"))
    content = to_onnx(made, fp16=True)
    kinds = [node.op_type for node in checked(content).graph.node]
    assert sorted(kinds) == ["Cast", "Cast", "Identity", "Relu"]
    image = np.full((1, 3, 2, 2), 1 / 3, np.float32)
    assert np.array_equal(run_onnx(content, {"image": image})["y"], image)
