from __future__ import annotations

from pathlib import Path

import pytest

from compiler.cli import main
from compiler.weights.files import read_safetensors

PROGRAM = """\
seg 1
net Tiny() {
  input image: f32[N, 3, H, W]
  output mask = image -> conv(8, 3, pad=1) @stem -> relu -> conv(2, 1) @head
}
"""

Streams = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)


def test_every_array_by_path_and_the_same_for_the_same_seed(capsys: Streams) -> None:
    for out in ("a.safetensors", "b.safetensors"):
        assert main(["weights", "net.seg", "--seed", "7", "-o", out]) == 0
    assert "4 arrays, 242 parameters" in capsys.readouterr().err
    assert main(["weights", "net.seg", "-o", "c.safetensors"]) == 0
    a, b, c = (Path(f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    shapes = {name: array.shape for name, array in read_safetensors("a.safetensors").items()}
    assert shapes == {
        "stem.weight": (8, 3, 3, 3),
        "stem.bias": (8,),
        "head.weight": (2, 8, 1, 1),
        "head.bias": (2,),
    }


@pytest.mark.parametrize("seed", ["-1", "x", "1.5", "9" * 19, ""])
def test_seeds(seed: str, capsys: Streams) -> None:
    assert main(["weights", "net.seg", f"--seed={seed}", "-o", "a.safetensors"]) == 2
    assert "--seed" in capsys.readouterr().err
    assert not Path("a.safetensors").exists()


@pytest.mark.parametrize("out", ["net.seg", ".", "none/a.safetensors", "/dev/null"])
def test_outputs_that_are_refused(out: str, capsys: Streams) -> None:
    assert main(["weights", "net.seg", "-o", out]) == 2
    assert "E0106" in capsys.readouterr().err
    assert Path("net.seg").read_text() == PROGRAM


def test_nothing_is_written_for_a_wrong_program() -> None:
    Path("net.seg").write_text(PROGRAM.replace("relu", "rellu"))
    assert main(["weights", "net.seg", "-o", "a.safetensors"]) == 1
    assert not Path("a.safetensors").exists()
