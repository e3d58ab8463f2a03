"""A bug in segdsl: a short text, and a report file that holds no source and no weights."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from importlib import metadata

from compiler.cli.console import say
from segdsl.version import __version__

_LIBRARIES = (
    "lark",
    "networkx",
    "numpy",
    "rich",
    "torch",
    "safetensors",
    "pillow",
    "onnx",
    "onnx-ir",
    "onnxruntime",
)
_DIGESTED = 1 << 20


def report_bug(error: BaseException, arguments: Sequence[str]) -> None:
    """Say on stderr that segdsl failed, and where the report lies; never raises."""
    text = "\n".join(_report(error, arguments)) + "\n"
    kind = f"{type(error).__name__}: {error}".split("\n")[0][:200]
    try:
        path = _save(text)
        place = f"A report was written to {path}; it holds the traceback and versions, no source."
    except OSError:
        place = text
    say(
        f"segdsl failed; this is a bug in segdsl, not in your input ({kind}).\n{place}\n"
        "Please send it to the issue tracker of segdsl.",
        sys.stderr,
    )


def _save(text: str) -> str:
    handle, path = tempfile.mkstemp(prefix="segdsl-report-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return path


def _report(error: BaseException, arguments: Sequence[str]) -> Iterator[str]:
    yield f"segdsl {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    yield f"command: segdsl {shlex.join(arguments)}"
    for argument in arguments:
        digest = _digest(argument)
        if digest:
            yield f"sha256 of {argument}: {digest}"
    yield ""
    yield from "".join(traceback.format_exception(error)).rstrip().split("\n")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _digest(argument: str) -> str:
    """The digest of a `.seg` file that was named; "" for anything else."""
    try:
        if not argument.endswith(".seg") or not os.path.isfile(argument):
            return ""
        with open(argument, "rb") as file:
            return hashlib.sha256(file.read(_DIGESTED)).hexdigest()
    except (OSError, ValueError):
        return ""
