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

OF_NO_PROGRAM = {
    # of files: too large, no text, or several
    "E0020", "E0021", "E0022", "E0103", "E0104", "E1008", "E1011",
    # of the command line: options, settings and sizes
    "E0101", "E0102", "E0105", "E0106", "E0107", "E0108", "E0110", "E0111", "E0112", "E0113",
    "E0114", "E0115", "E0120", "E2008", "E2019", "E3014",
    # of checkpoints
    "E5003", "E5004", "E5011", "E5012", "W7015",
}  # fmt: skip
"""Codes that one program alone cannot show; those of targets (E6xxx) beside them."""


def codes(program: str, folder: Path, *, lint: bool) -> set[str]:
    """The codes that a program gives; pages about errors show no more than they must."""
    source = Source("page.seg", program)
    found = examine_source(source, folder, every=True, lint=lint).diagnostics
    return {d.code for d in found}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_programs_of_a_page(path: Path, tmp_path: Path) -> None:
    programs = PROGRAM.findall(path.read_text("utf-8"))
    outside = path.stem in OF_NO_PROGRAM or path.stem.startswith("E6")
    assert len(programs) == (0 if outside else 2)
    if programs:
        wrong, right = programs
        lint = path.stem.startswith("W7")
        assert codes(wrong, tmp_path, lint=lint) == {path.stem}
        assert codes(right, tmp_path, lint=lint) == set()
