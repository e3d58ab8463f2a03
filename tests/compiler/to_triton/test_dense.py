"""Layers with a norm before the convolution, and dense blocks of them: what becomes one region."""

from __future__ import annotations

import pytest

from tests.support.peers import need

need("triton")
need("torch")

import torch  # noqa: E402

from compiler import to_torch, to_triton  # noqa: E402
from compiler.to_triton import preact  # noqa: E402
from compiler.to_triton.dense import DenseBlock  # noqa: E402
from compiler.to_triton.kernels import pre_conv  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.preact import PreConv  # noqa: E402
from compiler.to_triton.prepare import fused_graph, prepare  # noqa: E402
from compiler.verify.tolerances import WHOLE_NET  # noqa: E402
from compiler.weights.init import initialise  # noqa: E402
from compiler.weights.table import Weights  # noqa: E402
from segdsl.analysis.cost import macs  # noqa: E402
from segdsl.analysis.params import owners, params  # noqa: E402
from segdsl.analysis.shapes import shapes  # noqa: E402
from segdsl.ir import Graph, Value  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.support.programs import graph  # noqa: E402

LAYER = (
    "block Layer(x: [N, C, h, w], growth: int) -> (y: [N, growth, h, w]) {\n"
    "  y = x -> bn @norm -> relu -> conv(growth, 3, pad=1) @conv -> dropout(0.2)\n}\n"
)
LISTED = """\
  var maps = [x]
  for i in range(3) {
    maps += [concat(maps) -> Layer(8) @layers.{i}]
  }
  y = concat(maps)
"""
NESTED = """\
  var all = x
  for i in range(3) {
    all = concat([all, all -> Layer(8) @layers.{i}])
  }
  y = all
"""


def program(body: str, *, layer: str = LAYER, after: str = "-> conv(8, 1) @last") -> str:
    return (
        f"seg 1\n{layer}"
        f"block Dense(x: [N, C, h, w]) -> (y: [N, _, _, _]) {{\n{body}\n}}\n"
        "net Net() {\n  input image: f32[N, 16, H, W]\n"
        f"  output y = image -> Dense @dense {after}\n}}\n"
    )


FORMS = {
    "listed": LISTED,
    "nested": NESTED,
    "apart": LISTED.replace("concat(maps)\n", "concat(maps[1:])\n"),
    "mixed": "  a = x -> Layer(8) @one\n  b = concat([x, a]) -> Layer(16) @two\n"
    "  y = concat([x, a, b])\n",
    "two maps": "  both = concat([x, x -> relu])\n  a = both -> Layer(8) @one\n"
    "  b = concat([both, a]) -> Layer(8) @two\n  y = concat([both, a, b])\n",
    "later maps": "  a = x -> Layer(8) @one\n  b = concat([x, a]) -> Layer(8) @two\n"
    "  y = concat([a, b])\n",
}


def blocks(found: Graph) -> list[DenseBlock]:
    return [n.op for n in found.nodes() if isinstance(n.op, DenseBlock)]


def randomised(network: Graph) -> Weights:
    """Arrays whose norms do something: statistics and factors that differ by channel."""
    torch.manual_seed(1)
    arrays = dict(initialise(params(network), seed=1, owners=owners(network)))
    for name, array in arrays.items():
        if ".norm." in f".{name}" and array.ndim:
            arrays[name] = (torch.rand(array.shape) + 0.5).numpy()
    return Weights(arrays)


def agree(network: Graph, size: tuple[int, int], how: str) -> dict[str, str]:
    """Runs both modules on noise; answers the routes of the fused one."""
    arrays = randomised(network)
    channels = shapes(network)[Value(network.inputs[0])].channels
    image = torch.randn(2, channels, *size)
    module = to_triton(network, arrays)
    with torch.no_grad(), policy(how), recorded() as routes:
        got = module(image)
        wanted = to_torch(network, arrays).eval().double()(image.double())
    assert (got - wanted).abs().max() <= WHOLE_NET * max(1.0, float(wanted.abs().max()))
    return routes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["measured", "all"])
