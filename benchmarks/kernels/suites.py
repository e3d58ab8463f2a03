"""The registry: a kernel is measured by being in it."""

from __future__ import annotations

from types import ModuleType

from benchmarks.kernels import aspp, conv, dcnv3, dcnv3_backward, depthwise_norm, upsample
from benchmarks.kernels.case import Case

SUITES: dict[str, ModuleType] = {
    "upsample": upsample,
    "conv": conv,
    "aspp": aspp,
    "dcnv3": dcnv3,
    "dcnv3_backward": dcnv3_backward,
    "depthwise_norm": depthwise_norm,
}
"""Modules with `cases()`, all that is measured, and `small()`, one for the interpreter."""


def chosen(names: list[str], only: str = "") -> list[Case]:
    """The cases of some suites whose key holds a text."""
    return [case for name in names for case in SUITES[name].cases() if only in case.key]
