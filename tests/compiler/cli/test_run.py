from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.cli import main
from tests.support.peers import need

need("torch")
Image = need("PIL.Image")

PROGRAM = """\
seg 1
net Tiny(classes: int = 3) {
  input image: f32[N, 3, H, W] where H % 4 == 0, W % 4 == 0
  deep = image -> conv(8, 3, pad=1) @stem -> relu -> max_pool(4)
  output mask = deep -> conv(classes, 1) @head -> resize(4x, mode=bilinear)
  output raw = deep -> conv(2, 1) @raw
}
"""
RUN = ["run", "net.seg", "photo.png", "--weights", "w.safetensors"]

Streams = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a program, weights and a picture of a size that it does not accept."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)
    assert main(["weights", "net.seg", "-o", "w.safetensors"]) == 0
    noise = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


INPUTS = ["net.seg", "photo.png", "w.safetensors"]


def test_the_mask_has_the_size_of_the_picture(folder: Path, capsys: Streams) -> None:
    assert main([*RUN, "-o", "mask.png", "--overlay", "over.png"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "is 30x41; this net accepts H = 4k" in err
    assert "wrote mask.png\nwrote over.png\n" in err
    mask = np.asarray(Image.open("mask.png"))
    assert mask.shape == (30, 41)
    assert set(np.unique(mask)) <= {0, 1, 2}
    assert Image.open("over.png").size == (41, 30)


def test_head_and_normalisation_reach_the_network(folder: Path, capsys: Streams) -> None:
    assert main([*RUN, "-o", "a.png"]) == 0
    assert main([*RUN, "-o", "b.png", "--mean", "0.5,0.4,0.3", "--std", "0.01"]) == 0
    assert main([*RUN, "-o", "c.png", "--head", "raw"]) == 0
    a, b, c = (np.asarray(Image.open(f"{name}.png")) for name in "abc")
    assert (a != b).any()
    assert set(np.unique(c)) <= {0, 1}
    assert main([*RUN, "-o", "d.png", "--head", "rav"]) == 2
    assert "did you mean `raw`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "exit"),
    [
        (["-o", "photo.png"], "E0106", 2),
        (["-o", "mask.jpg"], "E0106", 2),
        (["-o", "m.png", "--overlay", "m.png"], "E0106", 2),
        (["-o", "m.png", "--mean", "a"], "E0107", 2),
        (["-o", "m.png", "--std", "0"], "E0112", 1),
        (["-o", "m.png", "--mean", "1,2"], "E0112", 1),
        (["-o", "m.png", "--set", "classes=5"], "E5003", 1),
        ([], "E0107", 2),
    ],
)
def test_refusals_write_nothing(
    folder: Path, arguments: list[str], code: str, exit: int, capsys: Streams
) -> None:
    assert main([*RUN, *arguments]) == exit
    assert f"error[{code}]" in capsys.readouterr().err
    assert files(folder) == INPUTS


@pytest.mark.parametrize("name", ["photo.png", "w.safetensors", "net.seg"])
def test_damaged_inputs(folder: Path, name: str, capsys: Streams) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    assert main([*RUN, "-o", "mask.png"]) == 1
    assert "error[E" in capsys.readouterr().err
    assert files(folder) == INPUTS


@pytest.mark.parametrize("name", ["photo.png", "w.safetensors", "net.seg"])
def test_missing_inputs(folder: Path, name: str, capsys: Streams) -> None:
    (folder / name).unlink()
    assert main([*RUN, "-o", "mask.png"]) == 2
    assert "error[E0101]" in capsys.readouterr().err
    assert "mask.png" not in files(folder)
