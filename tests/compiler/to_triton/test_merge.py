"""Convolutions over two maps: what becomes one region, what stays and why, and the same numbers."""

from __future__ import annotations

import pytest

from tests.support.peers import need

need("triton")
need("torch")

import torch  # noqa: E402

from compiler import to_torch, to_triton  # noqa: E402
from compiler.to_triton import merge  # noqa: E402
from compiler.to_triton.kernels import conv  # noqa: E402
from compiler.to_triton.kernels.blocks import MergedConvBlock  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.to_triton.merge import EnlargedConv, MergedConv, fuse_merged  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.prepare import fused_graph, prepare  # noqa: E402
from compiler.verify.tolerances import WHOLE_NET  # noqa: E402
from compiler.weights.init import initialise  # noqa: E402
from segdsl.analysis.cost import macs  # noqa: E402
from segdsl.analysis.params import owners, params  # noqa: E402
from segdsl.analysis.shapes import shapes  # noqa: E402
from segdsl.ir import Graph, Value  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.support.programs import graph  # noqa: E402

CONV = "conv(24, 3, pad=1) @mix"


def program(body: str, *, block: str = "") -> str:
    """A level of a U-Net: `skip` has 16 channels and the size of the image, `deep` 32 and half."""
    return (
        "seg 1\n"
        f"block Level(skip: [N, S, H, W], deep: [N, D, h, w]) -> (y: [N, _, _, _]) {{\n{body}\n}}\n"
        "net Net() {\n  input image: f32[N, 16, H, W] where H >= 2, W >= 2\n"
        "  deep = image -> conv(32, 3, stride=2, pad=1) @down\n"
        f"  {block or 'output y = Level(image, deep) @level'}\n}}\n"
    )


UP = "deep -> resize(like=skip, mode=nearest)"


def regions(found: Graph) -> list[MergedConv | EnlargedConv]:
    return [n.op for n in found.nodes() if isinstance(n.op, MergedConv | EnlargedConv)]


def agree(network: Graph, size: tuple[int, int], how: str) -> dict[str, str]:
    """Runs both modules on noise; answers the routes of the fused one."""
    arrays = initialise(params(network), seed=1, owners=owners(network))
    torch.manual_seed(0)
    channels = shapes(network)[Value(network.inputs[0])].channels
    image = torch.rand(2, channels, *size)
    module = to_triton(network, arrays)
    with torch.no_grad(), policy(how), recorded() as routes:
        got = module(image)
        wanted = to_torch(network, arrays).eval().double()(image.double())
    assert (got - wanted).abs().max() <= WHOLE_NET * max(1.0, float(wanted.abs().max()))
    return routes


FORMS = {
    "up first": f"y = concat([{UP}, skip]) -> {CONV} -> relu",
    "up second": f"y = concat([skip, {UP}]) -> {CONV} -> relu",
    "both whole": f"y = concat([skip, skip -> relu]) -> {CONV}",
    "bilinear": f"up = deep -> resize(like=skip, mode=bilinear)\ny = concat([skip, up]) -> {CONV}",
    "transposed": "wide = deep -> conv_transpose(16, 2, stride=2) @up\n"
    "up = wide -> crop(like=skip, offset=centre)\n"
    f"y = concat([skip, up]) -> {CONV} -> silu",
    "padded": "wide = skip -> avg_pool(2) -> conv(32, 1) @up -> pad(like=skip)\n"
    f"y = concat([skip, wide]) -> {CONV} -> silu",
    "padded first": "few = skip -> avg_pool(2) -> pad(like=skip, mode=constant)\n"
    f"y = concat([few, skip]) -> {CONV}",
    "padded otherwise": "few = skip -> avg_pool(2) -> pad(like=skip, mode=constant, value=1.0)\n"
    f"y = concat([few, skip]) -> {CONV}",
    "residual": f"y = relu((concat([{UP}, skip]) -> conv(16, 3, pad=1) @mix) + skip)",
    "dilated": f"y = concat([{UP}, skip]) -> conv(24, 3, pad=2, dilation=2, stride=2) @mix",
    "norm": f"y = concat([{UP}, skip]) -> conv(24, 3, pad=1, bias=false) @mix -> bn @n -> relu",
    "alone": f"y = {UP} -> {CONV} -> leaky_relu(0.2)",
    "alone by a factor": f"y = deep -> resize([3, 1], mode=nearest) -> {CONV}",
    "alone to a size": f"y = deep -> resize(to=[5, 9], mode=nearest) -> {CONV}",
}
FITTED = {"up first": 0, "up second": 1, "residual": 0, "dilated": 0, "norm": 0, "padded": 1,
          "padded first": 0}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("size", "how"),
    [((9, 12), "measured"), ((9, 7), "all"), ((8, 6), "all")],
    ids=["library", "odd", "doubled"],
)
def test_levels_compute_the_same(form: str, size: tuple[int, int], how: str) -> None:
    if how == "all" and not INTERPRETED:
        pytest.skip("interpreted kernels only")
    network = graph(program(FORMS[form]))
    (op,) = regions(fused_graph(network))
    if isinstance(op, MergedConv):
        assert op.fitted == FITTED.get(form, -1)
        assert (op.fitting is not None) == (form in FITTED)
    assert isinstance(op, EnlargedConv) == form.startswith("alone")
    routes = agree(network, size, how)
    mixed = next((routes[key] for key in routes if key.startswith("merge_conv")), None)
    if not INTERPRETED:
        assert mixed is None
    elif how == "measured":
        assert mixed == "library"
    else:
        folds = form in ("up first", "up second", "norm", "residual", "alone") and size == (8, 6)
        assert mixed == ("fold " if folds else "") + "m64n32w4"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"y = concat([skip, skip, {UP}]) -> {CONV}", "no template: 3 maps"),
        (
            "few = deep -> conv(8, 1) @few\n"
            f"y = concat([skip, few -> resize(like=skip, mode=nearest)]) -> {CONV}",
            "no template: 8 input channels do not divide by 16",
        ),
        (
            f"y = concat([skip, {UP}]) -> conv(21, 1) @mix",
            "no template: 21 output channels do not divide by 8",
        ),
        (f"y = concat([skip, {UP}]) -> conv(24, 1, groups=2) @mix", "no template: groups=2"),
        (f"both = concat([skip, {UP}])\ny = (both -> {CONV}) + (both -> conv(24, 1) @o)",
         "2 nodes read it"),
        (f"y = concat([skip, {UP}]) -> relu -> {CONV}", "no arithmetic to fuse with"),
        (f"y = concat([skip, {UP}]) -> conv(24, 3, pad=[2, 1, 0, 1]) @mix",
         "no arithmetic to fuse with"),
    ],
    ids=["three", "narrow", "out", "groups", "shared", "relu", "uneven"],
)  # fmt: skip
def test_what_stays_and_why(body: str, reason: str) -> None:
    found = fused_graph(graph(program(body)))
    found.verify()
    assert [op for op in regions(found) if isinstance(op, MergedConv)] == []
    (row,) = [row for row in plan(found).rows if row.ops == ("concat",)]
    assert row.kernel == "library"
    assert row.reason == reason


