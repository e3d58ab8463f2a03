from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from compiler.files import check_writable, write_atomic
from segdsl.diagnostics import SegError


def refusal(error: pytest.ExceptionInfo[SegError]) -> str:
    (found,) = error.value.diagnostics
    assert found.code == "E0106"
    return found.message


def test_text_is_utf8_and_bytes_are_bytes(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "é\n")
    write_atomic(str(tmp_path / "b"), b"\x00\xff")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\n"
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"


def test_a_new_file_has_usual_permissions_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    plain, new, old = tmp_path / "plain", tmp_path / "new", tmp_path / "old"
    plain.write_text("x")
    old.write_text("x")
    old.chmod(0o640)
    write_atomic(new, "x")
    write_atomic(old, "y")
    assert new.stat().st_mode == plain.stat().st_mode
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert old.read_text() == "y"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", "y")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "y"


def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a"
    target.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SegError) as error:
        write_atomic(target, "new")
    assert "No space left" in refusal(error)
    assert os.listdir(tmp_path) == ["a"]
    assert target.read_text() == "old"


def test_an_interrupt_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a", "new")
    assert os.listdir(tmp_path) == []


def test_folders_devices_and_missing_folders_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path: "folder",
        tmp_path / "pipe": "device or a pipe",
        Path("/dev/null"): "device or a pipe",
        tmp_path / "no" / "a.py": "there is no folder",
        tmp_path / ("x" * 300): "name too long",
    }
    for path, reason in cases.items():
        with pytest.raises(SegError) as error:
            check_writable(path)
        assert reason in refusal(error).lower()
        with pytest.raises(SegError):
            write_atomic(path, "x")
    assert sorted(os.listdir(tmp_path)) == ["pipe"]


def test_a_nul_in_the_name_is_refused() -> None:
    with pytest.raises(SegError) as error:
        check_writable("a\0b")
    assert "null" in refusal(error)


def test_inputs_are_not_overwritten_under_any_name(tmp_path: Path) -> None:
    source = tmp_path / "net.seg"
    source.write_text("seg 1\n")
    (tmp_path / "link.seg").symlink_to(source)
    os.link(source, tmp_path / "hard.seg")
    for name in ("net.seg", "link.seg", "hard.seg"):
        with pytest.raises(SegError) as error:
            check_writable(tmp_path / name, inputs=[source])
        assert "is read" in refusal(error)
    check_writable(tmp_path / "other.py", inputs=[source, "deeplabv3"])
