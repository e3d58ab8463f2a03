"""Pyramids: what becomes one region, under which names, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

from compiler import to_torch, to_triton  # noqa: E402
from compiler.to_triton.kernels.blocks import ASPPBlock  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.prepare import fused_graph, prepare  # noqa: E402
from compiler.to_triton.regions import AsppBlock  # noqa: E402
from compiler.verify.tolerances import WHOLE_NET  # noqa: E402
from compiler.weights.init import initialise  # noqa: E402
from segdsl.analysis.cost import macs  # noqa: E402
from segdsl.analysis.params import owners, params  # noqa: E402
from segdsl.analysis.shapes import shapes  # noqa: E402
from segdsl.ir import Graph, Value  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.support.programs import graph  # noqa: E402

PARTS = {
    "one": "x -> conv(24, 1) @b.0 -> relu",
    "two": "x -> conv(24, 3, pad=2, dilation=2, bias=false) @b.1 -> bn @n.1 -> relu",
    "nine": "x -> conv(24, 3, pad=9, dilation=9) @b.2 -> relu",
    "pool": "x -> global_avg_pool -> conv(40, 1) @b.3 -> hard_swish"
    " -> resize(like=x, mode=bilinear)",
}
ALL = tuple(PARTS)


def program(*names: str, after: str = "-> conv(32, 1) @mix -> silu", **changed: str) -> str:
    parts = {**PARTS, **changed}
    branches = "".join(f"    {parts[name]},\n" for name in names)
    return (
        "seg 1\nblock Pyramid(x: [N, C, h, w]) -> (y: [N, _, _, _]) {\n"
        f"  y = concat([\n{branches}  ]) {after}\n}}\n"
        "net Net() {\n  input image: f32[N, 16, H, W]\n"
        "  output y = image -> Pyramid @p -> conv(8, 1) @last\n}\n"
    )


TAPPED = """\
seg 1
net Net() {
  input image: f32[N, 16, H, W]
  one = image -> conv(24, 1) @p.a -> relu
  output y = concat([one, image -> conv(24, 3, pad=2, dilation=2) @p.b -> relu])
             -> conv(32, 1) @p.mix
}
"""
"""A branch that is known by a name of the net."""


def pyramids(found: Graph) -> list[AsppBlock]:
    return [n.op for n in found.nodes() if isinstance(n.op, AsppBlock)]


def agree(network: Graph, size: tuple[int, int], name: str) -> dict[str, str]:
    """Runs both modules on noise; answers the routes of the fused one."""
    arrays = initialise(params(network), seed=1, owners=owners(network))
    torch.manual_seed(0)
    channels = shapes(network)[Value(network.inputs[0])].channels
    image = torch.rand(2, channels, *size)
    module = to_triton(network, arrays)
    with torch.no_grad(), policy(name), recorded() as routes:
        got = module(image)
        wanted = to_torch(network, arrays).eval().double()(image.double())
    if isinstance(wanted, tuple):
        (wanted, _), got = wanted, got[0] if isinstance(got, tuple) else got
    assert (got - wanted).abs().max() <= WHOLE_NET * max(1.0, float(wanted.abs().max()))
    return routes


@pytest.mark.parametrize(
    "names",
    [
        ALL,
        ("pool", "one", "nine"),
        ("two", "pool", "nine"),
        ("one", "two", "nine"),
        ("two", "pool"),
    ],
    ids="-".join,
)
@pytest.mark.parametrize("how", ["measured", "all"])
def test_pyramids_compute_the_same(names: tuple[str, ...], how: str) -> None:
    if how == "all" and not INTERPRETED:
        pytest.skip("interpreted kernels only")
    network = graph(program(*names))
    (op,) = pyramids(fused_graph(network))
    assert op.rates == tuple({"one": 0, "two": 2, "nine": 9}[n] for n in names if n != "pool")
    assert op.place == (names.index("pool") if "pool" in names else -1)
    routes = agree(network, (7, 10), how)
    kinds = {key.split()[0]: route for key, route in routes.items()}
    assert set(kinds) == ({"aspp", "conv"} if INTERPRETED else set())
    assert ("library" in kinds.values()) == (how == "measured" and INTERPRETED)


@pytest.mark.parametrize(
    "text",
    [
        program("one", "pool"),  # nothing is atrous
        program(*ALL, after="-> conv(32, 3, pad=1) @mix"),
        program(*ALL, after="-> relu"),
        program(*ALL, after="-> conv(32, 1, stride=2) @mix"),
        program(*ALL, nine="x -> conv(24, 3, pad=9, dilation=9) @b.2 -> silu"),
        program(*ALL, nine="x -> conv(16, 3, pad=9, dilation=9) @b.2 -> relu"),
        program(*ALL, nine="x -> conv(24, 3, pad=2, dilation=2, groups=2) @b.2 -> relu"),
        program(*ALL, nine="x -> conv(24, 5, pad=2) @b.2 -> relu"),
        program(*ALL, nine="x -> relu -> conv(24, 3, pad=9, dilation=9) @b.2 -> relu"),
        program(*ALL, nine="x -> conv(24, 3, pad=9, dilation=9, bias=false) @b.2 -> relu"),
        program(*ALL, pool="x -> max_pool(1) -> conv(24, 1) @b.3 -> relu"),
        TAPPED,
    ],
    ids=["plain", "3x3", "no 1x1", "stride", "acts", "widths", "groups", "5x5", "inputs", "bias",
         "max", "tap"],
)  # fmt: skip
def test_what_is_no_pyramid(text: str) -> None:
    found = fused_graph(graph(text))
    found.verify()
    assert pyramids(found) == []


def test_deeplabv3_keeps_its_names() -> None:
    network = load("deeplabv3", depth=50)
    ready = prepare(network)
    ready.graph.verify()
    (op,) = pyramids(ready.graph)
    assert op.rates == (0, 12, 24, 36)
    assert op.names == ("convs.0.0", "convs.1.0", "convs.2.0", "convs.3.0", "convs.4.1",
                        "project.0")  # fmt: skip
    node = next(n for n in ready.graph.nodes() if n.op is op)
    assert node.path == "classifier.0"
    stages = {name for name in ready.graph.stages if name.startswith("classifier.0")}
    assert stages == {"classifier.0", "classifier.0.project"}
    module = to_triton(network)
    assert isinstance(module.get_submodule("classifier.0"), ASPPBlock)
    published = {name for name in params(network) if name.startswith("classifier.0.")}
    own = {name for name in module.state_dict() if name.startswith("classifier.0.")}
    assert {name for name in own if name.endswith("weight")} < published
    assert len(own) == 12


def test_the_plan_has_a_row_for_it() -> None:
    sizes = {"N": 1, "H": 65, "W": 65}
    network = load("deeplabv3", depth=50, aux=False)
    found = plan(fused_graph(network), sizes)
    (row,) = [row for row in found.rows if row.kernel == "aspp"]
    assert row.name == "classifier.0.project.y"
    assert row.ops.count("conv") == 6
    assert "concat" in row.ops
    assert sum(r.macs or 0 for r in found.rows) == sum(macs(network, sizes).values())
    narrow = plan(fused_graph(graph(program(*ALL).replace("[N, 16,", "[N, 12,"))), sizes | {"H": 9})
    (row,) = [row for row in narrow.rows if "concat" in row.ops]
    assert row.kernel == "library"
    assert row.reason == "no template: 12 input channels do not divide by 16"


def test_it_exports_and_moves() -> None:
    """Buffers are on the device of the weights, and the op is opaque to `torch.export`."""
    network = graph(program(*ALL))
    module = to_triton(network)
    image: Any = torch.rand(1, 16, 6, 7)
    exported = torch.export.export(module, (image,)).module()
    assert torch.equal(exported(image), module(image))
    assert all(b.device.type == "cpu" for b in module.to("cpu").buffers())
    half = module.half()(image.half())
    assert half.dtype == torch.float16
