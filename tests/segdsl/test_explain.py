"""The pages of the codes: what they call wrong is wrong, what they call right is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import segdsl
from segdsl.program import examine_source
from segdsl.source import Source

PAGES = sorted((Path(segdsl.__file__).parent / "explain").glob("*.md"))
PROGRAM = re.compile(r"```seg\n(.*?)```", re.DOTALL)


def codes(program: str, folder: Path) -> set[str]:
    """The codes that a program gives."""
    found = examine_source(Source("page.seg", program), folder, every=True).diagnostics
    return {d.code for d in found}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_programs_of_a_page(path: Path, tmp_path: Path) -> None:
    programs = PROGRAM.findall(path.read_text("utf-8"))
    assert len(programs) in (0, 2)
    if programs:
        wrong, right = programs
        assert path.stem in codes(wrong, tmp_path)
        assert codes(right, tmp_path) == set()
