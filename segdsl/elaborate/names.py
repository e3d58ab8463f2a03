"""The static pass over every item: names, arguments and branches, used or not."""

from __future__ import annotations

from segdsl.diagnostics import Diagnostic
from segdsl.imports import Module


def check_names(module: Module) -> list[Diagnostic]:
    return []
