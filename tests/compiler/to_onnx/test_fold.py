"""Numbers that are known are written, and computed as ONNX Runtime would compute them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.peers import need

onnx = need("onnx")
need("onnxruntime")

import onnx_ir as ir  # noqa: E402

from compiler.to_onnx import fold, to_onnx  # noqa: E402
from compiler.to_onnx.fold import fold_constants  # noqa: E402
from compiler.to_onnx.values import Values  # noqa: E402
from segdsl.program import load  # noqa: E402
from segdsl.symbolic import symbol  # noqa: E402
from segdsl.types import DType, Feature  # noqa: E402
from tests.compiler.to_onnx.light import light  # noqa: E402
from tests.compiler.to_onnx.runs import checked, error, fixture, random_inputs, run_onnx  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

Element = tuple[DType, Any]
INT: Element = ("i64", np.int64)
FLOAT: Element = ("f32", np.float32)
DEFORMABLE = """\
seg 1
from std.dcn import ModulatedDeformConvPack
net T() {
  input image: f32[N, 4, H, W] where H >= 5, W >= 5
  output y = image -> ModulatedDeformConvPack(6, 3, pad=1, stride=2, offset_groups=2) @a -> relu
                   -> dcnv3(groups=2, offset_scale=0.7) @b -> dcnv3(groups=2) @c
}
"""


def one_node(kind: str, arrays: list[Any], result: Feature, **attributes: Any) -> Values:
    """A single node on constants."""
    values = Values({})
    inputs = [values.constant(array) for array in arrays]
    values.add(kind, inputs, [result], "node", attributes)
    return values


def folded(values: Values) -> Any:
    """The array in the place of the only node, read by a node behind it; None if it stays."""
    (result,) = values.nodes[0].outputs
    (reader,) = values.add("Identity", [result], [Feature((1,))], "reader", {})
    node = reader.producer()
    assert node is not None
    fold_constants(values, {reader})
    (read,) = node.inputs
    assert read is not None
    return None if read.const_value is None else read.const_value.numpy()


def runtime(kind: str, arrays: list[Any], dtype: str, rank: int, **attributes: Any) -> Any:
    """What ONNX Runtime computes with the same node."""
    given = {f"x{place}": array for place, array in enumerate(arrays)}
    number = onnx.helper.np_dtype_to_tensor_dtype
    inputs = [
        onnx.helper.make_tensor_value_info(name, number(array.dtype), array.shape)
        for name, array in given.items()
    ]
    element = {"i64": onnx.TensorProto.INT64, "f32": onnx.TensorProto.FLOAT}[dtype]
    sizes = [f"d{axis}" for axis in range(rank)]
    output = onnx.helper.make_tensor_value_info("y", element, sizes)
    node = onnx.helper.make_node(kind, list(given), ["y"], **attributes)
    made = onnx.helper.make_graph([node], "g", inputs, [output])
    opsets = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(made, ir_version=8, opset_imports=opsets)
    return run_onnx(model.SerializeToString(), given)["y"]


def agree(kind: str, arrays: list[Any], dtype: Element, rank: int, **attributes: Any) -> None:
    wanted = runtime(kind, arrays, dtype[0], rank, **attributes)
    found = folded(one_node(kind, arrays, Feature((1,) * rank, dtype[0]), **attributes))
    assert found is not None
    assert found.dtype == wanted.dtype == dtype[1]
    assert np.array_equal(found, wanted)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["Add", "Sub", "Mul", "Div", "Min", "Max"]),
    dtype=st.sampled_from([INT, FLOAT]),
    data=st.data(),
)
def test_arithmetic_is_that_of_the_runtime(kind: str, dtype: Element, data: Any) -> None:
    """Broadcast both ways; whole numbers of any sign, which Div rounds to zero."""
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    seed = data.draw(st.integers(0, 99))
    draw = np.random.default_rng(seed)
    left, right = (
        (draw.integers(-40, 40, shape) + (0.3 if dtype is FLOAT else 0)).astype(dtype[1])
        for shape in ((rows, 1), (1, columns))
    )
    right[right == 0] = 7
    agree(kind, [left, right], dtype, 2)


@pytest.mark.parametrize(
    ("kind", "arrays", "attributes", "dtype", "rank"),
    [
        ("Neg", [np.array([3, -4])], {}, INT, 1),
        ("Floor", [np.array([-1.5, 2.5], np.float32)], {}, FLOAT, 1),
        ("Cast", [np.array([-1.5, 2.5], np.float32)], {"to": 7}, INT, 1),
        ("Cast", [np.array([2**24 + 1])], {"to": 1}, FLOAT, 1),
        ("Concat", [np.array([1]), np.array([2, 3])], {"axis": 0}, INT, 1),
        ("Concat", [np.ones((2, 1)), np.zeros((2, 2))], {"axis": 1}, FLOAT, 2),
        ("Squeeze", [np.array([5])], {}, INT, 0),
        ("Squeeze", [np.array([[5, 6]]), np.array([0])], {}, INT, 1),
        ("Reshape", [np.arange(6.0), np.array([2, -1])], {}, FLOAT, 2),
        ("Reshape", [np.ones((2, 3)), np.array([0, 3, 1])], {}, FLOAT, 3),
        ("Range", [np.array(2), np.array(9), np.array(3)], {}, INT, 1),
        ("Range", [np.array(5), np.array(2), np.array(1)], {}, INT, 1),
        ("Mod", [np.array([-7, 7]), np.array([4, 4])], {}, INT, 1),
    ],
)
def test_the_rest_too(
    kind: str, arrays: list[Any], attributes: Any, dtype: Element, rank: int
) -> None:
    as_stored = [a.astype(np.float32) if a.dtype == np.float64 else a for a in arrays]
    agree(kind, as_stored, dtype, rank, **attributes)


def test_what_has_no_result_stays() -> None:
    by_zero = [np.array([1, 2]), np.array([1, 0])]
    assert folded(one_node("Div", by_zero, Feature((2,), "i64"))) is None
    endless = [np.array(0), np.array(5), np.array(0)]
    assert folded(one_node("Range", endless, Feature((1,), "i64"))) is None


def test_large_results_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [np.ones((8, 1), np.float32), np.ones((1, 9), np.float32)]
    monkeypatch.setattr(fold, "MOST", 71)
    assert folded(one_node("Add", arrays, Feature((8, 9)))) is None
    monkeypatch.setattr(fold, "MOST", 72)
    assert folded(one_node("Add", arrays, Feature((8, 9)))).shape == (8, 9)


def test_weights_are_not_computed() -> None:
    made = graph(net("weight w: [1, 3, 1, 1] = ones\noutput y = image * (w * w)"))
    model = checked(to_onnx(made, size=(4, 5)))
    assert Counter(node.op_type for node in model.graph.node)["Mul"] == 2
    assert [array.name for array in model.graph.initializer][:1] == ["w"]


@pytest.mark.parametrize("batch", [None, 2])
def test_no_size_is_asked_where_sizes_are_fixed(batch: int | None) -> None:
    made = graph(DEFORMABLE)
    fixed = to_onnx(made, None, fixture(made), size=(13, 10), batch=batch)
    kinds = Counter(node.op_type for node in checked(fixed).graph.node)
    assert not {"Shape", "Range", "Cast", "Squeeze"} & set(kinds)
    inputs = random_inputs(made, 3, N=2, H=13, W=10)
    (ours,) = run_onnx(fixed, inputs).values()
    (free,) = run_onnx(to_onnx(made, None, fixture(made)), inputs).values()
    assert error(ours, free) <= 1e-6


def test_one_free_side_stays_free() -> None:
    made = graph(DEFORMABLE.replace("H, W] where H >= 5,", "13, W] where"))
    content = to_onnx(made, None, fixture(made))
    asked = Counter(node.op_type for node in checked(content).graph.node)["Range"]
    whole = Counter(n.op_type for n in checked(to_onnx(graph(DEFORMABLE))).graph.node)["Range"]
    assert 0 < asked < whole
    for width in (7, 10):
        inputs = random_inputs(made, 3, N=2, W=width)
        (ours,) = run_onnx(content, inputs).values()
        same = graph(DEFORMABLE)
        (free,) = run_onnx(to_onnx(same, None, fixture(same)), inputs).values()
        assert np.array_equal(ours, free)


def test_grids_are_shared_and_small() -> None:
    """Positions along each side of each stage, once for all blocks of the stage."""
    narrow: dict[str, Any] = {"channels": 16, "depths": [2, 3, 2, 2]}
    model = light(load("internimage", **narrow), size=(224, 256))
    constants = [a for a in model.graph.initializer if a.name.startswith("constant")]
    grids = [a for a in constants if len(a.dims) == 4 and a.data_type == onnx.TensorProto.FLOAT]
    assert sorted(tuple(a.dims)[2:] for a in grids) == sorted(
        (side, 1) if axis == 0 else (1, side)
        for k in (4, 8, 16, 32)
        for axis, side in enumerate((224 // k, 256 // k))
    )
    assert sum(len(a.raw_data) for a in constants) < 20_000


def free_map() -> tuple[Values, ir.Value]:
    """A model with an input whose size nobody knows."""
    values = Values({})
    return values, values.value((symbol("N"), 3, 4), "f32", "x")


@pytest.mark.parametrize(
    ("kind", "number", "first", "goes"),
    [
        ("Mul", 1.0, True, True),
        ("Mul", 1.0, False, True),
        ("Add", 0.0, True, True),
        ("Add", 0.0, False, True),
        ("Div", 1.0, False, True),
        ("Sub", 0.0, False, True),
        ("Div", 1.0, True, False),
        ("Sub", 0.0, True, False),
        ("Mul", 0.0, False, False),
        ("Add", 1e-20, False, False),
        ("Mul", np.nextafter(np.float32(1), np.float32(2)), False, False),
    ],
)
def test_what_adds_nothing_goes(kind: str, number: float, first: bool, goes: bool) -> None:
    values, x = free_map()
    scalar = values.constant(np.array(number, np.float32))
    operands = [scalar, x] if first else [x, scalar]
    (y,) = values.add(kind, operands, [Feature((symbol("N"), 3, 4))], "y", {})
    (z,) = values.add("Relu", [y], [Feature((symbol("N"), 3, 4))], "z", {})
    fold_constants(values, {z})
    assert [node.op_type for node in values.nodes] == (["Relu"] if goes else [kind, "Relu"])
    assert (values.nodes[-1].inputs[0] is x) == goes


def test_a_number_of_more_axes_adds_axes() -> None:
    values, x = free_map()
    one = values.constant(np.ones((1, 1, 1, 1), np.float32))
    (y,) = values.add("Mul", [x, one], [Feature((1, symbol("N"), 3, 4))], "y", {})
    (z,) = values.add("Relu", [y], [Feature((1, symbol("N"), 3, 4))], "z", {})
    fold_constants(values, {z})
    assert [node.op_type for node in values.nodes] == ["Mul", "Relu"]


def test_bodies_too() -> None:
    """A node that ends a body stays: the body's result has no other name."""
    values = Values({})
    line = Feature((2,))
    state = values.value((2,), "f32", "state")

    def body(before: ir.Value) -> ir.Value:
        one = values.constant(np.array(1.0, np.float32))
        two = values.constant(np.array(2.0, np.float32))
        (four,) = values.add("Add", [two, two], [Feature(())], "b", {})
        (same,) = values.add("Mul", [before, one], [line], "b", {})
        (more,) = values.add("Mul", [same, four], [line], "b", {})
        return values.add("Mul", [more, one], [line], "b", {})[0]

    turns = values.constant(np.array(3, np.int64))
    result = values.loop(turns, state, line, "loop", body)
    fold_constants(values, {result})
    (loop,) = values.nodes
    (inside,) = (attribute.as_graph() for attribute in loop.attributes.values())
    assert [node.op_type for node in inside] == ["Mul", "Mul", "Identity"]
    reads = inside[0].inputs
    assert reads[0] is inside.inputs[2]
    assert reads[1] is not None
    assert reads[1].const_value is not None
    assert reads[1].const_value.numpy() == 4
