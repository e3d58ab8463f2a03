"""The errors that several modules of `run` raise."""

from __future__ import annotations

import os

from segdsl.diagnostics import Diagnostic, SegError, text_helps


def unreadable(path: str | os.PathLike[str], problem: str, *helps: str) -> SegError:
    """The error for a file that holds no usable picture (E0110)."""
    message = f"`{os.fspath(path)}` cannot be read: {problem}"
    return SegError(Diagnostic("E0110", message, None, helps=text_helps(*helps)))


def too_large(path: str | os.PathLike[str], what: str, max_pixels: int) -> SegError:
    """The error for a picture beyond the limit (E0111)."""
    note = f"the limit is {max_pixels:,} pixels"
    helps = text_helps("cut the picture into parts")
    message = f"`{os.fspath(path)}` is too large: {what}"
    return SegError(Diagnostic("E0111", message, None, notes=(note,), helps=helps))


def unfit(message: str, *helps: str, notes: tuple[str, ...] = ()) -> SegError:
    """The error for a picture and a network that do not go together (E0112)."""
    return SegError(Diagnostic("E0112", message, None, notes=notes, helps=text_helps(*helps)))


def no_mask(message: str, *helps: str, notes: tuple[str, ...] = ()) -> SegError:
    """The error for a network whose output is no mask of its input (E0113)."""
    return SegError(Diagnostic("E0113", message, None, notes=notes, helps=text_helps(*helps)))
