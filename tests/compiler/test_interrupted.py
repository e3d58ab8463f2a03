"""Interrupted writes, full disks, folders that refuse, two writers at once: old or new, whole."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import segdsl
from compiler import files, together
from compiler.cli import main
from compiler.files import write_atomic
from compiler.weights.files import write_safetensors
from compiler.weights.init import initialise
from segdsl.analysis.params import params
from segdsl.diagnostics import SegError
from tests.support.peers import need

ROOT = Path(files.__file__).parents[1]

PROGRAM = """\
seg 1
net Tiny(classes: int = 2) {
  input image: f32[N, 3, H, W]
  output mask = image -> conv(8, 3, pad=1) @stem -> relu -> conv(classes, 1) @head
}
"""
UGLY = PROGRAM.replace("  input", "input")
BROKEN = PROGRAM.replace("seg 1\n", "")

Streams = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)
    (tmp_path / "ugly.seg").write_text(UGLY)
    (tmp_path / "broken.seg").write_text(BROKEN)
    drawn = initialise(params(segdsl.load(tmp_path / "net.seg")), 1)
    write_safetensors(tmp_path / "w.safetensors", dict(drawn))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with what it holds."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


WRITERS = {
    "torch": ["compile", "net.seg", "--target", "torch", "-o", "out.py"],
    "onnx": [
        "compile",
        "net.seg",
        "--target",
        "onnx",
        "--weights",
        "w.safetensors",
        "-o",
        "out.onnx",
    ],
    "onnx, arrays beside": [
        "compile",
        "net.seg",
        "--target",
        "onnx",
        "-o",
        "out.onnx",
    ],
    "torch and weights": [
        "compile",
        "net.seg",
        "--target",
        "torch",
        "--weights",
        "w.safetensors",
        "-o",
        "out.py",
    ],
    "weights": ["weights", "net.seg", "-o", "out.safetensors"],
    "run": [
        "run",
        "net.seg",
        "photo.png",
        "--weights",
        "w.safetensors",
        "-o",
        "out.png",
        "--overlay",
        "over.png",
    ],
    "refine": [
        "refine",
        "scores.npy",
        "photo.png",
        "--iterations",
        "1",
        "-o",
        "out.png",
        "--panel",
        "over.png",
        "--refined",
        "out.npy",
    ],
    "fmt": ["fmt", "ugly.seg"],
    "fix": ["check", "--fix", "broken.seg"],
    "plot": ["rf", "net.seg", "--plot", "out.png"],
}


OUTPUTS = ("out.py", "out.safetensors", "out.onnx", "out.png", "over.png", "out.npy")


def picture(folder: Path) -> None:
    """A picture, and scores of two classes for it."""
    need("torch")
    shades = np.arange(6 * 7 * 3, dtype=np.uint8).reshape(6, 7, 3)
    need("PIL.Image").fromarray(shades).save(folder / "photo.png")
    np.save(folder / "scores.npy", np.linspace(-1, 1, 84, dtype=np.float32).reshape(2, 6, 7))


def full_sync(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_file(*_: object, **__: object) -> tuple[int, str]:
    raise OSError(errno.EACCES, os.strerror(errno.EACCES))


FAULTS: dict[str, tuple[object, str, Callable[..., object], str]] = {
    "full disk": (os, "fsync", full_sync, "No space left"),
    "folder refuses": (tempfile, "mkstemp", no_file, "Permission denied"),
    "rename fails": (os, "replace", full_sync, "No space left"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_leaves_all_as_it_was(
    folder: Path, writer: str, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    for name in OUTPUTS:
        (folder / name).write_bytes(b"old")
    if writer in ("run", "refine"):
        picture(folder)
    if writer == "onnx, arrays beside":
        from compiler.to_onnx import files as onnx_files

        monkeypatch.setattr(onnx_files, "MAX_IN_ONE", 100)
    before = contents(folder)
    owner, name, failing, words = FAULTS[fault]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, failing)
        assert main(WRITERS[writer]) == 2
    err = capsys.readouterr().err
    assert "error[E0106]" in err
    assert words in err
    assert contents(folder) == before
    assert main(WRITERS[writer]) == 0
    assert contents(folder) != before


def no_exchange(*_: object) -> int:
    ctypes.set_errno(errno.ENOSPC)
    return -1


def library(renameat2: object = None) -> Callable[[], object]:
    """A C library with this call, or without it."""
    return lambda: SimpleNamespace(renameat2=renameat2)


FOLDER_FAULTS: dict[str, tuple[object, str, Callable[..., object], str]] = {
    "full disk": (os, "fsync", full_sync, "No space left"),
    "folder refuses": (tempfile, "mkdtemp", no_file, "Permission denied"),
    "names stay": (together, "_c_library", library(no_exchange), "No space left"),
    "rename fails": (os, "rename", full_sync, "No space left"),
}


@pytest.mark.parametrize("fault", FOLDER_FAULTS)
def test_a_folder_stays_as_it_was(
    folder: Path, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    need("torch")
    need("triton")
    writer = ["compile", "net.seg", "--target", "triton", "-o", "out"]
    assert main(writer) == 0
    (folder / "net.seg").write_text(PROGRAM.replace("relu", "sigmoid"))
    before = contents(folder)
    owner, name, failing, words = FOLDER_FAULTS[fault]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, failing)
        if fault == "rename fails":
            patched.setattr(together, "_c_library", library())
        assert main(writer) == 2
    err = capsys.readouterr().err
    assert "error[E0106]: `out` cannot be written" in err
    assert words in err
    assert contents(folder) == before
    assert main(writer) == 0
    assert contents(folder) != before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """The limit on file sizes stands in for a full disk: the kernel itself refuses the write."""
    pytest.importorskip("resource")
    write_atomic(tmp_path / "a", b"old")
    code = (
        "import resource; from compiler.files import write_atomic\n"
        "from segdsl.diagnostics import SegError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: write_atomic('a', b'x' * 1_000_000)\n"
        "except SegError as error: print(error.diagnostics[0].code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True, env=environment(), check=True,
    )  # fmt: skip
    assert done.stdout == "E0106\n"
    assert contents(tmp_path) == {"a": b"old"}


def test_weights_are_whole_or_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    write_safetensors(path, {"a": np.ones(3, np.float32)})
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full_sync)
    with pytest.raises(SegError, match="E0106"):
        write_safetensors(path, {"a": np.zeros(3, np.float32)})
    assert contents(tmp_path) == {"w.safetensors": before}


WRITER = """
import os
import sys
from compiler.files import write_atomic
turn = 0
while not os.path.exists("../stop"):
    write_atomic("a", bytes([65 + turn % 26]) * 300_000)
    if turn == 0:
        print("begun", flush=True)
    turn += 1
"""
"""Writes until it is told to stop by a file: an interrupt is ignored in background processes."""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def start(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def is_whole(data: bytes) -> bool:
    return len(data) == 300_000 and len(set(data)) == 1


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    """`kill -9` at random moments; it may leave a hidden temporary file, never a torn one."""
    folder = tmp_path / "work"
    folder.mkdir()
    draw = random.Random(7)
    for _ in range(8):
        process = start(folder)
        time.sleep(draw.random() / 20)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert is_whole((folder / "a").read_bytes())
        assert all(name == "a" or name.startswith(".a.") for name in os.listdir(folder))


def test_two_writers_and_a_reader(tmp_path: Path) -> None:
    """A reader never sees a mixture; nothing is left but the file."""
    folder = tmp_path / "work"
    folder.mkdir()
    writers = [start(folder) for _ in range(2)]
    try:
        for _ in range(200):
            assert is_whole((folder / "a").read_bytes())
    finally:
        (folder.parent / "stop").touch()
        for process in writers:
            process.communicate()
    assert os.listdir(folder) == ["a"]
