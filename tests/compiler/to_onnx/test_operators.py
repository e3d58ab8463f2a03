"""Every operator in ONNX Runtime against float64 torch, at known sizes and at free ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.peers import need

torch = need("torch")
need("onnxruntime")

from segdsl.infer import infer  # noqa: E402
from segdsl.ir import Graph, Value  # noqa: E402
from segdsl.ops.base import RuleError  # noqa: E402
from segdsl.ops.pool import MaxPool  # noqa: E402
from segdsl.ops.resize import Resize  # noqa: E402
from segdsl.ops.window import out_size  # noqa: E402
from segdsl.symbolic import Size, symbol  # noqa: E402
from segdsl.types import HEIGHT, WIDTH, Axis, Feature  # noqa: E402
from tests.compiler.to_onnx.runs import Array, differences, fixture  # noqa: E402
from tests.support import torch_reference as reference  # noqa: E402
from tests.support.graphs import Builder  # noqa: E402
from tests.support.operator_cases import MAKERS, Case, accepts, cases  # noqa: E402

NAMES = sorted(MAKERS)
ONE_OPERATOR = 2e-6
"""f32 against f64 on a few hundred products; resizing has its own."""
RESIZING = 1e-5
AXES: tuple[Axis, Axis] = (HEIGHT, WIDTH)


def freed(feature: Feature) -> tuple[Size, ...]:
    """The type with batch and space free, one symbol for each size met; single pixels stay."""
    free = {0: "N", 2: "H", 3: "W"}
    return tuple(
        symbol(f"{free[axis]}{size}") if axis in free and feature.rank == 4 and size != 1 else size
        for axis, size in enumerate(feature.shape)
    )


def graph_of(case: Case, *, free: bool) -> Graph:
    """A net of one operator."""
    builder = Builder()
    inputs = [
        builder.input(*(freed(x) if free else x.shape), name=f"x{i}", dtype=x.dtype)
        for i, x in enumerate(case.inputs)
    ]
    at = "layer" if case.op.params(*case.inputs) else None
    value = builder.add(case.op, *inputs, at=at)
    for port in range(len(case.op.results)):
        builder.output(Value(value.node, port), f"y{port}")
    return builder.graph


def operands(case: Case, seed: int) -> dict[str, Array]:
    """The inputs, as f32 where they are not whole numbers."""
    found = [t.numpy() for t in reference.operands(case.op, case.inputs, seed)]
    return {
        f"x{i}": a.astype(np.float32) if a.dtype == np.float64 else a for i, a in enumerate(found)
    }


def sees_pixels(op: MaxPool, x: Feature) -> bool:
    """Whether every window lies on some pixel; dilated ones can lie on padding alone."""
    for axis in AXES:
        window, size = op.window(axis), x.spatial(axis)
        assert isinstance(size, int)
        count = out_size(size, window, op.ceil)
        assert isinstance(count, int)
        for i in range(count):
            start = i * window.stride - window.before
            if not any(0 <= start + k * window.dilation < size for k in range(window.kernel)):
                return False
    return True


def compare(case: Case, seed: int, *, free: bool) -> None:
    try:
        graph = graph_of(case, free=free)
        if free:
            infer(case.op, tuple(Feature(freed(x), x.dtype) for x in case.inputs))
    except RuleError:
        assume(False)
    if isinstance(case.op, MaxPool):
        # torch gives -inf where a window lies on padding alone, ONNX Runtime the lowest f32.
        assume(sees_pixels(case.op, case.inputs[0]))
    if isinstance(case.op, Resize) and case.op.antialias:
        # torch 2.13 repeats the first row there: see test_traps.py.
        out = case.op.infer(*case.inputs)
        assume(out.width != 1)
    found = differences(graph, operands(case, seed), fixture(graph, seed))
    limit = RESIZING if case.op.name == "resize" else ONE_OPERATOR
    assert max(found.values()) <= limit, found


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8)
@given(data=st.data())
def test_at_known_sizes(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    assume(accepts(case))
    compare(case, data.draw(st.integers(0, 99)), free=False)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8)
@given(data=st.data())
def test_at_free_sizes(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    assume(accepts(case))
    compare(case, data.draw(st.integers(0, 99)), free=True)
