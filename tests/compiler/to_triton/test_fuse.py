"""Regions: what becomes one, what stays apart, and that nothing else changes."""

from __future__ import annotations

import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from compiler import to_torch, to_triton  # noqa: E402
from compiler.pipeline import optimize  # noqa: E402
from compiler.to_triton import plan as planning  # noqa: E402
from compiler.to_triton.fuse import fuse  # noqa: E402
from compiler.to_triton.kernels import conv  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.prepare import fused_graph, prepare  # noqa: E402
from compiler.to_triton.regions import ConvBlock  # noqa: E402
from compiler.verify.tolerances import WHOLE_NET  # noqa: E402
from compiler.weights.init import initialise  # noqa: E402
from segdsl.analysis.cost import macs  # noqa: E402
from segdsl.analysis.params import owners, params  # noqa: E402
from segdsl.analysis.shapes import shapes  # noqa: E402
from segdsl.ir import Graph, Value  # noqa: E402
from segdsl.ops.ports import Output  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.support.grown import Grown  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402
from tests.support.spatial import spatial_programs  # noqa: E402


def blocks(found: Graph) -> list[tuple[str, ...]]:
    return [n.op.fused for n in found.nodes() if isinstance(n.op, ConvBlock)]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("output y = image -> conv(8, 3, pad=1) @c -> relu", [("conv", "relu")]),
        ("output y = image -> conv(8, 3, pad=1) @c -> bn @n -> silu", [("conv", "silu")]),
        ("output y = image -> conv(8, 3, pad=1) @c", [("conv",)]),
        (
            "a = image -> conv(8, 1) @a -> relu\n"
            "output y = relu((a -> conv(8, 3, pad=1) @b -> bn @n) + a)",
            [("conv", "relu"), ("conv", "add", "relu")],
        ),
        (
            "a = image -> conv(8, 1) @a\noutput y = a + (a -> conv(8, 1) @b -> relu)",
            [("conv",), ("conv", "relu", "add")],
        ),
        # Both sides of the sum are convolutions: the first takes the other as its residual.
        (
            "output y = relu((image -> conv(8, 1) @a) + (image -> conv(8, 1) @b))",
            [("conv",), ("conv", "add", "relu")],
        ),
        ("output y = image -> conv(8, 3, pad=1) @c -> gelu(approx=tanh)", [("conv",)]),
        ("output y = image -> conv(8, 3, pad=1) @c -> softmax(axis=channels)", [("conv",)]),
        ("output y = (image -> conv(8, 3, pad=1) @c) + 1.0", [("conv",)]),
        # A second reader, a name and an output end a region.
        ("c = image -> conv(3, 1) @c -> relu\noutput y = c + relu(c)", [("conv", "relu")]),
        ("c = image -> conv(3, 1) @c\noutput y = relu(c)", [("conv",)]),
        ("output c = image -> conv(3, 1) @c\noutput y = relu(c)", [("conv",)]),
        ("output y = image -> conv(3, 3, pad=[2, 1, 0, 1]) @c -> relu", []),
        ("output y = image -> conv_transpose(3, 2, stride=2) @c -> relu", []),
        ("layer f = conv(3, 1) @c\noutput y = image -> f -> relu -> f", []),
    ],
)
def test_regions(body: str, wanted: list[tuple[str, ...]]) -> None:
    found = fused_graph(graph(net(body)))
    found.verify()
    assert blocks(found) == wanted


def test_a_sum_that_stretches_is_no_residual() -> None:
    body = (
        "gate = image -> global_avg_pool -> conv(8, 1) @g\n"
        "output y = (image -> conv(8, 1) @c) + gate"
    )
    assert blocks(fused_graph(graph(net(body)))) == [("conv",), ("conv",)]


@pytest.mark.parametrize("name", ["deeplabv3", "unet", "tiramisu", "fcn8s", "seresnet50"])
def test_stock_networks_keep_names_types_and_weights(name: str) -> None:
    before = optimize(load(name))
    after = fuse(before)
    after.verify()
    old, new = shapes(before), shapes(after)
    assert dict(params(after)) == dict(params(before))
    assert set(after.stages) == set(before.stages)
    for value in after.stages.values():
        assert new[value] == old[value]
    for node in after:
        assert new[Value(node)] == old[Value(node)]
    assert [n for n in after if isinstance(after[n].op, Output)] == list(before.outputs)


def test_a_graph_without_convolutions_is_the_same_object() -> None:
    before = graph(net("output y = image -> relu"))
    assert fuse(before) is before


def agree(network: Graph, sizes: tuple[int, int], name: str) -> dict[str, str]:
    """Runs both modules on noise; answers the routes of the fused one."""
    torch.manual_seed(0)
    table = params(network)
    arrays = initialise(table, seed=1, owners=owners(network))
    image = torch.rand(2, 3, *sizes)
    reference = to_torch(network, arrays).eval().double()
    module = to_triton(network, arrays)
    with torch.no_grad(), policy(name), recorded() as routes:
        wanted = reference(image.double())
        got = module(image)
    got, wanted = (x if isinstance(x, tuple) else (x,) for x in (got, wanted))
    for y, r in zip(got, wanted, strict=True):
        if r is not None:
            assert (y - r).abs().max() <= WHOLE_NET * max(1.0, float(r.abs().max()))
    return routes


