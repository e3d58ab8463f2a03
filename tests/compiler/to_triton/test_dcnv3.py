"""The layer of DCNv3: when it is one region, under which names, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from compiler import to_torch, to_triton  # noqa: E402
from compiler.to_triton.dcnv3 import Dcnv3Block  # noqa: E402
from compiler.to_triton.kernels import dcnv3, dcnv3_block  # noqa: E402
from compiler.to_triton.kernels.blocks import DCNv3Block  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED, rows  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.prepare import fused_graph, prepare  # noqa: E402
from compiler.to_triton.sampling import DeformableSampling  # noqa: E402
from compiler.verify.tolerances import WHOLE_NET  # noqa: E402
from compiler.weights.table import Weights  # noqa: E402
from segdsl.analysis.cost import macs  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

LAYER = """
f = image -> conv(12, 3, pad=1) @f
output y = f -> dcnv3({}) @dcn
"""

LAYERS = [
    "groups=2",
    "groups=3, offset_scale=2.0, center_feature_scale=true",
    "groups=1, stride=2, dilation=2, dw_kernel=5, act=silu",
    "groups=4, softmax=false, remove_center=true, offset_limit=1.5, act=relu",
    "groups=2, kernel=1, dw_kernel=3",
]


def layers(found: Graph) -> list[Dcnv3Block]:
    return [n.op for n in found.nodes() if isinstance(n.op, Dcnv3Block)]


def samplings(found: Graph) -> int:
    return sum(isinstance(n.op, DeformableSampling) for n in found.nodes())


def noise(network: Graph, scale: float = 0.25) -> Weights:
    """Arrays that are nowhere zero: the offsets of a new network are."""
    draw = np.random.default_rng(0)
    table = params(network).items()
    return Weights({path: draw.normal(0, scale, p.shape).astype("f4") for path, p in table})


def agree(network: Graph, arrays: Weights, size: tuple[int, int], how: str) -> dict[str, str]:
    """Runs both modules on noise; answers the routes of the fused one."""
    torch.manual_seed(0)
    image = torch.randn(2, 3, *size)
    with torch.no_grad(), policy(how), recorded() as routes:
        got = to_triton(network, arrays)(image)
        wanted = to_torch(network, arrays).eval().double()(image.double())
    assert (got - wanted).abs().max() <= WHOLE_NET * max(1.0, float(wanted.abs().max()))
    return {key: route for key, route in routes.items() if not key.startswith("conv")}


@pytest.mark.parametrize(
    ("layer", "how"), [*((each, "all") for each in LAYERS), *((e, "measured") for e in LAYERS[:2])]
)
def test_layers_compute_the_same(layer: str, how: str) -> None:
    if how == "all" and not INTERPRETED:
        pytest.skip("interpreted kernels only")
    network = graph(net(LAYER.format(layer)))
    found = fused_graph(network)
    found.verify()
    assert len(layers(found)) == 1
    routes = agree(network, noise(network), (7, 6), how)
    words = [key.split() for key in routes]
    assert [word[0] for word in words] == ["depthwise_norm", "dcnv3"] * INTERPRETED
    assert not words or words[1][-1] == "slices"
    assert list(routes.values()).count("library") == (2 if how == "measured" and INTERPRETED else 0)


def test_offsets_and_masks_are_slices_of_one_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is copied between the linear layer and the kernel."""
    seen: list[Tensor] = []

    def watched(x: Tensor, offset: Tensor, mask: Tensor, *rest: Any) -> Tensor:
        seen.extend([x, offset, mask])
        found: Tensor = dcnv3.dcnv3(x, offset, mask, *rest)
        return found

    monkeypatch.setattr(dcnv3_block, "dcnv3", watched)
    network = graph(net(LAYER.format("groups=3")))
    module = to_triton(network, noise(network))
    with torch.no_grad():
        module(torch.randn(1, 3, 5, 4))
    _, offset, mask = seen
    assert offset.untyped_storage().data_ptr() == mask.untyped_storage().data_ptr()
    assert rows(offset) == rows(mask) == (56 + 32, 5 * 4 * (56 + 32))
    assert (offset.shape[1], mask.shape[1]) == (54, 27)
    assert mask.storage_offset() - offset.storage_offset() == 56
    block = module.get_submodule("dcn")
    assert isinstance(block, DCNv3Block)
    wide, offsets, masks = block.joined, block.offset, block.mask
    assert torch.equal(wide[:54], offsets.weight)  # type: ignore[union-attr]
    assert torch.equal(wide[56:83], masks.weight)  # type: ignore[union-attr]
    assert not wide[54:56].any()
    assert not wide[83:].any()


WRITTEN = """\
seg 1
block Layer(x: [N, C, h, w], {given}) -> (y: [N, C, h, w]) {{
  f = x -> {branch} -> {norm} -> {act}
  moved = {moved} -> linear(36{bias}) @offset
  mask = f -> linear(18) @mask
  v = x -> linear(C) @value
  s = v -> dcnv3_core(moved, mask, groups=2)
  y = {last} -> linear(C) @out{more}
}}
net Net() {{
  input image: f32[N, 3, H, W]
  f = image -> conv(12, 3, pad=1) @f
  output y = f -> Layer(0) {path}
{tail}}}
"""

