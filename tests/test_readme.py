"""What the README shows is what happens."""

from __future__ import annotations

from pathlib import Path

from segdsl.program import examine_source
from segdsl.render import render
from segdsl.source import Source

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
FENCES = README.split("```\n")
WHERE = " where H % 4 == 0, W % 4 == 0"


def test_the_program_is_right() -> None:
    program = examine_source(Source("tiny.seg", FENCES[1]), None)
    assert program.diagnostics == ()
    assert str(program.accepted["H"]) == "H = 4k, k >= 1"


def test_the_message_is_the_one_shown() -> None:
    assert WHERE in FENCES[1]
    program = examine_source(Source("tiny.seg", FENCES[1].replace(WHERE, "")), None)
    assert render(program.diagnostics) == FENCES[3].rstrip("\n")
