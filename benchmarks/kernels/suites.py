"""The registry: a kernel is measured by being in it."""

from __future__ import annotations

from types import ModuleType

from benchmarks.kernels import (
    aspp,
    conv,
    dcnv3,
    dcnv3_backward,
    dense_block,
    dense_crf,
    depthwise_norm,
    lattice,
    merge_conv,
    upsample,
    window_filter,
)
from benchmarks.kernels.case import Case

SUITES: dict[str, ModuleType] = {
    "upsample": upsample,
    "conv": conv,
    "aspp": aspp,
    "dcnv3": dcnv3,
    "dcnv3_backward": dcnv3_backward,
    "depthwise_norm": depthwise_norm,
    "window_filter": window_filter,
    "lattice": lattice,
    "dense_crf": dense_crf,
    "merge_conv": merge_conv,
    "dense_block": dense_block,
}
"""Modules with `cases()`, all that is measured, and `small()`, one for the interpreter."""


def chosen(names: list[str], only: str = "") -> list[Case]:
    """The cases of some suites whose key holds a text."""
    return [case for name in names for case in SUITES[name].cases() if only in case.key]
