"""Tags of `##` comments."""

from __future__ import annotations

import pytest

from segdsl.elaborate.doctags import check_tags
from segdsl.source import Source
from tests.support.programs import codes, examined, net


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("## @paper Long 2015", []),
        ("  ##@code a/b\n## @weights c", []),
        ("## @papr x\n# @nothing\n## children are named @0", ["@papr"]),
        ("## text @author someone", []),
        ('x = "## @author"', []),
        ("## @author\r\n## @license MIT", ["@author", "@license"]),
    ],
)
def test_tags(text: str, found: list[str]) -> None:
    assert [d.span.text for d in check_tags(Source("t", text)) if d.span] == found


def test_an_unknown_tag_is_a_warning() -> None:
    program = examined(net("## @papr\noutput y = image"))
    assert [d.code for d in program.diagnostics] == ["W7012"]
    assert not program.failed


def test_checks_run_beside_a_warning() -> None:
    assert codes(net("## @papr\noutput y = image\ncheck params == 1")) == ["W7012", "E8001"]
