"""The compiler: from a graph to something that runs."""

from __future__ import annotations

from compiler.to_torch import to_torch

__all__ = ["to_torch"]
