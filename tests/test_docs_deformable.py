"""The page on deformable convolution: its program is right, its numbers are those of the specs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segdsl.analysis.params import count, params
from segdsl.program import examine_source, load
from segdsl.source import Source

PAGE = (Path(__file__).parents[1] / "docs" / "deformable.md").read_text(encoding="utf-8")
ROWS = re.findall(r"\| (\w+) \| ([\d,]+) \| \w+ \| ([\d,]+) \|", PAGE)


def test_the_program_is_right() -> None:
    (text,) = re.findall(r"```seg\n(.*?)```", PAGE, re.DOTALL)
    assert examine_source(Source("page.seg", text), None, every=True, lint=True).diagnostics == ()


def test_every_variant_has_a_row() -> None:
    assert [row[0] for row in ROWS] == ["T", "S", "B", "L", "XL", "H"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_numbers(row: tuple[str, str, str]) -> None:
    for spec, written in zip(("internimage", "upernet_internimage"), row[1:], strict=True):
        assert f"{count(params(load(spec, variant=row[0]))):,}" == written
