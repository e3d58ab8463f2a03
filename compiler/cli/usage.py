"""Wrong use of the command line, and what it means for the exit code."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import NoReturn

from segdsl.diagnostics import Diagnostic, SegError, Severity, text_helps
from segdsl.spelling import nearest

USAGE_CODES = frozenset({"E0101", "E0102", "E0105", "E0106", "E0107", "E0108", "E2008", "E6022"})
"""Codes that blame the command line rather than the files: exit 2."""


class UsageError(SegError):
    """The command was given arguments that it does not take: exit 2."""


def usage_error(message: str, *helps: str) -> UsageError:
    """The error for wrong arguments (E0107)."""
    return UsageError(Diagnostic("E0107", message, None, helps=text_helps(*helps)))


_EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "PIL": "torch",
    "skimage": "demo",
    "onnx": "onnx",
    "onnx_ir": "onnx",
    "onnxruntime": "onnx",
    "triton": "triton",
}


def missing_library(error: ModuleNotFoundError) -> UsageError | None:
    """The error for an optional library that is not installed (E0108); None for other modules."""
    name = (error.name or "").split(".")[0]
    if name not in _EXTRAS:
        return None
    help = f"pip install 'segdsl[{_EXTRAS[name]}]'"
    message = f"this command needs the library `{name}`, which is not installed"
    return UsageError(Diagnostic("E0108", message, None, helps=text_helps(help)))


def exit_code(diagnostics: Iterable[Diagnostic], *, deny_warnings: bool = False) -> int:
    """0 without errors, 2 if one of them is wrong use, else 1; denied warnings count as errors."""
    found = list(diagnostics)
    errors = [d for d in found if d.severity is Severity.ERROR]
    if any(d.code in USAGE_CODES for d in errors):
        return 2
    return 1 if errors or (found and deny_warnings) else 0


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError, with the nearest option, and never exits."""

    def __init__(self, *, prog: str, description: str | None) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        unknown = re.fullmatch(r"unrecognized arguments: (\S+).*", message, re.DOTALL)
        near = None
        if unknown and unknown[1].startswith("-"):
            given = unknown[1].partition("=")[0]
            near = self._nearest(given)
            message = f"there is no option `{given}`"
        helps = [f"did you mean `{near}`?"] if near else []
        helps.append(f"`{self.prog} --help` lists the options")
        raise usage_error(f"{self.prog}: {message}", *helps)

    def _nearest(self, given: str) -> str | None:
        """The option that was meant: the only one that begins so, or one spelled almost so."""
        options = list(self._option_string_actions)
        longer = [option for option in options if option.startswith(given) and given != "-"]
        return longer[0] if len(longer) == 1 else nearest(given, options)