NAMED = "both = concat([image, deep -> resize(like=image, mode=nearest)])\n"


def test_a_concatenation_with_a_name_stays() -> None:
    block = f"{NAMED}  output y = both -> {CONV}"
    found = fused_graph(graph(program(f"y = skip -> {CONV}", block=block)))
    assert regions(found) == []
    (row,) = [row for row in plan(found).rows if row.ops == ("concat",)]
    assert row.reason == "it has a name: both"


def test_an_enlarged_map_with_a_name_is_read_whole() -> None:
    block = "up = deep -> resize(like=image, mode=nearest)\n  output y = concat([up, image])"
    found = fused_graph(graph(program(f"y = skip -> {CONV}", block=f"{block} -> {CONV}")))
    (op,) = regions(found)
    assert isinstance(op, MergedConv)
    assert op.fitting is None
    assert "resize" in [n.op.name for n in found.nodes()]


@pytest.mark.parametrize(
    "form",
    ["resize(1.5, mode=nearest)", "resize(2x, mode=nearest_exact)", "resize(2x, mode=bilinear)"],
)
def test_enlargements_that_are_no_repetition(form: str) -> None:
    network = graph(program(f"y = deep -> {form} -> {CONV}"))
    assert regions(fused_graph(network)) == []


def test_types_weights_and_stages_of_unet_resnet34() -> None:
    network = load("unet_resnet34")
    ready = prepare(network)
    ready.graph.verify()
    names = [type(op).__name__ for op in regions(ready.graph)]
    assert names == ["MergedConv"] * 4 + ["EnlargedConv"]
    folded = params(ready.graph)
    assert {n for n in folded if n.endswith("weight")} <= set(params(network))
    ops = {n.op.name for n in ready.graph.nodes()}
    assert not ops & {"concat", "resize"}
    module = to_triton(network)
    assert isinstance(module.get_submodule("decoder.blocks.0.conv1.0"), MergedConvBlock)
    sizes = {"N": 1, "H": 64, "W": 96}
    found = plan(ready.graph, sizes)
    assert sum(row.macs or 0 for row in found.rows) == sum(macs(network, sizes).values())
    assert [row.kernel for row in found.rows].count("merge_conv") == 5
    (last,) = [row for row in found.rows if row.name == "decoder.blocks.4.conv1.y"]
    assert last.ops == ("resize", "conv", "relu")


def test_operators_have_the_types_of_what_they_replace() -> None:
    for form, body in FORMS.items():
        network = graph(program(body))
        whole = fused_graph(network)
        before, after = shapes(network), shapes(whole)
        (node,) = [n.name for n in whole.nodes() if isinstance(n.op, MergedConv | EnlargedConv)]
        assert after[Value(node)] == before[Value(node)], form
        assert fuse_merged(whole) is whole


def test_the_pass_knows_what_the_kernel_takes() -> None:
    """The passes import no torch, so they state the two numbers again."""
    assert (merge.SMALLEST_BLOCK, merge.OUT_MULTIPLE) == (conv.SMALLEST_BLOCK, conv.OUT_MULTIPLE)


def test_it_exports_with_sizes_that_vary() -> None:
    module = to_triton(graph(program(FORMS["up first"])))
    image = torch.rand(2, 16, 8, 6)
    wanted = module(image)
    assert torch.equal(torch.compile(module, backend="aot_eager", fullgraph=True)(image), wanted)
    sizes = {0: torch.export.Dim("N"), **{i: torch.export.Dim("hw"[i - 2], min=3) for i in (2, 3)}}
    exported = torch.export.export(module, (image,), dynamic_shapes=(sizes,)).module()
    other = torch.rand(3, 16, 9, 11)
    assert torch.equal(exported(other), module(other))
