"""A public optimiser finds nothing left to do in our files."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.support.peers import need

onnx = need("onnx")
optimizer = need("onnxscript.optimizer")

from compiler.to_onnx import to_onnx  # noqa: E402
from segdsl.program import load  # noqa: E402

STOCK: list[tuple[str, dict[str, Any]]] = [
    ("unet", {}),
    ("unet_resnet34", {}),
    ("fcn_resnet50", {}),
    ("deeplabv3", {"depth": 50}),
    ("resnet", {"depth": 18}),
    ("seresnet50", {}),
    ("tiramisu", {}),
]


def kinds(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("size", [None, (64, 96)], ids=["free", "fixed"])
@pytest.mark.parametrize(("name", "settings"), STOCK, ids=[row[0] for row in STOCK])
def test_nothing_is_left_to_do(
    name: str, settings: dict[str, Any], size: tuple[int, int] | None
) -> None:
    model = onnx.load_from_string(to_onnx(load(name, **settings), size=size))
    assert kinds(optimizer.optimize(model)) == kinds(model)


def test_the_optimizer_would_find_a_norm() -> None:
    model = onnx.load_from_string(to_onnx(load("resnet", depth=18), optimize=False))
    assert kinds(model)["BatchNormalization"] == 20
    assert kinds(optimizer.optimize(model))["BatchNormalization"] == 0
