"""segdsl: segmentation networks in a small text file, checked and compiled."""

from __future__ import annotations

from segdsl.diagnostics import Diagnostic, SegError
from segdsl.ir import Graph
from segdsl.program import check, load, parse
from segdsl.report import Summary, summary

__all__ = [  # noqa: RUF022
    # reading programs
    "check",
    "load",
    "parse",
    # what they become
    "Graph",
    "Summary",
    "summary",
    # what is wrong with them
    "Diagnostic",
    "SegError",
]
