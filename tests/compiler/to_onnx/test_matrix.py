"""Every operator has an ONNX lowering."""

from __future__ import annotations

from tests.support.peers import need

need("onnx_ir")

from compiler.to_onnx import build as registers  # noqa: E402, F401  (loads every family)
from compiler.to_onnx.lower import emit  # noqa: E402
from segdsl.ops.base import OPS  # noqa: E402

HOLES: dict[tuple[str, str], str] = {}
"""(target, operator) -> why it cannot be."""


def test_no_operator_lacks_a_lowering() -> None:
    missing = {("onnx", name) for name, op in OPS.items() if op not in emit.registry}
    assert missing == set(HOLES)


def test_lowerings_are_for_operators_only() -> None:
    assert set(emit.registry) - {object} <= set(OPS.values())
