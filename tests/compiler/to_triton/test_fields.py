"""Mean fields of networks: each method is for its kernels, in the plan and in the source."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from tests.support.peers import need

need("triton")
need("torch")

from compiler.to_torch.emit import emit  # noqa: E402
from compiler.to_triton.fields import METHODS, KernelField  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.prepare import IN_FOLDER, fused_graph, runtime  # noqa: E402
from segdsl.ops.crf import MeanField  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

INPUTS = "input scores: f32[N, 4, H, W]\ninput rgb: u8[N, 3, H, W]"
BLOCKS = ["DenseCRF", "DeepLabV1CRF", "DeepLabV2VggCRF", "DeepLabV2CRF", "CRFasRNN"]


@pytest.mark.parametrize(
    ("name", "settings", "kernel"),
    [
        ("deeplabv2_crf", {"scales": []}, "lattice"),
        ("crfasrnn", {}, "lattice"),
        ("convcrf", {}, "window_filter"),
    ],
)
def test_networks(name: str, settings: dict[str, Any], kernel: str) -> None:
    fused = fused_graph(load(name, **settings))
    fused.verify()
    rows = [row for row in plan(fused).rows if row.ops == ("mean_field",)]
    assert [row.kernel for row in rows] == [kernel]
    assert rows[0].reason == "at the call, if this size was measured to win"


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("block", BLOCKS)
def test_the_blocks_of_the_library(block: str, method: str) -> None:
    body = f'output y = scores -> {block}(rgb, method="{method}")'
    plain = graph(net(body, f"from std.crf import {block}", given=INPUTS))
    fused = fused_graph(plain)
    (field,) = [node.op for node in fused.nodes() if isinstance(node.op, KernelField)]
    assert type(field) is METHODS[method]
    (before,) = [node.op for node in plain.nodes() if isinstance(node.op, MeanField)]
    assert field.terms == before.terms
    source = emit(fused, runtime=runtime(fused, IN_FOLDER))
    assert f"from .kernels.blocks import {field.call}\n" in source
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if ast.unparse(node.func) == field.call]
    assert ast.unparse(call.args[0]) == f"({', '.join(field.library)})"
    for name in field.library:
        assert f"\ndef {name}(" in source


def test_what_no_kernel_takes() -> None:
    for settings, reason in (
        ("iterations=0", "no arithmetic: no message is passed"),
        ("method=exact", "no template: terms of the place alone are separable"),
    ):
        found = graph(net(f"output y = image -> mean_field([gaussian()], {settings})"))
        assert fused_graph(found) is not None
        (row,) = plan(fused_graph(found)).rows
        assert (row.kernel, row.reason) == ("library", reason)