PARTS = {
    "given": "unused: int", "branch": "conv(C, 3, pad=1, groups=C) @dw", "norm": "layer_norm @norm",
    "act": "gelu", "moved": "f", "bias": "", "last": "s", "more": "", "path": "@p", "tail": "",
}  # fmt: skip


def written(**changed: str) -> str:
    return WRITTEN.format(**(PARTS | changed))


def test_a_layer_of_ones_own_is_found() -> None:
    network = graph(written())
    (op,) = layers(fused_graph(network))
    assert op.names == ("dw", "norm", "offset", "mask", "value", "out")
    agree(network, noise(network), (5, 6), "measured")


@pytest.mark.parametrize(
    "changed",
    [
        {"branch": "conv(C, 3, pad=1) @dw"},
        {"branch": "conv(C, 3, pad=1, groups=C, bias=false) @dw"},
        {"branch": "conv(C, 3, pad=2, dilation=2, groups=C) @dw"},
        {"branch": "conv(C, 3, pad=[2, 1, 0, 1], groups=C) @dw"},
        {"norm": "group_norm(2) @norm"},
        {"act": "gelu(approx=tanh)"},
        {"act": "sigmoid"},
        {"bias": ", bias=false"},
        {"moved": "x"},
        {"last": "s * 2.0"},
        {"last": "(s + f)"},
        {"last": "(s + v)"},
        {"path": "@."},
        {"tail": "  output extra = f -> conv(4, 1) @p.other\n"},
    ],
    ids=lambda changed: " ".join(next(iter(changed.items()))),
)
def test_what_is_no_layer(changed: dict[str, str]) -> None:
    """The sampling is a kernel even so."""
    found = fused_graph(graph(written(**changed)))
    found.verify()
    assert layers(found) == []
    assert samplings(found) == 1


def test_a_name_in_the_net_is_not_lost() -> None:
    inner = written().replace("net Net()", "net Other()").split("block Layer")[1]
    body = inner.split("{\n", 1)[1].split("}\n")[0].replace("(C", "(3").replace("=C", "=3")
    body = body.replace("(x", "(image").replace("= x", "= image").replace("y = ", "output y = ")
    paths = {f"@{name}": f"@p.{name}" for name in ("dw", "norm", "offset", "mask", "value", "out")}
    for old, new in paths.items():
        body = body.replace(old, new)
    body = body.replace("36", "18").replace("(18) @p.mask", "(9) @p.mask")
    body = body.replace("groups=2", "groups=1")
    found = fused_graph(graph(net(body)))
    assert layers(found) == []
    assert samplings(found) == 1
    assert {"f", "moved", "mask", "v", "s"} <= set(found.stages)


def test_internimage_keeps_its_names() -> None:
    network = load("internimage", channels=32, depths=[1, 1, 2, 1])
    ready = prepare(network)
    ready.graph.verify()
    found = layers(ready.graph)
    assert len(found) == 5
    assert samplings(ready.graph) == 0
    assert found[0].names == (
        "dw_conv.0", "dw_conv.1.1", "offset", "mask", "input_proj", "output_proj",
    )  # fmt: skip
    assert {"levels.0.blocks.0.dcn", "levels.2.blocks.1"} <= set(ready.graph.stages)
    module = to_triton(network)
    layer = module.get_submodule("levels.2.blocks.1.dcn")
    assert isinstance(layer, DCNv3Block)
    published = {name for name in params(network) if ".dcn." in name}
    assert {name for name in module.state_dict() if ".dcn." in name} == published


def test_the_centre_feature_keeps_its_names() -> None:
    network = graph(net(LAYER.format("groups=3, center_feature_scale=true")))
    own = {n for n in to_triton(network).state_dict() if n.startswith("dcn.")}
    assert own == {name for name in params(network) if name.startswith("dcn.")}
    assert "dcn.center_feature_scale_proj_weight" in own


@pytest.mark.parametrize("layer", LAYERS[:2])
def test_the_plan_counts_what_kernels_do(layer: str) -> None:
    """The linear layers of the region are the library's."""
    sizes = {"N": 1, "H": 24, "W": 20}
    network = graph(net(LAYER.format(layer)))
    found = plan(fused_graph(network), sizes)
    (row,) = [row for row in found.rows if row.kernel == "dcnv3"]
    assert row.ops[:3] == ("conv", "layer_norm", "gelu")
    assert row.ops.count("linear") == 4
    assert ("center_feature_scale" in row.ops) == ("center" in layer)
    total = sum(macs(network, sizes).values())
    assert sum(r.macs or 0 for r in found.rows) == total
    assert found.share == (5 + 1) * 9 * 12 * 24 * 20 / total
