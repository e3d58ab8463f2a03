"""A process that is killed at any step of a write leaves outputs that belong together.

A driver runs the command in children; the k-th child dies (`os._exit`, so nothing is cleaned up) at
the k-th call that changes names or flushes, for every k up to the end of the command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from compiler import files
from tests.support.peers import need

if not hasattr(os, "fork"):
    pytest.skip("processes cannot be copied here", allow_module_level=True)

ROOT = Path(files.__file__).parents[1]

DRIVER = '''
import importlib, os, shutil, sys
from compiler.cli import main
import compiler.together as together

def fatal(call, state):
    def step(*given, **named):
        if state[0] == state[1]:
            os._exit(9)
        state[0] += 1
        return call(*given, **named)
    return step

def quietly(folder, arguments):
    os.chdir(folder)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    return main(arguments)

def child(number, arguments):
    state = [0, number]
    for name in ("replace", "rename", "link", "unlink", "fsync", "chmod"):
        setattr(os, name, fatal(getattr(os, name), state))
    exchange = fatal(together.exchanged, state)
    together.exchanged = exchange
    folder = sys.modules.get("compiler.to_triton.folder")
    if folder is not None:
        folder.exchanged = exchange
    os._exit(quietly(f"case{number}", arguments))

def warm(arguments):
    """Load what the command loads, once for all children."""
    shutil.copytree("before", "warm")
    os.chdir("warm")
    assert main(arguments) == 0
    os.chdir("..")
    shutil.rmtree("warm")

def drive(arguments):
    warm(arguments)
    for number in range(200):
        shutil.copytree("before", f"case{number}")
        process = os.fork()
        if process == 0:
            child(number, arguments)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if code != 9:
            sys.exit(code)
    sys.exit("it never ends")
'''

OLD = """\
seg 1
net Tiny() {
  input image: f32[N, 3, H, W]
  output mask = image -> conv(32, 3, pad=1) @stem -> relu -> conv(2, 1) @head
}
"""
NEW = OLD.replace("relu", "sigmoid")
"""Another function with weights of the same names and shapes."""

LARGE = """
importlib.import_module("compiler.to_onnx.files").MAX_IN_ONE = 2000
"""
TRITON = """
importlib.import_module("compiler.to_triton.folder")
"""
NO_EXCHANGE = """
together.exchanged = sys.modules["compiler.to_triton.folder"].exchanged = lambda *_: False
"""


def python(code: str, folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def contents(folder: Path, name: str = "") -> dict[str, bytes]:
    """What a folder shows: files that begin so, without those that are hidden."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob(f"{name}*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    }


def killed(
    tmp_path: Path, target: str, output: str, *, weights: bool = True, setup: str = ""
) -> list[Path]:
    """The folders that the killed commands left; the last command was not killed."""
    before = tmp_path / "before"
    before.mkdir()
    (before / "net.seg").write_text(OLD)
    base = ["--target", target, "-o", output] + (["--weights", "w.safetensors"] if weights else [])
    code = f"{DRIVER}{setup}\nfor words in sys.argv[1:]:\n    assert main(words.split()) == 0"
    first = ["weights net.seg --seed 1 -o w.safetensors", " ".join(["compile", "net.seg", *base])]
    python(code, before, *first, "weights net.seg --seed 2 -o w.safetensors")
    (before / "net.seg").write_text(NEW)
    python(f"{DRIVER}{setup}\ndrive({['compile', 'net.seg', *base]!r})", tmp_path)
    return sorted(tmp_path.glob("case*"), key=lambda path: int(path.name[4:]))


