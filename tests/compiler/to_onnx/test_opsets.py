"""What a later opset changes: operators that it has become one node, and compute the same."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.peers import need

torch = need("torch")
need("onnxruntime")

from compiler.to_onnx import to_onnx  # noqa: E402
from compiler.to_onnx.opsets import HIGHEST, LOWEST  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from tests.compiler.to_onnx.runs import (  # noqa: E402
    checked,
    differences,
    error,
    fixture,
    random_inputs,
    run_onnx,
)
from tests.support.programs import graph, net  # noqa: E402

NATIVE = [
    ("gelu", "Gelu", range(20, HIGHEST + 1)),
    ("gelu(approx=tanh)", "Gelu", range(20, HIGHEST + 1)),
    ("group_norm(2, eps=1e-3) @g", "GroupNormalization", range(21, HIGHEST + 1)),
    ("silu", "Swish", range(24, 25)),  # ONNX Runtime 1.31 has no Swish in files of opset 25
]
"""Statement, operator, and the opsets at which it is written."""
STATEMENT = "output y = image -> conv(4, 3, pad=1) @c -> {}"


@pytest.mark.parametrize(("body", "kind", "opsets"), NATIVE)
def test_a_later_opset_has_one_node(body: str, kind: str, opsets: range) -> None:
    made = graph(net(STATEMENT.format(body)))
    for opset in (opsets[0] - 1, opsets[0], HIGHEST):
        kinds = [node.op_type for node in checked(to_onnx(made, opset=opset)).graph.node]
        assert (kinds == ["Conv", kind]) == (opset in opsets), kinds


@pytest.mark.parametrize(("body", "kind", "opsets"), NATIVE)
def test_it_computes_the_same(body: str, kind: str, opsets: range) -> None:
    made = graph(net(STATEMENT.format(body)))
    inputs = random_inputs(made, 0, N=2, H=7, W=9)
    for opset in (opsets[0], HIGHEST):
        assert max(differences(made, inputs, fixture(made), opset=opset).values()) <= 2e-6


@pytest.mark.parametrize(("body", "kind", "opsets"), NATIVE)
def test_nothing_raises_the_opset_but_need(body: str, kind: str, opsets: range) -> None:
    model = checked(to_onnx(graph(net(STATEMENT.format(body)))))
    assert model.opset_import[0].version == LOWEST
    assert kind not in {node.op_type for node in model.graph.node}


def test_an_opset_that_was_raised_keeps_the_forms_of_the_lowest() -> None:
    """Only the operator that needs it is written in its newer form, wherever it stands."""
    body = "a = image -> gelu\noutput y = a -> max_pool(3, stride=2, ceil=true) -> gelu"
    made = graph(net(body, given="input image: f32[N, 3, H, W] where H >= 2, W >= 2"))
    model = checked(to_onnx(made))
    assert model.opset_import[0].version == 22
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Erf") == 2
    pinned = checked(to_onnx(made, opset=22))
    assert [node.op_type for node in pinned.graph.node] == ["Gelu", "MaxPool", "Gelu"]
    inputs = {"image": np.linspace(-3, 3, 3 * 6 * 8, dtype=np.float32).reshape(1, 3, 6, 8)}
    (one,) = run_onnx(to_onnx(made), inputs).values()
    (other,) = run_onnx(to_onnx(made, opset=22), inputs).values()
    assert error(one, other) <= 2e-6


def test_the_message_names_operator_and_opset() -> None:
    body = "output y = image -> avg_pool(3, stride=2, ceil=true)"
    made = graph(net(body, given="input image: f32[N, 3, H, W] where H >= 2, W >= 2"))
    with pytest.raises(SegError) as refused:
        to_onnx(made, opset=20)
    (found,) = refused.value.diagnostics
    assert (found.code, found.caption) == ("E6001", "avg_pool")
    assert found.span is not None
    assert found.span.text.startswith("avg_pool")
    assert "opset 22 can: `--opset 22`" in [help.text for help in found.helps]


DEFORMABLE = """\
seg 1
from std.dcn import DeformConvPack
net T() {
  input image: f32[N, 4, H, W] where H >= 5, W >= 5
  output y = image BODY
}
"""
NATIVE_DEFORM = (
    "`deform_conv` is a DeformConv from opset 19 on, and the GridSample of opset 18 where no "
    "`--opset` is given"
)
SAMPLED = (
    "`dcnv3` is written as the GridSample of opset 18, which is taken where no `--opset` is given"
)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("-> DeformConvPack(6, 3, pad=1) @a", [NATIVE_DEFORM]),
        ("-> dcnv3(groups=2) @b", [SAMPLED]),
        ("-> DeformConvPack(6, 3, pad=1) @a -> dcnv3(groups=2) @b", [NATIVE_DEFORM, SAMPLED]),
        ("-> relu", []),
    ],
)
@pytest.mark.parametrize("opset", [11, 16, LOWEST - 1])
def test_an_older_opset_offers_grid_sample(body: str, said: list[str], opset: int) -> None:
    made = graph(DEFORMABLE.replace("BODY", body))
    with pytest.raises(SegError) as refused:
        to_onnx(made, opset=opset)
    (found,) = refused.value.diagnostics
    assert (found.code, found.message) == ("E6003", f"target `onnx` cannot write opset {opset}")
    range_of = f"the opsets from {LOWEST} to {HIGHEST} can be written"
    assert [help.text for help in found.helps] == [range_of, *said]


def test_what_is_said_of_deformable_operators_is_so() -> None:
    """Every opset that can be written has a form of both; from 19 on one is a DeformConv."""
    body = "-> DeformConvPack(6, 3, pad=1) @a -> dcnv3(groups=2) @b"
    made = graph(DEFORMABLE.replace("BODY", body))
    for opset in (None, *range(LOWEST, HIGHEST + 1)):
        model = checked(to_onnx(made, opset=opset))
        kinds = [node.op_type for node in model.graph.node]
        native = opset is not None and opset >= 19
        assert kinds.count("DeformConv") == native
        assert kinds.count("GridSample") == (1 if native else 2)
    with pytest.raises(SegError) as refused:
        to_onnx(made, opset=HIGHEST + 1)
    assert len(refused.value.diagnostics[0].helps) == 1
