"""Emitted torch source without the libraries that it carries: these have tests of their own."""

from __future__ import annotations

from compiler.to_torch.helpers import HELPERS, NEEDS
from compiler.to_torch.library import LIBRARIES, library


def without_libraries(text: str) -> str:
    """The text with one comment for each library, and for each part of the deformable sampling."""
    for name in ("bilinear_sum", *NEEDS):
        text = text.replace(HELPERS[name].rstrip("\n"), f"# Here stands `{name}`.")
    for name in LIBRARIES:
        text = text.replace(library(name).text, f"# Here stands the library of `{name}`.")
    return text
