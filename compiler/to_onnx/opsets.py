"""Which opset a file states, and the IR version that goes with it. Loads no ONNX library."""

from __future__ import annotations

LOWEST = 18
"""Written unless an operator has no exact form there: runtimes since 2022 read it."""

HIGHEST = 25
"""The highest opset that may be asked for."""

GELU, GROUP_NORM, SWISH = 20, 21, 24
"""The first opsets with these operators as torch means them.

GroupNormalization of 18 has one factor per group, that of 21 one per channel.
"""


DEFORM_CONV = 19
"""The first opset with DeformConv."""

GRID_SAMPLE = 20
"""From here on GridSample's bilinear mode is called linear."""


def ir_version(opset: int) -> int:
    """The oldest IR version that an opset may be written with, as onnx's own VERSION_TABLE."""
    table = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13}
    return table[opset]
