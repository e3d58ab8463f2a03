"""`compile --target torch --fold`: a module for inference, with its own arrays."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.support.peers import need

torch = need("torch")

from compiler.cli import main  # noqa: E402
from compiler.pipeline import optimize  # noqa: E402
from compiler.to_torch import to_torch  # noqa: E402
from compiler.weights import initialise  # noqa: E402
from compiler.weights.baking import baked_graph, baked_weights  # noqa: E402
from compiler.weights.files import read_safetensors  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.ops.norm import BatchNorm  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.support.grown import Grown, programs  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

PROGRAM = net(
    "a = image -> conv(6, 3, pad=1, bias=false) @stem.0 -> bn @stem.1 -> relu\n"
    "b = a -> conv_transpose(4, 2, stride=2, groups=2) @up -> bn @norm -> dropout(0.5)\n"
    "output mask = b -> conv(2, 1) @head -> resize(like=image, mode=bilinear)"
)


def answers(made: Graph, weights: Any, image: Any) -> list[Any]:
    module = to_torch(made, weights).double().eval()
    with torch.no_grad():
        found = module(image)
    return [y for y in (found if isinstance(found, tuple) else (found,)) if y is not None]


def compare(before: Graph, image: Any) -> None:
    weights = initialise(params(before), 0, style="fixture")
    folded = optimize(before)
    plain, arrays = baked_graph(folded), baked_weights(folded, weights)
    assert list(arrays) == list(params(plain)) == list(to_torch(plain, arrays).state_dict())
    for ours, theirs in zip(
        answers(plain, arrays, image), answers(before, weights, image), strict=True
    ):
        scale = max(1.0, float(theirs.abs().max()))
        assert float((ours - theirs).abs().max()) / scale <= 2e-6


def test_it_computes_the_same() -> None:
    compare(graph(PROGRAM), torch.randn(2, 3, 9, 8, dtype=torch.float64))


@pytest.mark.parametrize("name", ["resnet", "tiramisu", "dcn_resnet50"])
def test_stock_networks(name: str) -> None:
    made = load(name, depth=18) if name == "resnet" else load(name)
    compare(made, torch.randn(1, 3, 32, 64, dtype=torch.float64))


DEFORMABLE = """\
seg 1
from std.dcn import DeformConvPack, ModulatedDeformConvPack
net T() {
  input image: f32[N, 4, H, W] where H >= 5, W >= 5
  output y = image -> DeformConvPack(6, 3, stride=2, pad=1, groups=2) @a -> bn(eps=1e-3) @n.0
                   -> relu -> ModulatedDeformConvPack(4, 3, dilation=2, pad=2, offset_groups=2) @b
                   -> bn(affine=false) @n.1
                   -> ModulatedDeformConvPack(4, 1, bias=false) @c -> bn(frozen=true) @n.2
}
"""


def test_deformable_convolutions() -> None:
    """With and without a bias, mask, groups; every kind of norm is worked in."""
    made = graph(DEFORMABLE)
    assert not any(isinstance(node.op, BatchNorm) for node in optimize(made).nodes())
    compare(made, torch.randn(2, 4, 11, 8, dtype=torch.float64))


@settings(max_examples=10)
@given(grown=programs())
def test_random_programs(grown: Grown) -> None:
    made = grown.program.graph
    assert made is not None
    side = {
        name: next(n for n in range(1, 200) if n in s) for name, s in grown.program.accepted.items()
    }
    compare(made, torch.randn(side["N"], 4, side["H"], side["W"], dtype=torch.float64))


def test_the_command_writes_source_and_weights_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)
    assert main(["weights", "net.seg", "-o", "w.safetensors"]) == 0
    arguments = ["--target", "torch", "--fold", "--weights", "w.safetensors", "-o", "out.py"]
    assert main(["compile", "net.seg", *arguments]) == 0
    assert "BatchNorm" not in (tmp_path / "out.py").read_text()
    spec = importlib.util.spec_from_file_location("out", tmp_path / "out.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arrays = {k: torch.from_numpy(v.copy()) for k, v in read_safetensors("out.safetensors").items()}
    made = module.T()
    made.load_state_dict(arrays, strict=True)
    image = torch.randn(1, 3, 8, 6)
    whole = to_torch(graph(PROGRAM), "w.safetensors").eval()
    with torch.no_grad():
        assert float((made.eval()(image) - whole(image)).abs().max()) <= 1e-5


def test_onnx_folds_anyway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.seg").write_text(PROGRAM)
    file = str(tmp_path / "net.seg")
    target = str(tmp_path / "net.onnx")
    assert main(["compile", file, "--target", "onnx", "--fold", "-o", target]) == 2
    assert "error[E0107]" in capsys.readouterr().err
