from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import cli
from compiler.cli import main

ROOT = Path(cli.__file__).parents[2]

GOOD = """\
seg 1
net Tiny(classes: int = 2) {
  input image: f32[N, 3, H, W]
  output mask = image -> conv(8, 3, pad=1) @stem -> relu -> conv(classes, 1) @head
  check params == 242
}
"""
BAD = GOOD.replace("relu", "rellu").replace("kernel", "")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a good and a bad program."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.seg").write_text(GOOD)
    (tmp_path / "bad.seg").write_text(BAD)
    return tmp_path


Streams = pytest.CaptureFixture[str]


def test_ok(folder: Path, capsys: Streams) -> None:
    assert main(["check", "good.seg"]) == 0
    assert capsys.readouterr() == ("", "good.seg: ok\n")


def test_an_error_has_a_caret_and_exit_code_1(folder: Path, capsys: Streams) -> None:
    assert main(["check", "bad.seg"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error[E1001]: ")
    assert " --> bad.seg:4:" in err
    assert "^^^^^" in err
    assert "did you mean `relu`?" in err
    assert err.endswith("1 error in bad.seg; nothing was written\n")


def test_several_files(folder: Path, capsys: Streams) -> None:
    assert main(["check", "good.seg", "bad.seg"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("good.seg: ok\n")
    assert "bad.seg: ok" not in err
    assert main(["check", "bad.seg", "none.seg"]) == 2


@pytest.mark.parametrize("format", ["short", "json", "sarif", "github"])
def test_formats(folder: Path, capsys: Streams, format: str) -> None:
    assert main(["check", "bad.seg", "good.seg", "--format", format]) == 1
    out, err = capsys.readouterr()
    text = err if format == "short" else out
    assert "E1001" in text
    assert " ok" not in out + err
    if format == "sarif":
        assert json.loads(out)["runs"][0]["results"][0]["ruleId"] == "E1001"


def test_settings_and_unchecked_checks(folder: Path, capsys: Streams) -> None:
    assert main(["check", "good.seg", "--set", "classes=5"]) == 0
    assert "1 check speaks of the default parameters" in capsys.readouterr().err
    for wrong in ("classes=abc", "clases=3", "limits=3", "net=3", "classes=[1"):
        assert main(["check", "good.seg", "--set", wrong]) == 2, wrong
        assert "E2008" in capsys.readouterr().err


def test_net(folder: Path, capsys: Streams) -> None:
    assert main(["check", "good.seg", "--net", "Tiny"]) == 0
    assert main(["check", "good.seg", "--net", "Tinny"]) == 2
    assert "did you mean `Tiny`?" in capsys.readouterr().err


def test_limits(folder: Path, capsys: Streams) -> None:
    assert main(["check", "good.seg", "--max-params", "100"]) == 1
    assert "E5008" in capsys.readouterr().err
    assert main(["check", "good.seg", "--max-nodes", "2000000"]) == 2
    assert "from 1 to 1,000,000" in capsys.readouterr().err


def test_missing_files_folders_and_stock_names(folder: Path, capsys: Streams) -> None:
    for name, help in (("godo.seg", "did you mean `good.seg`?"), (".", "it holds bad.seg")):
        assert main(["check", name]) == 2
        err = capsys.readouterr().err
        assert "E0101" in err
        assert help in err
    assert main(["check", "deeplabv9"]) == 2
    assert "there is no stock network `deeplabv9`" in capsys.readouterr().err


BYTES = {
    "empty": b"",
    "binary": bytes(range(256)),
    "latin": "seg 1\n# größer\n".encode("latin-1"),
    "nul": b"seg 1\n\0",
    "prose": b"Dear reader, this is no program.\n",
}


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
def test_what_is_no_program(folder: Path, capsys: Streams, content: bytes) -> None:
    (folder / "x.seg").write_bytes(content)
    assert main(["check", "x.seg"]) == 1
    assert "error[E0" in capsys.readouterr().err


def test_a_pipe_is_not_waited_for(folder: Path, capsys: Streams) -> None:
    os.mkfifo(folder / "pipe.seg")
    assert main(["check", "pipe.seg"]) == 2
    assert "E0101" in capsys.readouterr().err


def test_checking_imports_no_heavy_library(folder: Path) -> None:
    script = (
        "import sys; from compiler.cli import main; code = main(['check', 'good.seg']);"
        "heavy = ('torch', 'onnx', 'rich', 'safetensors', 'PIL', 'compiler.weights')"
        ";print(code, [m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "0 []\n"


def test_weights(folder: Path, capsys: Streams) -> None:
    assert main(["weights", "good.seg", "-o", "good.safetensors"]) == 0
    assert main(["check", "good.seg", "--weights", "good.safetensors"]) == 0
    assert "good.seg: ok" in capsys.readouterr().err
    other = ["check", "good.seg", "--set", "classes=5", "--weights", "good.safetensors"]
    assert main(other) == 1
    err = capsys.readouterr().err
    assert "E5003" in err
    assert "good.seg: ok" not in err
    (folder / "cut.safetensors").write_bytes((folder / "good.safetensors").read_bytes()[:-1])
    assert main(["check", "good.seg", "--weights", "cut.safetensors"]) == 1
    assert "E5011" in capsys.readouterr().err
    assert main(["check", "good.seg", "--weights", "none.safetensors"]) == 2


def test_options_about_weights_need_weights(folder: Path, capsys: Streams) -> None:
    assert main(["check", "good.seg", "--strip-prefix", "module."]) == 2
    assert "no effect without `--weights`" in capsys.readouterr().err


SLIPS = """\
seg 1
from std.blocks import ConvBNReLU
## @papr nobody
net Tiny() {
  input image: f32[N, 3, H, W]
  output mask = image -> conv(8.0, 3, stride=2, pad=same) @stem -> conv(2, 1) @head
}
"""
MENDED = """\
seg 1
## @paper nobody
net Tiny() {
  input image: f32[N, 3, H, W]
  output mask = image -> conv(8, 3, stride=2, pad=1) @stem -> conv(2, 1) @head
}
"""


def test_lints_are_warnings(folder: Path, capsys: Streams) -> None:
    (folder / "slip.seg").write_text(SLIPS.replace("8.0", "8"))
    assert main(["check", "slip.seg"]) == 0
    err = capsys.readouterr().err
    assert [c for c in ("W7011", "W7012", "W7014") if f"warning[{c}]" in err] == [
        "W7011",
        "W7012",
        "W7014",
    ]
    assert main(["check", "slip.seg", "--deny", "warnings"]) == 1


def test_fix_applies_what_is_certain_round_by_round(folder: Path, capsys: Streams) -> None:
    """The error is mended first; then the lints speak, and are mended too."""
    (folder / "slip.seg").write_text(SLIPS)
    assert main(["check", "slip.seg", "--fix"]) == 0
    assert (folder / "slip.seg").read_text() == MENDED
    out, err = capsys.readouterr()
    assert out == ""
    assert "slip.seg:6:31: fixed E2003: write `8`\n" in err
    assert "slip.seg: 4 fixes were applied\n" in err
    assert err.endswith("slip.seg: ok\n")
    assert main(["check", "slip.seg", "--fix", "--deny", "warnings"]) == 0
    assert capsys.readouterr().err == "slip.seg: ok\n"


def test_fix_leaves_what_it_does_not_know(folder: Path, capsys: Streams) -> None:
    (folder / "slip.seg").write_text(SLIPS.replace("image -> conv", "image -> rellu -> conv"))
    assert main(["check", "slip.seg", "--fix"]) == 1
    text = (folder / "slip.seg").read_text()
    assert "rellu" in text
    assert "conv(8, 3" in text
    err = capsys.readouterr().err
    assert "error[E1001]" in err
    assert err.endswith("1 error in slip.seg\n")  # something was written


def test_diff_changes_nothing(folder: Path, capsys: Streams) -> None:
    (folder / "slip.seg").write_text(SLIPS)
    assert main(["check", "slip.seg", "--diff"]) == 1
    assert (folder / "slip.seg").read_text() == SLIPS
    out = capsys.readouterr().out
    assert out.startswith("--- slip.seg\n+++ slip.seg\n@@ ")
    assert "\n-from std.blocks import ConvBNReLU\n" in out
    assert "\n+## @paper nobody\n" in out
    assert main(["check", "good.seg", "--diff"]) == 0
    assert capsys.readouterr().out == ""


def test_fix_keeps_the_bytes_around(folder: Path) -> None:
    """A byte order mark, line ends and permissions stay."""
    path = folder / "slip.seg"
    path.write_bytes(b"\xef\xbb\xbf" + SLIPS.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    assert main(["check", "slip.seg", "--fix"]) == 0
    assert path.read_bytes() == b"\xef\xbb\xbf" + MENDED.replace("\n", "\r\n").encode()
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "arguments",
    [
        ["deeplabv3", "--fix"],
        ["none.seg", "--fix"],
        ["good.seg", "--fix", "--diff"],
        ["good.seg", "--diff", "--format", "json"],
        ["good.seg", "--fix", "--weights", "x.pth"],
        ["good.seg", "--size", "no"],
    ],
)
def test_wrong_use(folder: Path, arguments: list[str], capsys: Streams) -> None:
    assert main(["check", *arguments]) == 2
    assert (folder / "good.seg").read_text() == GOOD
    assert "error[" in capsys.readouterr().err


def test_fix_of_a_file_that_cannot_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "slip.seg").write_text(SLIPS)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert main(["check", "slip.seg", "--fix"]) == 2
    assert (folder / "slip.seg").read_text() == SLIPS
    assert sorted(p.name for p in folder.iterdir()) == ["bad.seg", "good.seg", "slip.seg"]


def test_a_size_asks_for_what_is_wrong_there(folder: Path, capsys: Streams) -> None:
    assert main(["check", "good.seg", "--size", "64"]) == 0
    assert "W7003" not in capsys.readouterr().err
    assert main(["check", "good.seg", "--size", "2x2"]) == 0
    assert "warning[W7003]" in capsys.readouterr().err