def check_model(folder: Path, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> bool:
    """Whether the new model stands; the arrays of the one that stands must be beside it."""
    found = contents(folder, "out.onnx")
    whole = new if found["out.onnx"] == new["out.onnx"] else old
    assert {name: found.get(name) for name in whole} == whole
    return whole is new


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    need("onnx_ir")
    return killed(tmp_path_factory.mktemp("models"), "onnx", "out.onnx", setup=LARGE)


def test_a_model_keeps_its_own_arrays(models: list[Path]) -> None:
    old = contents(models[0].parent / "before", "out.onnx")
    new = contents(models[-1], "out.onnx")
    assert len(old) == len(new) == 2
    assert old.keys() & new.keys() == {"out.onnx"}
    stood = [check_model(case, old, new) for case in models]
    assert stood == sorted(stood)
    assert 2 <= sum(stood) < len(stood) - 4


def test_the_next_write_clears_up(models: list[Path], tmp_path: Path) -> None:
    """Arrays that no model reads go, also where the next model holds its own."""
    crowded = [case for case in models if len(contents(case, "out.onnx")) > 2]
    assert crowded
    for case in crowded:
        shutil.copytree(case, tmp_path / case.name)
    words = ["compile", "net.seg", "--target", "onnx", "-o", "out.onnx"]
    words += ["--weights", "w.safetensors"]
    code = f"for name in sys.argv[1:]: assert quietly(name, {words!r}) == 0; os.chdir('..')"
    names = [case.name for case in crowded]
    python(f"{DRIVER}{LARGE}\n{code}", tmp_path, *names)
    for name in names:
        assert contents(tmp_path / name, "out.onnx") == contents(models[-1], "out.onnx")
    python(f"{DRIVER}\n{code}", tmp_path, names[0])
    assert list(contents(tmp_path / names[0], "out.onnx")) == ["out.onnx"]


def test_a_source_never_meets_the_arrays_of_another(tmp_path: Path) -> None:
    cases = killed(tmp_path, "torch", "out.py")
    old, new = contents(tmp_path / "before", "out"), contents(cases[-1], "out")
    assert old.keys() == new.keys() == {"out.py", "out.safetensors"}
    assert all(old[name] != new[name] for name in old)
    met = []
    for case in cases:
        found = contents(case, "out")
        alone = [{"out.py": one["out.py"]} for one in (old, new)]
        assert found in (old, new, *alone)
        met.append(len(found))
    assert {1, 2} == set(met)


@pytest.mark.parametrize("setup", ["", NO_EXCHANGE], ids=["exchange", "rename"])
def test_a_folder_is_old_or_new(tmp_path: Path, setup: str) -> None:
    """Without an exchange in one step it may be missing for a moment, and is never a mixture."""
    need("triton")
    need("torch")
    cases = killed(tmp_path, "triton", "out", weights=False, setup=TRITON + setup)
    old, new = contents(tmp_path / "before" / "out"), contents(cases[-1] / "out")
    assert {"model.py", "plan.json", "weights.safetensors"} <= old.keys() == new.keys()
    assert old["model.py"] != new["model.py"]
    missing = [case for case in cases if not (case / "out").exists()]
    assert bool(missing) == bool(setup)
    found = [contents(case / "out") for case in cases if case not in missing]
    assert all(one in (old, new) for one in found)
    assert found.count(new) >= 2


def test_weights_are_old_or_new(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    (before / "net.seg").write_text(OLD)
    (before / "w.safetensors").write_bytes(b"old")
    words = ["weights", "net.seg", "-o", "w.safetensors"]
    python(f"{DRIVER}\ndrive({words!r})", tmp_path)
    cases = sorted(tmp_path.glob("case*"), key=lambda path: int(path.name[4:]))
    whole = contents(cases[-1], "w")
    assert all(contents(case, "w") in ({"w.safetensors": b"old"}, whole) for case in cases)


def test_pictures_of_one_run_are_each_whole(tmp_path: Path) -> None:
    """They do not need each other: killed while names change, some are new and some old."""
    before = tmp_path / "before"
    before.mkdir()
    names = ["mask.png", "panel.png", "refined.npy"]
    for name in names:
        (before / name).write_bytes(b"old")
    code = (
        "from pathlib import Path\n"
        f"def main(words): together.write_all([(Path(n), b'new') for n in {names}]); return 0\n"
        "drive([])\n"
    )
    python(DRIVER + code, tmp_path)
    for case in tmp_path.glob("case*"):
        found = contents(case)
        assert found.keys() == set(names)
        assert set(found.values()) <= {b"old", b"new"}
