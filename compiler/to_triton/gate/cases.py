"""The cases of the gate: every kernel with every configuration that the router may launch."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.to_triton.gate import (
    aspp,
    conv,
    dcnv3,
    dense_crf,
    depthwise_norm,
    lattice,
    merge_conv,
    pre_conv,
    upsample,
    window_filter,
)
from compiler.to_triton.gate.case import Case

FAMILIES = (
    aspp,
    conv,
    upsample,
    dcnv3,
    depthwise_norm,
    window_filter,
    merge_conv,
    pre_conv,
    lattice,
    dense_crf,
)
"""Modules with a function `cases(arch)`."""


def cases(arch: str) -> Iterator[Case]:
    """All cases for an architecture."""
    for family in FAMILIES:
        yield from family.cases(arch)
