"""Writing files whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from segdsl.diagnostics import Diagnostic, SegError, text_helps


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a file whole or not at all; text is written as UTF-8, its line ends as they are.

    Raises:
        SegError: E0106, the path cannot be written; nothing is left behind.
    """
    with replacing(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write that replaces `path` when the block ends well, and is gone otherwise.

    A reader sees the old file or the new one. An existing file keeps its permissions; a symbolic
    link is followed: the link stays, its target changes.

    Raises:
        SegError: E0106, the path cannot be written; nothing is left behind.
    """
    with staged(path) as new:
        yield new.file
        new.place()
        sync_folder(new.target.parent)


class Staged:
    """A file on its way: written under a hidden name in its folder, put in place when it is whole.

    Attributes:
        path: where it goes, as the user named it.
        target: the same, links followed.
        file: the open file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.target = path, Path(os.path.realpath(path))
        prefix = f".{self.target.name[:64]}."
        handle, self._name = tempfile.mkstemp(dir=self.target.parent, prefix=prefix)
        self.file: IO[bytes] = os.fdopen(handle, "wb")

    def finish(self) -> None:
        """Flush it to the disk: whatever a full disk can refuse has happened after this.

        Raises:
            SegError: E0106.
        """
        if self.file.closed:
            return
        with _explained(self.path):
            with self.file as file:
                file.flush()
                os.fsync(file.fileno())
            os.chmod(self._name, _mode(self.target))

    def place(self, target: Path | None = None) -> None:
        """Give it its name, in one step; another `target` must lie in the same folder.

        Raises:
            SegError: E0106.
        """
        self.finish()
        with _explained(self.path):
            os.replace(self._name, self.target if target is None else target)

    def discard(self) -> None:
        """Remove it, unless it is in place."""
        with suppress(OSError):
            self.file.close()
        if os.path.lexists(self._name):
            os.unlink(self._name)


@contextmanager
def staged(path: str | Path) -> Iterator[Staged]:
    """A file that takes its place when it is told to, and is gone at the end otherwise.

    Raises:
        SegError: E0106, the path cannot be written; nothing is left behind.
    """
    check_writable(path)
    with _explained(path):
        new = Staged(path)
        try:
            yield new
        finally:
            new.discard()


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SegError(_refused(path, error.strerror or str(error))) from error


def sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode(target: Path) -> int:
    """The permissions of the file that is replaced, or those that a new file gets here."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def check_writable(path: str | Path, *, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse, before any work is done, a path that must not or cannot become an output file.

    `inputs` are files that are read: none of them may be overwritten.

    Raises:
        SegError: E0106, it is a folder, a device, one of the inputs, or its folder is missing.
    """
    reason = _reason(Path(path), inputs)
    if reason:
        raise SegError(_refused(path, reason))


def _reason(path: Path, inputs: Iterable[str | Path]) -> str:
    try:
        if path.is_dir():
            return "it is a folder"
        if path.exists() and not path.is_file():
            return "it is a device or a pipe, not a file"
        if not Path(os.path.realpath(path)).parent.is_dir():
            return f"there is no folder `{path.parent}`"
        if any(Path(other).exists() and _same(path, other) for other in inputs):
            return "it is the file that is read"
    except (OSError, ValueError) as error:  # too long a name, a NUL, a folder without permission
        return getattr(error, "strerror", None) or str(error)
    return ""


def _same(path: Path, other: str | Path) -> bool:
    return path.exists() and os.path.samefile(path, other)


def _refused(path: str | Path, reason: str) -> Diagnostic:
    return Diagnostic(
        "E0106",
        f"`{path}` cannot be written: {reason}",
        None,
        helps=text_helps("name another file after `-o`"),
    )
