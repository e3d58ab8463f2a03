"""Several files that are written as one: all of them are old, or all are new."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from compiler.files import Staged, staged, sync_folder

try:
    from fcntl import LOCK_EX, flock
except ImportError:  # not on Windows: there two writers of one output are not kept apart
    flock = None  # type: ignore[assignment]


def write_all(contents: Sequence[tuple[Path, bytes]]) -> None:
    """Write files that are made by one run, all or none.

    All are on the disk under other names before the first takes its place, so a full disk or a
    folder that refuses changes nothing. A kill while names change may leave some new and some old;
    each is whole.

    Raises:
        SegError: E0106, one cannot be written; every file is as it was.
    """
    with ExitStack() as stack:
        files = []
        for path, content in contents:
            files.append(stack.enter_context(staged(path)))
            files[-1].file.write(content)
        place_all(files)


def place_all(files: Sequence[Staged], *, paired: bool = False) -> None:
    """Put files in place; an error or an interrupt brings the old ones back.

    Args:
        files: the files, written.
        paired: they work with each other only. The old one of the last is then taken away first,
            and the new one comes last: whenever the process is killed, there is no old file beside
            a new one, but the last one is missing.

    Raises:
        SegError: E0106, one cannot be put in place; every file is as it was.
        OSError: an old file cannot be kept for that; every file is as it was.
    """
    for file in files:
        file.finish()
    folders = sorted({file.target.parent for file in files})
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(locked(folder))
        _replace(files, folders, paired)


def _replace(files: Sequence[Staged], folders: Sequence[Path], paired: bool) -> None:
    kept: list[tuple[Path, Path | None]] = []
    try:
        if paired:
            kept.append((files[-1].target, _taken_away(files[-1].target)))
        for file in files:
            if file.target not in [target for target, _ in kept]:
                kept.append((file.target, _copied(file.target)))
            file.place()
        for folder in folders:
            sync_folder(folder)
    except BaseException:
        for target, old in kept:
            if old is not None:
                os.replace(old, target)
            else:
                target.unlink(missing_ok=True)
        raise
    finally:
        for _, old in kept:
            if old is not None:
                old.unlink(missing_ok=True)


def _taken_away(target: Path) -> Path | None:
    """The file under another name; None if there is none."""
    if not target.exists():
        return None
    old = _free(target)
    os.replace(target, old)
    return old


def _copied(target: Path) -> Path | None:
    """The file under another name too; None if there is none."""
    if not target.exists():
        return None
    old = _free(target)
    try:
        os.link(target, old)
    except OSError:  # a file system without hard links
        try:
            shutil.copy2(target, old)
        except BaseException:
            old.unlink(missing_ok=True)
            raise
    return old


def _free(target: Path) -> Path:
    return target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}.old")


def exchanged(one: Path, other: Path) -> bool:
    """Let two names change places in one step; False where the system cannot, and nothing is done.

    Linux's renameat2 with RENAME_EXCHANGE, which not every file system has.

    Raises:
        OSError: it can, but not here: one is missing, or the folder refuses.
    """
    rename = getattr(_c_library(), "renameat2", None)
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))


_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE."""


@cache
def _c_library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Names in a folder are changed by one of our processes at a time, where the system can.

    It is held while files take their places, never while they are written.
    """
    if flock is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)
