"""`compile --target onnx`: the file, its options, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.cli import main
from compiler.weights.files import read_safetensors
from tests.support.peers import need

onnx = need("onnx")
need("onnx_ir")

PROGRAM = """\
seg 1
net Tiny(classes: int = 2) {
  input image: f32[N, 3, H, W] where H >= 2, W >= 2
  output mask = image -> conv(8, 3, pad=1) @stem -> bn @norm -> relu
    -> max_pool(3, stride=2, ceil=true) -> conv(classes, 1) @head
}
"""
ONNX = ["compile", "net.seg", "--target", "onnx"]

Streams = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a program."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)
    return tmp_path


def test_a_checkpoint_goes_into_the_file(folder: Path, capsys: Streams) -> None:
    assert main(["weights", "net.seg", "-o", "w.safetensors"]) == 0
    arguments = ["--size", "9x8", "--no-optimize", "--weights", "w.safetensors"]
    assert main([*ONNX, *arguments, "-o", "net.onnx"]) == 0
    assert capsys.readouterr() == (
        "",
        "wrote w.safetensors: 9 arrays, 258 parameters\nwrote net.onnx\n",
    )
    model = onnx.load("net.onnx")
    onnx.checker.check_model(model, full_check=True)
    arrays = read_safetensors("w.safetensors")
    written = {a.name: onnx.numpy_helper.to_array(a) for a in model.graph.initializer}
    assert written.keys() == arrays.keys() - {"norm.num_batches_tracked"}
    assert all(np.array_equal(written[name], arrays[name]) for name in written)
    assert "segdsl.weights_sha256" in {entry.key for entry in model.metadata_props}


def test_norms_are_folded_and_the_opset_is_explained(capsys: Streams) -> None:
    assert main([*ONNX, "-o", "net.onnx"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "opset 22, for `" in err
    assert "initialised from seed 0" in err
    model = onnx.load("net.onnx")
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "MaxPool", "Conv"]


def test_class_names(folder: Path, capsys: Streams) -> None:
    (folder / "two.txt").write_text("cell\nborder\n")
    (folder / "three.txt").write_text("a\nb\nc\n")
    assert main([*ONNX, "--class-names", "two.txt", "-o", "net.onnx"]) == 0
    found = {entry.key: entry.value for entry in onnx.load("net.onnx").metadata_props}
    assert found["classes"] == '["cell", "border"]'
    capsys.readouterr()
    assert main([*ONNX, "--class-names", "three.txt", "-o", "other.onnx"]) == 2
    assert "3 classes, but the outputs have 2 channels" in capsys.readouterr().err
    assert not (folder / "other.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], "E0107"),
        (["-o", "-"], "E0107"),
        (["-o", "net.seg"], "E0106"),
        (["-o", "none/net.onnx"], "E0106"),
        (["-o", "net.onnx", "--flat"], "E0107"),
        (["-o", "net.onnx", "--batch", "2"], "E0107"),
        (["-o", "net.onnx", "--opset", "x"], "E0107"),
        (["-o", "net.onnx", "--opset", "17"], "E6003"),
        (["-o", "net.onnx", "--opset", "18"], "E6001"),
        (["-o", "net.onnx", "--size", "1x9"], "E3014"),
        (["-o", "net.onnx", "--class-names", "none.txt"], "E0101"),
        (["-o", "net.onnx", "--weights", "none.safetensors"], "E0101"),
        (["-o", "net.py", "--target", "torch", "--opset", "18"], "E0107"),
        (["-o", "net.py", "--target", "torch", "--no-optimize"], "E0107"),
    ],
)
def test_what_is_refused_writes_nothing(
    folder: Path, arguments: list[str], code: str, capsys: Streams
) -> None:
    assert main([*ONNX, *arguments]) in (1, 2)
    assert f"error[{code}]" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["net.seg"]
