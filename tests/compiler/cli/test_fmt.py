"""`segdsl fmt`: files change only if they must, and never when they are wrong."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from compiler.cli import main

Streams = pytest.CaptureFixture[str]

UGLY = "seg 1\nnet T(){\ninput x:f32[N,3,H,W]\noutput y=x->relu\n}"
FORMATTED = "seg 1\n\nnet T() {\n  input x: f32[N, 3, H, W]\n  output y = x -> relu\n}\n"


@pytest.fixture
def ugly(tmp_path: Path) -> Path:
    path = tmp_path / "ugly.seg"
    path.write_text(UGLY)
    return path


def test_a_file_is_rewritten_once(ugly: Path, capsys: Streams) -> None:
    assert main(["fmt", str(ugly)]) == 0
    assert ugly.read_text() == FORMATTED
    assert capsys.readouterr().err == f"formatted {ugly}\n"
    before = ugly.stat().st_mtime_ns
    assert main(["fmt", str(ugly)]) == 0
    assert ugly.stat().st_mtime_ns == before
    assert capsys.readouterr().err == ""


def test_check_and_diff_write_nothing(ugly: Path, capsys: Streams) -> None:
    assert main(["fmt", "--check", str(ugly)]) == 1
    assert "E0120" in capsys.readouterr().err
    assert main(["fmt", "--diff", str(ugly)]) == 0
    out = capsys.readouterr().out
    assert "-net T(){" in out
    assert "+net T() {" in out
    assert ugly.read_text() == UGLY


def test_a_formatted_file_passes(tmp_path: Path, capsys: Streams) -> None:
    path = tmp_path / "f.seg"
    path.write_text(FORMATTED)
    assert main(["fmt", "--check", "--diff", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_byte_order_mark_and_crlf_are_no_layout(tmp_path: Path) -> None:
    path = tmp_path / "f.seg"
    path.write_bytes(b"\xef\xbb\xbf" + FORMATTED.replace("\n", "\r\n").encode())
    assert main(["fmt", "--check", str(path)]) == 1
    assert main(["fmt", str(path)]) == 0
    assert path.read_bytes() == FORMATTED.encode()


def test_a_wrong_file_stays_and_the_others_are_formatted(ugly: Path, capsys: Streams) -> None:
    wrong = ugly.parent / "a.seg"
    wrong.write_text("seg 1\nnet T( {\n}\n")
    assert main(["fmt", str(ugly.parent)]) == 1
    assert "E0001" in capsys.readouterr().err
    assert wrong.read_text() == "seg 1\nnet T( {\n}\n"
    assert ugly.read_text() == FORMATTED


def test_stdin(monkeypatch: pytest.MonkeyPatch, capsys: Streams) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(UGLY.encode())))
    assert main(["fmt", "-"]) == 0
    assert capsys.readouterr().out == FORMATTED


def test_stdin_that_is_no_text(monkeypatch: pytest.MonkeyPatch, capsys: Streams) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    assert main(["fmt", "-"]) == 1
    assert "E0103" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nothing.seg", "."])
def test_what_cannot_be_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fmt", name]) == 2
    assert "nothing was written" in capsys.readouterr().err
