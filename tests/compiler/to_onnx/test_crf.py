"""Conditional random fields in ONNX Runtime against dense matrices in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.peers import need

onnx = need("onnx")
runtime = need("onnxruntime")
need("onnx_ir")

import segdsl  # noqa: E402
from compiler.to_onnx import to_onnx  # noqa: E402
from compiler.weights.table import Weights  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from tests.support.crf_cases import Case, cases  # noqa: E402

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


def session(data: bytes) -> Any:
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def written(case: Case, **options: Any) -> Any:
    """The model of a case, ready to run; dense kernels are allowed."""
    return session(to_onnx(segdsl.parse(case.text), None, Weights(case.weights), **options))


def compare(model: Any, case: Case, values: dict[str, Any], tolerance: float = 2e-5) -> None:
    (found,) = model.run(None, values)
    wanted = case.wanted(values)
    assert found.shape == wanted.shape
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)


@settings(SLOW, max_examples=30)
@given(
    case=cases("window"),
    sizes=st.lists(st.tuples(st.integers(1, 11), st.integers(1, 11)), min_size=2, max_size=2),
    unroll=st.booleans(),
    seed=st.integers(0, 99),
)
def test_windows_at_any_size(
    case: Case, sizes: list[tuple[int, int]], unroll: bool, seed: int
) -> None:
    model = written(case, unroll=unroll)
    for images, (height, width) in enumerate(sizes, 1):
        compare(model, case, case.inputs(images, height, width, seed))


@settings(SLOW, max_examples=15)
@given(
    case=cases("window"), height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99)
)
def test_windows_at_a_fixed_size(case: Case, height: int, width: int, seed: int) -> None:
    model = written(case, size=(height, width), batch=2)
    compare(model, case, case.inputs(2, height, width, seed))


@settings(SLOW, max_examples=40)
@given(
    case=cases("exact"),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    fixed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_all_pairs(case: Case, height: int, width: int, fixed: bool, seed: int) -> None:
    size = {"size": (height, width)} if fixed else {"allow_dense": True}
    model = written(case, **size)
    compare(model, case, case.inputs(2, height, width, seed))


NET = """seg 1
net Net() {{
  input image: f32[N, 3, H, W]
  input rgb: u8[N, 3, H, W]
  scores = image -> conv(4, 1) @score
  output y = scores -> mean_field([gaussian(sxy=3px), bilateral(rgb, sxy=9px, srgb=13)], {options})
}}
"""


def model(options: str, **further: Any) -> Any:
    return onnx.load_from_string(to_onnx(segdsl.parse(NET.format(options=options)), **further))


def test_iterations_are_a_loop_or_written_out() -> None:
    options = "method=window, window=5, iterations=6"
    looped, flat = model(options), model(options, unroll=True)
    kinds = [node.op_type for node in looped.graph.node]
    assert kinds.count("Loop") == 1
    assert "Loop" not in [node.op_type for node in flat.graph.node]
    (loop,) = (node for node in looped.graph.node if node.op_type == "Loop")
    body = loop.attribute[0].g
    softmax = [node.op_type for node in body.node].count("Softmax")
    assert softmax == 1
    assert [n.op_type for n in flat.graph.node].count("Softmax") == 6 + 1
    # Both terms have numbers for weights: one sum of shifts serves both.
    assert [n.op_type for n in body.node].count("Slice") == 25


def test_names_are_unique_and_the_file_is_the_same_twice() -> None:
    options = "method=window, iterations=3"
    graph = segdsl.parse(NET.format(options=options))
    assert to_onnx(graph) == to_onnx(graph)
    found = model(options)
    names: list[str] = []
    pending = [found.graph]
    while pending:
        graph_ = pending.pop()
        for node in graph_.node:
            names += node.output
            pending += [a.g for a in node.attribute if a.HasField("g")]
    assert all(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("options", ["method=window, window=5", "method=exact, iterations=2"])
def test_half_precision_computes_it_in_single(options: str) -> None:
    """The scores are rounded to f16 by the convolution before; nothing else is."""
    rng = np.random.default_rng(0)
    feeds = {
        "image": rng.normal(size=(1, 3, 9, 8)).astype(np.float32),
        "rgb": rng.integers(0, 256, (1, 3, 9, 8)).astype(np.uint8),
    }
    graph = segdsl.parse(NET.format(options=options))
    results = [
        session(to_onnx(graph, size=(9, 8), fp16=half)).run(None, feeds)[0]
        for half in (False, True)
    ]
    assert 0 < np.abs(results[0] - results[1]).max() < 5e-3
    halved = onnx.load_from_string(to_onnx(graph, size=(9, 8), fp16=True))
    types = {v.name: v.type.tensor_type.elem_type for v in halved.graph.value_info}
    half = {name for name, kind in types.items() if kind == onnx.TensorProto.FLOAT16}
    assert half
    inside = [n for n in halved.graph.node if n.op_type in ("Exp", "Softmax", "Loop", "MatMul")]
    assert inside
    assert not half & {name for node in inside for name in (*node.input, *node.output)}


def refusal(options: str, **further: Any) -> Any:
    with pytest.raises(SegError) as caught:
        model(options, **further)
    (found,) = caught.value.diagnostics
    assert found.code == "E6001"
    return found


def test_the_lattice_is_refused_with_a_way_out() -> None:
    found = refusal("method=lattice")
    assert "`mean_field(method=lattice)` has no ONNX form" in found.message
    assert "method=window" in found.helps[0].text
    assert found.span.text == "method=lattice"


def test_all_pairs_are_refused_where_they_do_not_fit() -> None:
    found = refusal("method=exact", size=(64, 65))
    assert "64x65 makes 66 MiB" in found.message
    assert any("--allow-dense" in help.text for help in found.helps)
    assert "any size" in refusal("method=exact").message
    assert model("method=exact", size=(64, 64), batch=1)
    assert model("method=exact", size=(64, 65), allow_dense=True)


def test_places_alone_need_no_pairs() -> None:
    text = NET.format(options="method=exact").replace(", bilateral(rgb, sxy=9px, srgb=13)", "")
    text = text.replace("  input rgb: u8[N, 3, H, W]\n", "")
    assert to_onnx(segdsl.parse(text))


def test_limits_of_what_is_written_out() -> None:
    assert "51" in refusal("method=window, window=51").message
    assert "iterations" in refusal("method=window, iterations=60", unroll=True).message
    assert model("method=window, iterations=60")


def test_a_lattice_without_messages_needs_no_lattice() -> None:
    assert model("method=lattice, iterations=0")
