from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from segdsl.lints.padding import same_upper
from segdsl.types import Window
from tests.support.linted import codes, lint, net

BEFORE = "image -> conv(4, 9, pad=same) @a as wide"


def _conv(size: int, kernel: int, stride: int, dilation: int, **pads: Any) -> np.ndarray:
    """A row through ONNX Runtime's convolution whose weights tell the taps apart."""
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], kernel_shape=[kernel], strides=[stride],
        dilations=[dilation], **pads,
    )  # fmt: skip
    weight = helper.make_tensor(
        "w", TensorProto.FLOAT, [1, 1, kernel], [2.0**i for i in range(kernel)]
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, size])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "n"])
    graph = helper.make_graph([node], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    row = np.arange(1, size + 1, dtype=np.float32).reshape(1, 1, -1)
    (result,) = session.run(None, {"x": row})
    return np.asarray(result)


@given(st.integers(1, 20), st.sampled_from([1, 3, 5]), st.integers(1, 4))
def test_same_upper_is_that_of_onnx(size: int, kernel: int, stride: int) -> None:
    assume(kernel >= stride)  # ONNX Runtime crops where windows leave gaps; TensorFlow does not
    window = Window(kernel, stride)
    before = same_upper(size, window)
    outputs = -(-size // stride)
    after = max((outputs - 1) * stride + kernel - size, 0) - before
    ours = _conv(size, kernel, stride, 1, pads=[before, after])
    assert np.array_equal(ours, _conv(size, kernel, stride, 1, auto_pad="SAME_UPPER"))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("conv(4, 3, dilation=2) @b", "this 3x3 conv with dilation 2 shrinks the map by 4 pixels"),
        (
            "conv(4, [1, 3], dilation=3) @b",
            "this 1x3 conv with dilation 3 shrinks the map by 0x6 pixels",
        ),
        ("conv(4, 3, pad=valid, dilation=2) @b", ""),
        ("conv(4, 3, pad=0, dilation=2) @b", ""),
        ("conv(4, 3, pad=1, dilation=2) @b", ""),
        ("conv(4, 1, dilation=2) @b", ""),
        ("conv(4, 3) @b", ""),
    ],
)
def test_dilation_without_a_word_about_padding(call: str, said: str) -> None:
    image = "input image: f32[N, 3, 64, 64]"
    found = lint(net(BEFORE, f"output y = wide -> {call}", image=image))
    assert [d.message for d in found] == ([said] if said else [])


@pytest.mark.parametrize(
    ("where", "call", "said"),
    [
        ("", "conv(4, 3, stride=2, pad=same)", ["W7014"]),
        ("", "conv(4, 3, stride=2, pad=1)", []),
        ("", "conv(4, 3, pad=same)", []),
        # a map of odd size gets the same pads on both sides: 2 in all
        (" where (H - 1) % 2 == 0, (W - 1) % 2 == 0", "conv(4, 3, stride=2, pad=same)", ["W7005"]),
    ],
)
def test_same_at_a_stride(where: str, call: str, said: list[str]) -> None:
    image = f"input image: f32[N, 3, H, W]{where}"
    assert codes(net(f"output y = image -> {call} @a", image=image)) == said


def test_the_example_of_a_shift_is_right() -> None:
    (found,) = lint(net("output y = image -> conv(4, 7, stride=4, pad=same) @a"))
    assert found.message == "`pad=same` with stride 4 reads 2 pixels beside TensorFlow's SAME"
    assert found.notes[0] == "for H = 4, on a map 4 high SAME pads 1 before, this pads 3"
