"""torch checkpoints, read by a child process with limits, so that no hostile file reaches this one.

The child (`checkpoint`) describes the tensors; the wanted ones come back as a safetensors file in a
private temporary folder. This process never imports torch and never unpickles.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import IO, Any

from compiler.weights.checkpoint import RESAVE
from compiler.weights.files import Array, Entry, StrPath, bad_weights, read_safetensors
from segdsl.diagnostics import SegError

MAX_MEMBERS = 200_000
MAX_REPLY = 64 << 20

_CHILD = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from compiler.weights.checkpoint import main; main(sys.argv[2:])"
)


class CheckpointFile:
    """A torch checkpoint described by the child process, which waits for what to write."""

    def __init__(self, path: StrPath, child: subprocess.Popen[str]) -> None:
        """Wait for the child's description.

        Raises:
            SegError: the child refused the file or ended (E5011).
        """
        self._path = path
        self._child = child
        description = self._answer()
        self.table: dict[str, Entry] = {
            name: Entry(dtype, tuple(shape)) for name, dtype, shape in description["table"]
        }
        self.opened: tuple[str, ...] = tuple(description["opened"])
        self.ignored: tuple[tuple[str, str], ...] = tuple(map(tuple, description["ignored"]))

    def read_all(self, names: Iterable[str]) -> dict[str, Array]:
        """The arrays of these names, once; BF16 comes widened to fp32.

        Raises:
            SegError: the child could not write them (E5011).
        """
        assert self._child.stdin is not None
        wanted = list(names)
        with TemporaryDirectory(prefix="segdsl-", ignore_cleanup_errors=True) as folder:
            target = os.path.join(folder, "weights.safetensors")
            try:
                self._child.stdin.write(json.dumps({"names": wanted, "to": target}) + "\n")
                self._child.stdin.flush()
            except BrokenPipeError:
                raise self._ended() from None
            self._answer()
            # The mapping outlives the name: the folder can go while the arrays are in use.
            arrays = read_safetensors(target)
            return {name: arrays[str(index)] for index, name in enumerate(wanted)}

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline(MAX_REPLY)
        if not line.endswith("\n"):
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise bad_weights(self._path, answer["refused"], *answer.get("helps", ()))
        return answer

    def _ended(self) -> SegError:
        try:
            code = self._child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return bad_weights(self._path, "its description is too long", RESAVE)
        problem = f"the process that reads it ended without an answer (status {code})"
        return bad_weights(self._path, problem, RESAVE)


@contextmanager
def open_checkpoint(path: StrPath, file: IO[bytes], *, legacy: bool) -> Iterator[CheckpointFile]:
    """A torch checkpoint, with its child process alive inside the block.

    `file` is the same file, opened and checked; `legacy` says that it is a bare pickle, no zip.

    Raises:
        SegError: the file is damaged, hostile or of a kind that is not read (E5011).
    """
    if not legacy:
        check_zip(path, file)
    state = os.fstat(file.fileno())
    arguments = [os.path.abspath(path), str(state.st_dev), str(state.st_ino)]
    search = json.dumps([entry or os.getcwd() for entry in sys.path])
    child = subprocess.Popen(
        # -I: no module of the current folder or of PYTHONPATH comes before the caller's own.
        [sys.executable, "-I", "-c", _CHILD, search, *arguments, "legacy" if legacy else "zip"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        env=_environment(),
    )
    try:
        yield CheckpointFile(path, child)
    finally:
        child.kill()
        child.communicate()


def _environment() -> dict[str, str]:
    """The caller's environment without torch's switches for unsafe loading."""
    return {key: value for key, value in os.environ.items() if "WEIGHTS_ONLY" not in key}


def check_zip(path: StrPath, file: IO[bytes]) -> None:
    """Members are stored as they are: nothing here can grow when it is read.

    Raises:
        SegError: it is no archive that torch writes (E5011).
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise bad_weights(path, "it begins as a zip archive but is damaged or cut short") from None
    names = [member.filename for member in members]
    if len(members) > MAX_MEMBERS:
        raise bad_weights(path, f"it has {len(members):,} members, the limit is {MAX_MEMBERS:,}")
    if any(name.endswith("/constants.pkl") for name in names):
        raise bad_weights(path, "it is a TorchScript archive, which holds code", RESAVE)
    if not any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        raise bad_weights(path, "it is a zip archive, but not one that torch.save wrote", RESAVE)
    if any(
        member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members
    ):
        raise bad_weights(path, "its members are compressed; torch.save never does that", RESAVE)
    if len(set(names)) != len(names):
        raise bad_weights(path, "it holds two members of the same name")
