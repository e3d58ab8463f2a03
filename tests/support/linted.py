"""Programs for the tests of lints."""

from __future__ import annotations

from segdsl.diagnostics import Diagnostic
from segdsl.program import examine_source
from segdsl.source import Source

IMAGE = "input image: f32[N, 3, H, W]"


def net(*body: str, image: str = IMAGE, before: str = "") -> str:
    """A program with one net."""
    lines = "".join(f"  {line}\n" for line in (image, *body))
    return f"seg 1\n{before}net T() {{\n{lines}}}\n"


def lint(text: str, size: tuple[int, int] | None = None) -> tuple[Diagnostic, ...]:
    """Everything that `segdsl check` says about a program."""
    return examine_source(
        Source("net.seg", text), None, every=True, lint=True, size=size
    ).diagnostics


def codes(text: str, size: tuple[int, int] | None = None) -> list[str]:
    """The codes of it, in source order."""
    return [d.code for d in lint(text, size)]
