"""Several files as one: whatever fails, and wherever, every file is as it was."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compiler import files, together
from compiler.files import staged
from compiler.together import exchanged, locked, place_all, write_all
from segdsl.diagnostics import SegError

STEPS = ("replace", "rename", "link", "fsync", "chmod")
ROOT = Path(files.__file__).parents[1]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, the hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def failing(number: int, error: BaseException, patch: pytest.MonkeyPatch) -> list[str]:
    """Let the `number`-th call of a step fail, and none after it; answers the calls, when made."""
    made: list[str] = []

    def wrapped(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def step(*given: Any, **named: Any) -> object:
            made.append(name)
            if len(made) == number + 1:
                raise error
            return call(*given, **named)

        return step

    for name in STEPS:
        patch.setattr(os, name, wrapped(name, getattr(os, name)))
    return made


def write_pair(folder: Path) -> None:
    with staged(folder / "a") as text, staged(folder / "b") as table:
        text.file.write(b"new")
        table.file.write(b"new")
        place_all([text, table], paired=True)


def write_three(folder: Path) -> None:
    write_all([(folder / name, b"new") for name in "abc"])


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full() -> None:
    raise FULL


@pytest.mark.parametrize("there", ["abc", "b", ""])
@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full disk", "interrupt"])
@pytest.mark.parametrize("write", [write_pair, write_three])
def test_all_or_none(
    tmp_path: Path,
    write: Callable[[Path], None],
    error: BaseException,
    there: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error or an interrupt at every step; only a link that fails has a second way."""
    failed = []
    for number in range(100):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in there:
            (folder / name).write_bytes(b"old")
        before = contents(folder)
        with monkeypatch.context() as patch:
            made = failing(number, error, patch)
            try:
                write(folder)
            except (SegError, KeyboardInterrupt):
                failed.append(made[number])
                assert contents(folder) == before, made
                continue
        assert all(contents(folder)[name] == b"new" for name in "ab")
        assert set(contents(folder)) <= set("abc")
        if len(made) <= number:
            break
        assert made[number] == "link"
    assert set(failed) - {"link"} == {"fsync", "chmod", "replace"}
    taken_away = write is write_pair and "b" in there
    assert failed.count("replace") == (2 + taken_away if write is write_pair else 3)


def test_a_write_that_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file is whole by then, the second is not: neither is replaced."""
    (tmp_path / "a").write_bytes(b"old")
    plain = os.fdopen

    @contextmanager
    def refusing(size: int) -> Iterator[None]:
        def opened(*given: Any) -> Any:
            file = plain(*given)
            write = file.raw.write

            class Full:
                def __getattr__(self, name: str) -> Any:
                    return getattr(file, name)

                def __enter__(self) -> Any:
                    return file.__enter__() and self

                def __exit__(self, *why: object) -> Any:
                    return file.__exit__(*why)

                def write(self, data: bytes) -> int:
                    if len(data) > size:
                        write(data[:size])
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    return int(file.write(data))

            return Full()

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdopen", opened)
            yield

    with refusing(10), pytest.raises(SegError) as refused:
        write_all([(tmp_path / "a", b"new"), (tmp_path / "b", b"x" * 11)])
    (found,) = refused.value.diagnostics
    assert found.code == "E0106"
    assert found.message == f"`{tmp_path / 'b'}` cannot be written: No space left on device"
    assert contents(tmp_path) == {"a": b"old"}
    with refusing(11):
        write_all([(tmp_path / "a", b"new"), (tmp_path / "b", b"x" * 11)])
    assert contents(tmp_path) == {"a": b"new", "b": b"x" * 11}


@pytest.mark.parametrize("write", [write_pair, write_three])
def test_a_file_system_without_hard_links(
    tmp_path: Path, write: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_link)
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").write_bytes(b"old")
    (tmp_path / "a").chmod(0o640)
    with monkeypatch.context() as patch:
        plain, count = os.replace, iter(range(9))
        patch.setattr(os, "replace", lambda *paths: full() if next(count) == 1 else plain(*paths))
        with pytest.raises(SegError):
            write(tmp_path)
    assert contents(tmp_path) == {"a": b"old", "b": b"old"}
    write(tmp_path)
    assert set(contents(tmp_path).values()) == {b"new"}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_the_file_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, count = os.replace, iter(range(9))
    monkeypatch.setattr(os, "replace", lambda *paths: full() if next(count) == 0 else plain(*paths))
    with pytest.raises(SegError) as refused:
        write_three(tmp_path)
    assert refused.value.diagnostics[0].message.startswith(f"`{tmp_path / 'a'}` cannot be written")


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without links an old file is copied before it is replaced; the disk may be full for that."""

    def torn(_: object, target: Path) -> None:
        target.write_bytes(b"to")
        raise FULL

    monkeypatch.setattr(os, "link", lambda *_: full())
    monkeypatch.setattr(shutil, "copy2", torn)
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(SegError, match="E0106"):
        write_three(tmp_path)
    assert contents(tmp_path) == {"a": b"old"}


def test_a_missing_folder_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(SegError, match="E0106"):
        write_all([(tmp_path / "a", b"new"), (tmp_path / "none" / "b", b"new")])
    assert contents(tmp_path) == {"a": b"old"}


HOLDER = """
import sys
from pathlib import Path
from compiler.together import locked
with locked(Path(".")):
    print("held", flush=True)
    sys.stdin.read()
"""
ASKER = """
import fcntl, os
descriptor = os.open(".", os.O_RDONLY)
try: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB); print("free")
except BlockingIOError: print("held")
"""


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def asked() -> str:
        run = [sys.executable, "-c", ASKER]
        return subprocess.run(run, cwd=tmp_path, capture_output=True, text=True).stdout.strip()

    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=tmp_path, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert asked() == "held"
    holder.communicate("")
    assert asked() == "free"
    with locked(tmp_path):
        assert asked() == "held"


def test_without_locks_there_is_no_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "flock", None)
    with locked(tmp_path), locked(tmp_path):
        write_three(tmp_path)


def test_two_names_change_places(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchanged(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system or file system cannot")
    assert os.listdir(tmp_path / "one") == ["other"]
    assert os.listdir(tmp_path / "other") == ["one"]
    with pytest.raises(FileNotFoundError):
        exchanged(tmp_path / "one", tmp_path / "none")


@pytest.mark.parametrize("library", [None, object()])
def test_where_the_system_cannot_nothing_is_done(
    tmp_path: Path, library: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "_c_library", lambda: library)
    (tmp_path / "one").mkdir()
    assert not exchanged(tmp_path / "one", tmp_path / "none")
    assert os.listdir(tmp_path) == ["one"]
