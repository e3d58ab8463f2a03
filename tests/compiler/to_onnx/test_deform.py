"""Deformable operators in ONNX Runtime against the float64 loops of their equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.peers import need

torch = need("torch")
need("onnxruntime")

from compiler.to_onnx import to_onnx  # noqa: E402
from compiler.weights.table import Weights  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.ops.base import Op  # noqa: E402
from segdsl.ops.deform import Dcnv3Core, DeformConv  # noqa: E402
from segdsl.program import parse  # noqa: E402
from segdsl.symbolic import symbol  # noqa: E402
from segdsl.types import Feature, Pair  # noqa: E402
from tests.compiler.to_onnx.runs import checked, differences, fixture, run_onnx  # noqa: E402
from tests.compiler.to_torch.test_deform import arrays, case  # noqa: E402
from tests.support import deform_loops as loops  # noqa: E402
from tests.support.graphs import Builder  # noqa: E402
from tests.support.refusals import make  # noqa: E402

LIMIT = 2e-5
"""f32 against f64: the position of a point, up to 30 pixels away, is rounded too."""


def graph_of(op: Op, inputs: tuple[Feature, ...], *, free: bool) -> Graph:
    """A net of one operator, at known sizes or with batch, rows and columns free."""
    builder, values = Builder(), []
    for i, x in enumerate(inputs):
        shape: list[Any] = list(x.shape)
        if free:
            for axis, letter in ((0, "N"), (2, "H"), (3, "W")):
                shape[axis] = symbol(f"{letter}{shape[axis]}")
        values.append(builder.input(*shape, name=f"x{i}"))
    at = "layer" if op.params(*inputs) else None
    builder.output(builder.add(op, *values, at=at), "y")
    return builder.graph


def wanted(op: Op, given: list[Any], weights: Weights) -> Any:
    """The result from the loops."""
    doubles = [a.astype(np.float64) for a in given]
    if isinstance(op, Dcnv3Core):
        return loops.dcnv3(op, doubles[0], doubles[1], doubles[2])[0]
    assert isinstance(op, DeformConv)
    mask = doubles[2] if len(doubles) == 3 else None
    kernel = weights["layer.weight"].astype(np.float64)
    bias = weights["layer.bias"].astype(np.float64) if op.bias else None
    return loops.deform_conv(op, doubles[0], doubles[1], mask, kernel, bias)[0]


def agree(seed: int, *, free: bool, opset: int | None) -> set[str]:
    """Compare one random case; answers the operators of the file."""
    op, inputs = case(seed)
    graph = graph_of(op, inputs, free=free)
    given = [a.astype(np.float32) for a in arrays(inputs, seed)]
    weights = fixture(graph, seed)
    content = to_onnx(graph, None, weights, opset=opset)
    checked(content)
    (ours,) = run_onnx(content, {f"x{i}": a for i, a in enumerate(given)}).values()
    expected = wanted(op, given, weights)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=LIMIT * scale, err_msg=f"{seed}: {op}")
    return {node.op_type for node in onnx.load_from_string(content).graph.node}


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("opset", [None, 20])
def test_results_are_those_of_the_equations(free: bool, opset: int | None) -> None:
    for seed in range(40):
        found = agree(seed, free=free, opset=opset)
        native = opset is not None and isinstance(case(seed)[0], DeformConv)
        assert ("DeformConv" in found) == native
        assert ("GridSample" in found) != native


def test_dcnv3_is_never_a_deform_conv() -> None:
    seed = 4
    assert isinstance(case(seed)[0], Dcnv3Core)
    assert "DeformConv" not in agree(seed, free=True, opset=25)


def test_the_mode_is_spelled_for_the_opset_that_the_file_has() -> None:
    """Another operator may raise the opset after the sampling was written."""
    text = (
        "seg 1\nnet T() {{\n  input x: f32[N, 8, H, W] where H >= 8, W >= 8\n"
        "  output y = x -> dcnv3(groups=2) @dcn{0}\n}}\n"
    )
    words = {}
    for tail in ("", " -> avg_pool(3, stride=2, pad=1, ceil=true)"):
        graph = parse(text.format(tail))
        model = onnx.load_from_string(to_onnx(graph, None, fixture(graph)))
        (mode,) = (
            attribute.s
            for node in model.graph.node
            if node.op_type == "GridSample"
            for attribute in node.attribute
            if attribute.name == "mode"
        )
        words[model.opset_import[0].version] = mode
    assert words == {18: b"bilinear", 22: b"linear"}


@pytest.mark.parametrize("size", [(8, 9), (17, 12)])
def test_whole_layers_agree_with_torch(size: tuple[int, int]) -> None:
    """One file of the std blocks at two sizes; weights that move points by a pixel or two."""
    graph = parse(
        "seg 1\nfrom std.dcn import ModulatedDeformConvPack, DeformConvPack\nnet T() {\n"
        "  input x: f32[N, 8, H, W] where H >= 8, W >= 8\n"
        "  a = x -> dcnv3(groups=2, offset_scale=2.0, center_feature_scale=true) @a\n"
        "  b = a -> dcnv3(groups=4, remove_center=true, offset_limit=3) @b\n"
        "  c = b -> DeformConvPack(6, 3, pad=1, stride=2) @c\n"
        "  output y = c -> ModulatedDeformConvPack(5, 3, pad=1, offset_groups=2) @d\n}\n"
    )
    x = np.random.default_rng(0).normal(size=(2, 8, *size)).astype(np.float32)
    found = differences(graph, {"x": x}, fixture(graph))
    assert max(found.values()) <= LIMIT, found


def test_a_limit_is_kept_in_both_forms() -> None:
    op = make("deform_conv", 2, Pair(3, 3), pad="same", offset_limit=0.75)
    inputs = (Feature((1, 2, 6, 6)), Feature((1, 18, 6, 6)))
    graph = graph_of(op, inputs, free=False)
    given = [a.astype(np.float32) for a in arrays(inputs, 1)]
    given[1] *= 10
    weights = fixture(graph)
    expected = wanted(op, given, weights)
    for opset in (None, 19):
        content = to_onnx(graph, None, weights, opset=opset)
        (ours,) = run_onnx(content, {"x0": given[0], "x1": given[1]}).values()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=LIMIT)
