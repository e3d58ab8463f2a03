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


def codes(program: str, folder: Path, *, lint: bool) -> set[str]:
    """The codes that a program gives; pages about errors show no more than they must."""
    source = Source("page.seg", program)
    found = examine_source(source, folder, every=True, lint=lint).diagnostics
    return {d.code for d in found}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_programs_of_a_page(path: Path, tmp_path: Path) -> None:
    programs = PROGRAM.findall(path.read_text("utf-8"))
    assert len(programs) in (0, 2)
    if programs:
        wrong, right = programs
        lint = path.stem.startswith("W7")
        assert path.stem in codes(wrong, tmp_path, lint=lint)
        assert codes(right, tmp_path, lint=lint) == set()
