"""The generated pages say what the sources say now."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from docs.generate import LIMITS, PAGES, limits, operators
from segdsl.limits import Limits
from segdsl.ops.base import OPS
from segdsl.ops.terms import TERMS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_current(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "`make docs` rewrites the pages"


def test_every_limit_and_operator_is_on_its_page() -> None:
    assert limits().count("\n|") == 2 + len(dataclasses.fields(Limits))
    assert LIMITS.name == "limits.py"
    visible = [op.name for op in OPS.values() if not op.internal]
    assert [f"## {name}\n" in operators() for name in (*visible, *TERMS)] == [True] * (
        len(visible) + len(TERMS)
    )
