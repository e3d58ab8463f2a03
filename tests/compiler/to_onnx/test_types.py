"""Every value's stated type against the array that ONNX Runtime makes for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.peers import need

onnx = need("onnx")
need("onnxruntime")

from compiler.to_onnx import to_onnx  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.compiler.to_onnx.runs import fixture, random_inputs, session  # noqa: E402
from tests.support.grown import Grown, programs  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402


def check_types(made: Graph, **sizes: int) -> int:
    """Run with every value as an output; the formulas of dimensions are Python expressions."""
    model = onnx.load_from_string(to_onnx(made, None, fixture(made)))
    stated = {info.name: info.type.tensor_type for info in model.graph.value_info}
    stated |= {output.name: output.type.tensor_type for output in model.graph.output}
    shown = {output.name for output in model.graph.output}
    model.graph.output.extend(info for info in model.graph.value_info if info.name not in shown)
    ready = session(model.SerializeToString())
    names = [output.name for output in ready.get_outputs()]
    found = dict(zip(names, ready.run(None, random_inputs(made, 0, **sizes)), strict=True))
    assert found.keys() == stated.keys()
    for name, array in found.items():
        kind: Any = stated[name]
        wanted = tuple(
            eval(d.dim_param, {"min": min, **sizes}) if d.dim_param else d.dim_value
            for d in kind.shape.dim
        )
        assert array.shape == wanted, name
        assert onnx.helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype) == kind.elem_type
    return len(found)


@pytest.mark.parametrize("name", ["unet_resnet34", "tiramisu", "seresnet50"])
def test_stock_networks(name: str) -> None:
    assert check_types(load(name), N=2, H=41, W=38) > 90


@settings(max_examples=30)
@given(grown=programs(), data=st.data())
def test_random_programs(grown: Grown, data: st.DataObject) -> None:
    made, accepted = grown.program.graph, grown.program.accepted
    assert made is not None
    sizes = {"N": data.draw(st.integers(1, 2))}
    for name in ("H", "W"):
        fits = [n for n in range(1, 41) if n in accepted[name]]
        assume(fits)
        sizes[name] = data.draw(st.sampled_from(fits))
    check_types(made, **sizes)


COMPUTED = """\
a = image -> conv(4, 3, stride=2, pad=1)
b = resize(a, like=image, mode=nearest_exact)
c = b -> adaptive_avg_pool([3, 1]) -> resize(like=image, mode=bilinear)
d = crop(image, to=[3, 3], offset=centre) -> pad(like=image, mode=reflect) -> lrn(2)
e = c -> group_norm(2) -> softmax(space) -> pad_to_multiple(8) -> crop(like=image, offset=centre)
p = image -> max_pool(2, indices=true)
q = p.values -> max_unpool(p.indices, like=image)
f = image -> unfold(2) -> fold(2, like=image)
g = image -> flatten([2, 3]) -> permute([0, 2, 1])
h = matmul(g -> permute([0, 2, 1]), g)
output y = concat([b, c, d, e, q, f])
output z = h
output k = y -> argmax(channels)"""


def test_sizes_that_are_computed_in_the_file() -> None:
    given = "input image: f32[N, 3, H, W] where H >= 4, H <= 5, W >= 4, W <= 5"
    made = graph(net(COMPUTED, given=given))
    assert check_types(made, N=2, H=5, W=4) > 100
