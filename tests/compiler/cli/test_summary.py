from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler.cli import main

PROGRAM = """\
seg 1
net Tiny(classes: int = 2) {
  input image: f32[N, 3, H, W] where H % 2 == 0, W % 2 == 0
  deep = image -> conv(8, 3, pad=1) @stem -> relu -> max_pool(2)
  output mask = deep -> conv(classes, 1) @head
}
"""

Streams = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)


def test_text_on_stdout(capsys: Streams) -> None:
    assert main(["summary", "net.seg"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Tiny" in out
    assert "242" in out
    assert "H//2" in out


def test_json_is_the_same_figures(capsys: Streams) -> None:
    command = ["summary", "net.seg", "--size", "64x32", "--batch", "2", "--json"]
    assert main(command) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["parameters"] == 242
    assert table["size"] == {"h": 64, "w": 32}
    assert table["batch"] == 2


def test_settings(capsys: Streams) -> None:
    assert main(["summary", "net.seg", "--set", "classes=5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 8 * 27 + 8 + 5 * 8 + 5


@pytest.mark.parametrize("size", ["0x5", "5x", "x5", "-1", "5X5", "5x5x5", "99999999", "1e3", ""])
def test_what_is_no_size(size: str, capsys: Streams) -> None:
    assert main(["summary", "net.seg", f"--size={size}"]) == 2
    assert "--size" in capsys.readouterr().err


def test_a_size_that_the_net_does_not_accept(capsys: Streams) -> None:
    assert main(["summary", "net.seg", "--size", "63x32"]) == 1
    out, err = capsys.readouterr()
    assert "E3014" in err
    assert out == ""


@pytest.mark.parametrize("batch", ["0", "-1", "x", "9999999999"])
def test_batches(batch: str, capsys: Streams) -> None:
    assert main(["summary", "net.seg", f"--batch={batch}"]) == 2
    assert "--batch" in capsys.readouterr().err


def test_a_wrong_program_prints_nothing_on_stdout(capsys: Streams) -> None:
    Path("net.seg").write_text(PROGRAM.replace("relu", "rellu"))
    assert main(["summary", "net.seg"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "E1001" in err
