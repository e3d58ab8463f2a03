"""Folded weights against torch: convolution and norm one after the other, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.peers import need

torch = need("torch")

import torch.nn.functional as F  # noqa: E402

from compiler.passes.fold_bn import fold_bn  # noqa: E402
from compiler.weights import initialise  # noqa: E402
from compiler.weights.folding import node_array  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.ir import Graph, Node  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402


def folded_node(folded: Graph) -> Node:
    (node,) = (node for node in folded.nodes() if node.folded is not None)
    return node


@settings(max_examples=30)
@given(
    transposed=st.booleans(),
    groups=st.integers(1, 3),
    bias=st.booleans(),
    affine=st.booleans(),
    frozen=st.booleans(),
    seed=st.integers(0, 99),
)
def test_one_operator_does_both(
    transposed: bool, groups: int, bias: bool, affine: bool, frozen: bool, seed: int
) -> None:
    name, channels = ("conv_transpose" if transposed else "conv"), 2 * groups
    norm = "bn(frozen=true)" if frozen else f"bn(affine={str(affine).lower()})"
    body = (
        f"output y = image -> {name}({3 * groups}, [3, 2], groups={groups}, "
        f"bias={str(bias).lower()}) @c -> {norm} @n"
    )
    before = graph(net(body, given=f"input image: f32[N, {channels}, H, W] where H >= 3, W >= 2"))
    weights = initialise(params(before), seed, style="fixture")
    node = folded_node(fold_bn(before))
    arrays = {name: node_array(node, name, weights) for name in ("weight", "bias")}
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}

    def tensor(path: str) -> Any:
        return torch.from_numpy(np.array(weights[path])).double() if path in weights else None

    x = torch.rand(2, channels, 5, 6, dtype=torch.float64, generator=torch.manual_seed(seed))
    run = F.conv_transpose2d if transposed else F.conv2d
    y = run(x, tensor("c.weight"), tensor("c.bias"), groups=groups)
    wanted = F.batch_norm(
        y, tensor("n.running_mean"), tensor("n.running_var"), tensor("n.weight"), tensor("n.bias")
    )
    weight, offset = (torch.from_numpy(arrays[n]).double() for n in ("weight", "bias"))
    found = run(x, weight, offset, groups=groups)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


def test_it_is_rounded_once() -> None:
    """The scale in f32, and the product in f32 after it, would differ in the last bit."""
    before = graph(net("output y = image -> conv(64, 3, pad=1) @c -> bn @n"))
    weights = initialise(params(before), 5, style="fixture")
    node = folded_node(fold_bn(before))
    wide = {name: np.asarray(array, np.float64) for name, array in weights.items()}
    scale = wide["n.weight"] / np.sqrt(wide["n.running_var"] + 1e-5)
    exact = (wide["c.weight"] * scale[:, None, None, None]).astype(np.float32)
    twice = weights["c.weight"] * scale.astype(np.float32)[:, None, None, None]
    found = node_array(node, "weight", weights)
    assert np.array_equal(found, exact)
    assert np.mean(twice != exact) > 0.05


def test_plain_nodes_get_the_table() -> None:
    before = graph(net("output y = image -> conv(4, 3, pad=1) @c"))
    weights = initialise(params(before), 1)
    (node,) = (node for node in before.nodes() if node.path)
    for name in ("weight", "bias"):
        assert np.shares_memory(node_array(node, name, weights), weights[f"c.{name}"])
    with pytest.raises(KeyError):
        node_array(node, "weight", {})
