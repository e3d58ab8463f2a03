"""Every program of the language page is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segdsl.program import examine_source
from segdsl.source import Source

PAGE = (Path(__file__).parents[1] / "docs" / "language.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```seg\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_has_programs() -> None:
    assert len(PROGRAMS) == PAGE.count("```seg\n") >= 4


@pytest.mark.parametrize("text", PROGRAMS)
def test_a_program_is_right(text: str) -> None:
    found = examine_source(Source("page.seg", text), None, every=True, lint=True).diagnostics
    assert found == ()
