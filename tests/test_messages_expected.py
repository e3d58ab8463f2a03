"""Expectations inside programs: `# expect: error[E3004] {{height}}` where the caret is.

The comment stands at the end of the line in which the primary span begins, or alone above it.
`{{…}}` is a part of the message, `{{re: …}}` a pattern. Every expected message must come, and no
other may. `tests/messages/rows` holds one program for each row of `test_messages_rows.py` that one
program can show.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segdsl.program import examine_source
from segdsl.source import Source
from tests.test_messages_rows import ROWS

FILES = sorted((Path(__file__).parent / "messages" / "rows").glob("*.seg"))
EXPECT = re.compile(r"# expect: (error|warning)\[(\w+)\] \{\{(.*?)\}\}$")
OF_NO_PROGRAM = {17, 25, 44, 45, 47, 48, 49, 51, 52}
"""Rows about several files, the command line, checkpoints and targets."""

Expected = tuple[int, str, str, str]


def expectations(text: str) -> list[Expected]:
    """Line, severity, code and words of every comment."""
    found: list[Expected] = []
    waiting: list[tuple[str, str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = EXPECT.search(line)
        if match is not None and not line[: match.start()].strip():
            waiting.append((match[1], match[2], match[3]))
            continue
        own = [(match[1], match[2], match[3])] if match is not None else []
        found += [(number, *what) for what in (*waiting, *own)]
        waiting = []
    assert not waiting, "an expectation at the end of the file"
    return found


def says(message: str, words: str) -> bool:
    if words.startswith("re: "):
        return re.search(words.removeprefix("re: "), message) is not None
    return words in message


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_expected_comes_and_nothing_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    wanted = expectations(text)
    program = examine_source(Source(path.name, text), None, every=True, lint=True)
    found = [d for d in program.diagnostics if d.span is not None]
    assert len(found) == len(program.diagnostics)
    places = [(d.span.line, d.severity.value, d.code) for d in found if d.span is not None]
    assert sorted(places) == sorted((line, kind, code) for line, kind, code, _ in wanted)
    for line, _, code, words in wanted:
        said = [d.message for d in found if d.code == code and d.span and d.span.line == line]
        assert any(says(message, words) for message in said), (words, said)


def test_every_row_that_a_program_can_show_is_here() -> None:
    assert {int(path.stem[:2]) for path in FILES} == set(range(1, 53)) - OF_NO_PROGRAM
    for path in FILES:
        codes = {code for _, _, code, _ in expectations(path.read_text(encoding="utf-8"))}
        assert codes == {r.code for r in ROWS if r.number == int(path.stem[:2])}


def test_an_expectation_can_fail() -> None:
    """A comment at the wrong line, with other words or of another code is told apart."""
    text = "x  # expect: error[E1001] {{a}}\n# expect: warning[W7010] {{re: b+}}\ny\n"
    assert expectations(text) == [(1, "error", "E1001", "a"), (3, "warning", "W7010", "re: b+")]
    assert says("abbc", "re: b+")
    assert not says("ac", "re: b+")
    assert not says("re: b", "c")
