"""`compile --target onnx` for deployment: bytes in, labels out, f16, int8; and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.cli import main
from tests.support.peers import need

onnx = need("onnx")
runtime = need("onnxruntime")
Image = need("PIL.Image")

PROGRAM = """\
seg 1
## @mean 0.5, 0.5, 0.5
## @std 0.25
net Tiny(classes: int = 2) {
  input image: f32[N, 3, H, W] where H >= 8, W >= 8, H % 2 == 0, W % 2 == 0
  output mask = image -> conv(8, 3, pad=1) @stem -> bn @norm -> relu -> max_pool(2)
    -> conv(classes, 1) @head -> resize(like=image, mode=bilinear)
}
"""
ONNX = ["compile", "net.seg", "--target", "onnx", "-o", "net.onnx"]
START = ["net.seg", "none", "pictures"]

Streams = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a program, three pictures and a text beside them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "none").mkdir()
    generator = np.random.default_rng(0)
    for i, size in enumerate([(9, 12, 3), (16, 20, 3), (11, 8)]):
        array = generator.integers(0, 256, size, np.uint8)
        Image.fromarray(array).save(tmp_path / "pictures" / f"{i}.png")
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path


def run(image: np.ndarray) -> np.ndarray:
    session = runtime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image})
    return np.asarray(found)


def metadata() -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load("net.onnx").metadata_props}


def test_bytes_in_and_labels_out(capsys: Streams) -> None:
    assert main([*ONNX, "--preprocess", "uint8-nhwc", "--argmax", "uint8"]) == 0
    image = np.zeros((1, 8, 10, 3), np.uint8)
    found = run(image)
    assert found.shape == (1, 8, 10)
    assert found.dtype == np.uint8
    assert '"mean": [0.5, 0.5, 0.5]' in metadata()["segdsl.preprocessing"]


def test_mean_and_std_of_the_command_line(capsys: Streams) -> None:
    assert main(ONNX) == 0
    scores = run(np.full((1, 3, 8, 8), 2.0, np.float32))
    assert main([*ONNX, "--mean", "0.1,0.2,0.3", "--std", "0.1"]) == 0
    column = np.reshape([0.3, 0.4, 0.5], (1, 3, 1, 1))
    again = run(np.broadcast_to(column, (1, 3, 8, 8)).astype(np.float32))
    np.testing.assert_allclose(again, scores, atol=1e-5)


def test_half(capsys: Streams) -> None:
    assert main([*ONNX, "--fp16"]) == 0
    assert metadata()["segdsl.precision"] == "f16"
    assert run(np.zeros((1, 3, 8, 8), np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    "extra",
    [
        [],
        ["--size", "8x16", "--batch", "2"],
        ["--preprocess", "uint8"],
        ["--mean", "0.5", "--argmax", "int64"],
    ],
)
def test_int8(folder: Path, extra: list[str], capsys: Streams) -> None:
    assert main([*ONNX, *extra, "--quantize", "pictures"]) == 0
    told = capsys.readouterr().err
    assert "1 other files in the folder are left aside" in told
    assert "2 calibration pictures" in told
    assert "kept from calibration: mask" in told
    kinds = {node.op_type for node in onnx.load("net.onnx").graph.node}
    assert "QuantizeLinear" in kinds
    size = (2, 3, 8, 16) if extra[:1] == ["--size"] else (1, 3, 10, 12)
    dtype = np.uint8 if "uint8" in extra else np.float32
    assert run(np.zeros(size, dtype)).shape[-2:] == size[-2:]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*START, "net.onnx"])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--mean", "0.5,x"], "E0107"),
        (["--mean", "0.5,0.5"], "E6005"),
        (["--std", "0"], "E6005"),
        (["--mean", "nan"], "E6005"),
        (["--argmax", "int8"], "E0107"),
        (["--preprocess", "bgr"], "E0107"),
        (["--bf16"], "E6006"),
        (["--fp16", "--quantize", "pictures"], "E0107"),
        (["--quantize", "none"], "E6007"),
        (["--quantize", "missing"], "E6007"),
        (["--quantize", "net.seg"], "E6007"),
        (["--set", "classes=300", "--argmax", "uint8"], "E6005"),
    ],
)
def test_what_is_refused_writes_nothing(
    folder: Path, arguments: list[str], code: str, capsys: Streams
) -> None:
    assert main([*ONNX, *arguments]) in (1, 2)
    assert f"error[{code}]" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == START


def test_a_damaged_picture_is_named_before_anything_is_written(
    folder: Path, capsys: Streams
) -> None:
    whole = (folder / "pictures" / "1.png").read_bytes()
    (folder / "pictures" / "1.png").write_bytes(whole[:100])
    assert main([*ONNX, "--quantize", "pictures"]) == 1
    told = capsys.readouterr().err
    assert "error[E0110]" in told
    assert "1.png" in told
    assert sorted(path.name for path in folder.iterdir()) == START


@pytest.mark.parametrize("option", ["--fp16", "--bf16", "--argmax=uint8", "--mean=1", "--std=1"])
def test_other_targets_refuse_the_options(option: str, capsys: Streams) -> None:
    assert main(["compile", "net.seg", "--target", "torch", option]) == 2
    assert "error[E0107]" in capsys.readouterr().err


def test_a_folder_that_is_not_writable(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    """The old file stays as it was, for every kind of file."""

    def refuse(*args: object, **options: object) -> tuple[int, str]:
        raise PermissionError(13, "Permission denied")

    (folder / "net.onnx").write_bytes(b"old")
    monkeypatch.setattr("compiler.files.tempfile.mkstemp", refuse)
    for extra in ([], ["--fp16"]):
        assert main([*ONNX, *extra]) == 2
        assert "error[E0106]" in capsys.readouterr().err
        assert (folder / "net.onnx").read_bytes() == b"old"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*START, "net.onnx"])