def test_blocks_compute_the_same(form: str, how: str) -> None:
    if how == "all" and not INTERPRETED:
        pytest.skip("interpreted kernels only")
    network = graph(program(FORMS[form]))
    found = fused_graph(network)
    found.verify()
    (op,) = blocks(found)
    assert op.keep == (form not in ("apart", "later maps"))
    assert len(op.layers) == (3 if form in ("listed", "nested", "apart") else 2)
    left = [n.op.name for n in found.nodes() if n.op.name in ("concat", "bn")]
    assert left == []
    routes = agree(network, (5, 7), how)
    kinds = {key.split()[0]: route for key, route in routes.items()}
    assert ("dense_block" in kinds) == INTERPRETED
    if INTERPRETED:
        assert kinds["dense_block"] == ("library" if how == "measured" else "m128n16w4")


@pytest.mark.parametrize(
    ("body", "layer"),
    [
        (LISTED, LAYER.replace("growth, 3, pad=1", "growth, 3, pad=1, groups=2")),
        (LISTED, LAYER.replace("-> bn @norm", "-> bn(frozen=true) @norm")),
        (LISTED, LAYER.replace("@conv", "@conv -> relu")),
        (LISTED, LAYER.replace("bn @norm -> relu -> ", "")),
        (LISTED.replace("Layer(8)", "Layer(9)"), LAYER),
        (LISTED.replace("y = concat(maps)", "y = concat(maps[2:])"), LAYER),
        (LISTED.replace("y = concat(maps)", "y = concat([maps[1], x, maps[2], maps[3]])"), LAYER),
        (LISTED.replace("concat(maps) -> Layer", "concat([maps[0]]) -> Layer"), LAYER),
        ("  layer f = conv(8, 3, pad=1) @f\n  a = x -> bn @n -> relu -> f\n"
         "  y = concat([a, x -> relu -> f])\n", LAYER),
    ],
    ids=["groups", "frozen", "act", "no norm", "alignment", "a rest", "order", "parallel",
         "shared"],
)  # fmt: skip
def test_what_is_no_block(body: str, layer: str) -> None:
    found = fused_graph(graph(program(body, layer=layer)))
    found.verify()
    whole = [op for op in blocks(found) if len(op.layers) == 3]
    assert whole == []


def test_a_map_that_somebody_else_reads_ends_a_block() -> None:
    body = LISTED.replace("y = concat(maps)", "y = concat([concat(maps), maps[2] -> relu])")
    network = graph(program(body))
    found = fused_graph(network)
    found.verify()
    assert blocks(found) == []
    agree(network, (4, 4), "measured")


SINGLE = "  y = x -> bn @norm -> {act}conv({conv}) @conv\n"


@pytest.mark.parametrize("act", ["relu -> ", "", "silu -> ", "leaky_relu(0.3) -> "])
@pytest.mark.parametrize("conv", ["24, 1", "20, 3, pad=1", "24, 3, stride=2, pad=2, dilation=2"])
@pytest.mark.parametrize("how", ["measured", "all"])
def test_single_layers_compute_the_same(act: str, conv: str, how: str) -> None:
    if how == "all" and not INTERPRETED:
        pytest.skip("interpreted kernels only")
    network = graph(program(SINGLE.format(act=act, conv=conv), after="-> relu"))
    (node,) = [n for n in fused_graph(network).nodes() if isinstance(n.op, PreConv)]
    assert isinstance(node.op, PreConv)
    assert node.op.names == ("norm", "conv")
    assert node.path == "dense"
    routes = agree(network, (5, 6), how)
    if INTERPRETED:
        (route,) = routes.values()
        assert route == ("library" if how == "measured" else route)
        assert all(key.startswith("pre_conv float32 2x16x5x6->") for key in routes)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = x -> bn(frozen=true) @norm -> relu -> conv(8, 1) @conv",
         "no template: a frozen norm"),
        ("y = x -> bn @norm -> relu -> conv(8, 1, groups=2) @conv", "no template: groups=2"),
        ("z = x -> bn @norm -> relu\ny = z -> conv(16, 1) @conv -> relu -> conv(16, 1) @more",
         "its arrays and those of the convolution have no path of their own"),
        ("z = x -> bn @norm -> relu\ny = (z -> conv(16, 1) @conv) + z",
         "no arithmetic to fuse with"),
        ("n = x -> bn @norm\ny = (n -> relu -> conv(16, 1) @conv -> relu) * n",
         "2 nodes read dense.norm"),
        ("y = x -> bn @norm -> max_pool(1) -> conv(8, 1) @conv", "no arithmetic to fuse with"),
        ("z = x -> conv(12, 1) @c -> relu\ny = z -> bn @l.norm -> relu -> conv(8, 1) @l.conv",
         "no template: 12 channels do not divide by 8"),
    ],
    ids=["frozen", "groups", "path", "residual", "shared", "pool", "alignment"],
)  # fmt: skip
def test_what_stays_and_why(body: str, reason: str) -> None:
    found = fused_graph(graph(program(f"  {body}\n", after="-> relu")))
    found.verify()
    assert not any(isinstance(n.op, PreConv) for n in found.nodes())
    (row,) = [row for row in plan(found).rows if row.ops == ("bn",)]
    assert row.reason == reason