SMALL = {
    "deeplabv3": ({"depth": 50, "classes": 8}, (33, 41)),
    "unet": ({"width": 16, "depth": 2}, (20, 23)),
    "tiramisu": ({"depth": 56}, (32, 32)),
    "seresnet50": ({}, (33, 40)),
    "unet_resnet34": ({"width": 4}, (33, 40)),
}


@pytest.mark.parametrize("name", SMALL)
def test_the_library_routes_compute_the_network(name: str) -> None:
    given, sizes = SMALL[name]
    routes = agree(load(name, **given), sizes, "measured")  # type: ignore[arg-type]
    assert set(routes.values()) <= {"library"}


@pytest.mark.parametrize("name", ["unet"])
def test_interpreted_kernels_compute_the_network(name: str) -> None:
    given, sizes = SMALL[name]
    routes = agree(load(name, **given), sizes, "all")  # type: ignore[arg-type]
    assert len(routes) > 3
    assert "library" not in routes.values()


@settings(max_examples=25)
@given(spatial_programs(), st.integers(9, 24), st.integers(9, 24))
def test_random_programs(grown: Grown, height: int, width: int) -> None:
    """Fusing changes no function, whatever the graph."""
    network = grown.program.graph
    assert network is not None
    known = [grown.program.accepted[n].at_least(s) for n, s in (("H", height), ("W", width))]
    if None in known:
        return
    ready = prepare(network)
    ready.graph.verify()
    image = torch.rand(1, 4, *known)
    with torch.no_grad():
        wanted = to_torch(network).eval().double()(image.double())
        got = to_triton(network)(image)
    assert (got - wanted).abs().max() <= WHOLE_NET * max(1.0, float(wanted.abs().max()))


def test_the_plan_counts_what_kernels_can_take() -> None:
    sizes = {"N": 1, "H": 256, "W": 256}
    whole = load("unet_resnet34")
    found = plan(fused_graph(whole), sizes)
    assert sum(row.macs or 0 for row in found.rows) == sum(macs(whole, sizes).values())
    assert found.share is not None
    assert 0.9 < found.share < 1
    by_name = {row.name: row for row in found.rows}
    assert "21 output channels" in by_name["segmentation_head.0"].reason
    assert sum("3 input channels" in row.reason for row in found.rows) == 1
    assert plan(fused_graph(whole)).share is None


@pytest.mark.parametrize(
    ("form", "fused"),
    [
        ("resize(like=image, mode=bilinear)", True),
        ("resize(like=image, mode=bilinear, align_corners=true)", True),
        ("resize(to=[13, 9], mode=bilinear)", True),
        ("resize([2, 3], mode=bilinear)", True),
        ("resize(1.5, mode=bilinear)", False),
        ("resize(2x, mode=nearest)", False),
        ("resize(like=image, mode=bilinear, antialias=true)", False),
    ],
)
def test_labels(form: str, fused: bool) -> None:
    """The class of every pixel, with and without the full-size scores."""
    body = f"output mask = image -> conv(8, 3, pad=1, stride=2) @c -> {form} -> argmax(channels)"
    network = graph(net(body))
    names = [row.kernel for row in plan(fused_graph(network)).rows]
    assert ("upsample_argmax" in names) == fused
    image = torch.rand(2, 3, 12, 15)
    with policy("all"), torch.no_grad():
        got = to_triton(network)(image)
        wanted = to_torch(network).eval()(image)
    assert got.shape == wanted.shape
    assert got.dtype == torch.int64
    assert (got != wanted).float().mean() <= 0.01  # ties by rounding


def test_the_plan_knows_what_the_kernel_takes() -> None:
    """The plan imports no torch, so it states the two numbers again."""
    kernel = (conv.SMALLEST_BLOCK, conv.OUT_MULTIPLE)
    assert kernel == (planning.SMALLEST_BLOCK, planning.OUT_MULTIPLE)


def test_a_module_for_inference_refuses_to_train() -> None:
    module = to_triton(graph(net("output y = image -> conv(8, 3, pad=1) @c -> relu")))
    assert not any(p.requires_grad for p in module.parameters())
    with pytest.raises(RuntimeError, match="torch target"):
        module.train()


def test_compile_and_export() -> None:
    network = load("unet", form="same", width=8, depth=2)
    module, image = to_triton(network), torch.rand(2, 3, 16, 20)
    wanted = module(image)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(image), wanted)
    sizes = {0: torch.export.Dim("N"), 2: 4 * torch.export.Dim("h"), 3: 4 * torch.export.Dim("w")}
    program = torch.export.export(module, (image,), dynamic_shapes=(sizes,))
    other = torch.rand(3, 3, 24, 12)
    assert torch.equal(program.module()(other), module(other))
