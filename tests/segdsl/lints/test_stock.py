"""The stock networks and the library give no warning, or say why they do."""

from __future__ import annotations

from pathlib import Path

import pytest

import segdsl
from segdsl.library import stock_names
from segdsl.program import examine

LIBRARY = sorted((Path(segdsl.__file__).parent / "std").glob("*.seg"))


@pytest.mark.parametrize("name", sorted(stock_names()))
def test_stock_networks(name: str) -> None:
    assert examine(name, every=True, lint=True).diagnostics == ()


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_library(path: Path) -> None:
    assert examine(path, every=True, lint=True).diagnostics == ()


def test_lints_are_for_check_only() -> None:
    text = "seg 1\nnet T() {\n  input image: f32[N, 3, H, W]\n  a = image\n  output y = image\n}\n"
    assert segdsl.parse(text).outputs == ("output.y",)