def test_tiramisu_runs_without_concatenations_inside_its_blocks() -> None:
    network = load("tiramisu", depth=67)
    ready = prepare(network)
    ready.graph.verify()
    before, after = shapes(network), shapes(ready.graph)
    assert set(params(ready.graph)) == set(params(network))
    counts = [(len(op.layers), op.keep) for op in blocks(ready.graph)]
    assert counts == [(5, True)] * 5 + [(5, False)] * 5 + [(5, True)]
    for node in ready.graph.nodes():
        assert after[Value(node.name)] == before[Value(node.name)]
    left = [n.name for n in ready.graph.nodes() if n.op.name == "concat"]
    assert left == [f"transUpBlocks.{i}.y" for i in range(5)]
    reasons = {row.name: row.reason for row in plan(ready.graph).rows}
    assert [reasons[name] for name in left] == [
        f"it has a name: transUpBlocks.{i}" for i in range(5)
    ]
    assert not any(n.op.name == "bn" for n in ready.graph.nodes())
    sizes = {"N": 1, "H": 64, "W": 96}
    found = plan(ready.graph, sizes)
    assert sum(row.macs or 0 for row in found.rows) == sum(macs(network, sizes).values())
    kernels = [row.kernel for row in found.rows]
    assert (kernels.count("dense_block"), kernels.count("pre_conv")) == (11, 5)
    assert found.share is not None
    assert found.share > 0.85
    (line,) = [t for t in str(found).splitlines() if t.startswith("denseBlocksDown.0.y ")]
    assert "6 concat, 5 bn, 5 relu, 5 conv" in line


def test_a_block_keeps_its_names_in_the_module() -> None:
    network = load("tiramisu", depth=56)
    state, published = to_triton(network).state_dict(), params(network)
    assert set(state) == set(published)
    assert [n for n in state if n.startswith("denseBlocksDown.0.")] == [
        n for n in published if n.startswith("denseBlocksDown.0.")
    ]


def test_the_reach_of_a_block() -> None:
    """The taps of a region are those of its last layer through all others."""
    network = graph(program(LISTED))
    (op,) = blocks(fused_graph(network))
    inputs = (shapes(network)[Value("image")],)
    for axis in (0, 1):
        taps = op.taps(0, axis, *inputs)
        assert taps.at(10, 100, 100) == tuple(range(7, 14))


def test_the_pass_knows_what_the_kernel_takes() -> None:
    """The passes import no torch, so they state the number again."""
    assert preact.ALIGNED == pre_conv.ALIGNED


def test_it_exports_and_moves() -> None:
    module = to_triton(graph(program(LISTED)))
    image = torch.rand(2, 16, 6, 7)
    wanted = module(image)
    assert torch.equal(torch.compile(module, backend="aot_eager", fullgraph=True)(image), wanted)
    sizes = {0: torch.export.Dim("N"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    exported = torch.export.export(module, (image,), dynamic_shapes=(sizes,)).module()
    other = torch.rand(3, 16, 5, 9)
    assert torch.equal(exported(other), module(other))
    half = module.half()(image.half())
    assert half.dtype == torch.float16
    assert (half - wanted).norm() <= 5e-3 * wanted.norm()
