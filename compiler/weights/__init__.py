"""Weights beside the graph: initial values, files, fitting a file to a network. Loads no torch."""

from __future__ import annotations

from compiler.weights.init import initialise
from compiler.weights.keymap import KeyMap
from compiler.weights.loading import Loaded, LoadReport, load, load_with_report
from compiler.weights.mismatch import Difference, MismatchError
from compiler.weights.table import Weights

__all__ = [
    "Difference",
    "KeyMap",
    "LoadReport",
    "Loaded",
    "MismatchError",
    "Weights",
    "initialise",
    "load",
    "load_with_report",
]
