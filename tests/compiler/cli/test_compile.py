from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import cli
from compiler.cli import main
from compiler.weights.files import read_safetensors

ROOT = Path(cli.__file__).parents[2]

PROGRAM = """\
seg 1
net Tiny(classes: int = 2) {
  input image: f32[N, 3, H, W]
  output mask = image -> conv(8, 3, pad=1) @stem -> relu -> conv(classes, 1) @head
}
"""
TORCH = ["compile", "net.seg", "--target", "torch"]

Streams = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a program."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_stdout_holds_the_source_and_nothing_else(capsys: Streams) -> None:
    for output in ([], ["-o", "-"]):
        assert main([*TORCH, *output]) == 0
        out, err = capsys.readouterr()
        assert "class Tiny" in out
        ast.parse(out)
        assert err == ""


def test_the_file_is_what_stdout_shows(folder: Path, capsys: Streams) -> None:
    assert main(TORCH) == 0
    shown = capsys.readouterr().out
    assert main([*TORCH, "-o", "net.py"]) == 0
    assert (folder / "net.py").read_text("utf-8") == shown
    assert capsys.readouterr() == ("", "wrote net.py\n")
    assert files(folder) == ["net.py", "net.seg"]


def test_flat_and_settings_reach_the_source(folder: Path, capsys: Streams) -> None:
    assert main([*TORCH, "--set", "classes=19"]) == 0
    assert "19" in capsys.readouterr().out
    assert main([*TORCH, "--flat"]) == 0
    classes = [n for n in ast.parse(capsys.readouterr().out).body if isinstance(n, ast.ClassDef)]
    assert len(classes) == 1


def test_source_is_utf8_whatever_the_terminal(folder: Path) -> None:
    (folder / "net.seg").write_text(PROGRAM.replace("net Tiny", "## größer\nnet Tiny"), "utf-8")
    assert main([*TORCH, "-o", "net.py"]) == 0
    script = f"import sys; from compiler.cli import main; sys.exit(main({TORCH!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "PATH": ""},
    )
    assert done.stdout == (folder / "net.py").read_bytes()


def test_weights_are_written_beside_the_source(folder: Path) -> None:
    assert main(["weights", "net.seg", "-o", "w.safetensors"]) == 0
    assert main([*TORCH, "--weights", "w.safetensors", "-o", "net.py"]) == 0
    assert files(folder) == ["net.py", "net.safetensors", "net.seg", "w.safetensors"]
    got, expected = read_safetensors("net.safetensors"), read_safetensors("w.safetensors")
    assert list(got) == list(expected)
    assert all((got[name] == expected[name]).all() for name in expected)


def test_weights_of_another_network_write_nothing(folder: Path, capsys: Streams) -> None:
    assert main(["weights", "net.seg", "--set", "classes=5", "-o", "w.safetensors"]) == 0
    assert main([*TORCH, "--weights", "w.safetensors", "-o", "net.py"]) == 1
    assert "E5003" in capsys.readouterr().err
    assert files(folder) == ["net.seg", "w.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-o", "net.seg"], "E0106"),
        (["-o", "."], "E0106"),
        (["-o", "/dev/null"], "E0106"),
        (["-o", "none/net.py"], "E0106"),
        (["--weights", "w.safetensors"], "E0107"),
        (["--weights", "w.safetensors", "-o", "-"], "E0107"),
        (["--weights", "net.safetensors", "-o", "net.py"], "E0106"),
        (["--weights", "w.safetensors", "-o", "net.safetensors"], "E0107"),
        (["--key-map", "map.toml", "-o", "net.py"], "E0107"),
        (["--target", "caffe"], "E0107"),
    ],
)
def test_what_is_refused_before_any_work(
    folder: Path, arguments: list[str], code: str, capsys: Streams
) -> None:
    for name in ("w.safetensors", "net.safetensors"):
        (folder / name).write_bytes(b"x")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main([*TORCH, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error[{code}]" in err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_wrong_program_writes_nothing(folder: Path, capsys: Streams) -> None:
    (folder / "net.seg").write_text(PROGRAM.replace("relu", "rellu"))
    (folder / "net.py").write_text("old")
    assert main([*TORCH, "-o", "net.py"]) == 1
    assert (folder / "net.py").read_text() == "old"
    assert files(folder) == ["net.py", "net.seg"]


def test_the_target_must_be_named(capsys: Streams) -> None:
    assert main(["compile", "net.seg"]) == 2
    assert "--target" in capsys.readouterr().err
