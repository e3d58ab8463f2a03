"""Writing files whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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

    The temporary file lies in the same folder, is flushed to the disk and then renamed: a reader
    sees the old file or the new one. An existing file keeps its permissions; a symbolic link is
    followed: the link stays, its target changes.

    Raises:
        SegError: E0106, the path cannot be written; nothing is left behind.
    """
    target = Path(os.path.realpath(path))
    check_writable(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:64]}.")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise SegError(_refused(path, error.strerror or str(error))) from error
    finally:
        if temporary and os.path.lexists(temporary):
            os.unlink(temporary)


def _sync_folder(folder: Path) -> None:
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
