from __future__ import annotations

import pytest

from compiler.cli import main
from compiler.cli.explain import known_codes, page

Streams = pytest.CaptureFixture[str]


@pytest.mark.parametrize("code", known_codes())
def test_every_page_is_printed(code: str, capsys: Streams) -> None:
    assert main(["explain", code]) == 0
    out = capsys.readouterr().out
    assert out == page(code)
    assert out.startswith(f"# {code}: ")


def test_case_does_not_matter(capsys: Streams) -> None:
    assert main(["explain", "e0101"]) == 0
    assert capsys.readouterr().out.startswith("# E0101: ")


def test_an_unknown_code_lists_the_known_ones(capsys: Streams) -> None:
    assert main(["explain", "E010"]) == 2
    err = capsys.readouterr().err
    assert "there is no code `E010`" in err
    assert "did you mean `E0" in err
    assert "E0001, " in err
