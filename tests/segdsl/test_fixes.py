from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help
from segdsl.fixes import apply, certain, fix
from segdsl.source import Source, Span
from tests.test_messages import FILES, examine_text, read

TEXT = "abcdefghij"


def _diagnostic(source: Source, *edits: tuple[int, int, str], sure: bool = True) -> Diagnostic:
    changes = tuple(Edit(Span(source, a, b), text) for a, b, text in edits)
    level = Applicability.CERTAIN if sure else Applicability.LIKELY
    return Diagnostic("E9999", "wrong", Span(source, 0, 1), helps=(Help("so", changes, level),))


def test_only_what_is_certain_is_applied() -> None:
    source = Source("a.seg", TEXT)
    unsure = _diagnostic(source, (0, 1, "X"), sure=False)
    bare = Diagnostic("E9999", "wrong", None, helps=(Help("think"),))
    assert certain(unsure) is None
    assert certain(bare) is None
    done = fix(source, [unsure, bare, _diagnostic(source, (2, 4, "Y"))])
    assert (done.text, len(done.applied), done.postponed) == ("abYefghij", 1, ())


def test_of_two_that_overlap_the_first_is_applied() -> None:
    source = Source("a.seg", TEXT)
    first, second = _diagnostic(source, (2, 5, "X")), _diagnostic(source, (4, 6, "Y"), (8, 9, "Z"))
    done = fix(source, [first, second])
    assert done.text == "abXfghij"  # no edit of the second: all or none
    assert [item.diagnostic for item in done.postponed] == [second]


def test_edits_of_another_text_stay_away() -> None:
    source, other = Source("a.seg", TEXT), Source("b.seg", TEXT)
    assert fix(source, [_diagnostic(other, (0, 1, "X"))]).text == TEXT


def test_the_same_edit_twice_is_one() -> None:
    source = Source("a.seg", TEXT)
    done = fix(source, [_diagnostic(source, (1, 2, "X")), _diagnostic(source, (1, 2, "X"))])
    assert (done.text, len(done.applied)) == ("aXcdefghij", 2)


@given(
    st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 4), st.text("xy", max_size=3)), max_size=6
    )
)
def test_what_no_edit_touches_stays(edits: list[tuple[int, int, str]]) -> None:
    source = Source("a.seg", TEXT)
    places = [(a, min(a + n, len(TEXT)), text) for a, n, text in edits]
    done = fix(source, [_diagnostic(source, place) for place in places])
    taken = [e for item in done.applied for e in item.help.edits]
    gone = {i for e in taken for i in range(e.span.start, e.span.end)}
    kept = [c for i, c in enumerate(TEXT) if i not in gone]
    assert [c for c in done.text if c not in "xy"] == kept
    assert len(done.applied) + len(done.postponed) == len(places)
    assert apply(TEXT, []) == TEXT


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_certain_fixes_of_messages(path: Path, tmp_path: Path) -> None:
    """They make their diagnostics vanish, all together, and add no code.

    A mistake that is mended can show others that it hid: lints, where it was an error.
    """
    source, program = read(path, tmp_path)
    done = fix(source, program.diagnostics)
    mended = [item.diagnostic for item in done.applied]
    if not mended:
        assert done.text == source.text
        return
    after = examine_text(Source(source.name, done.text), tmp_path)
    assert all(
        certain(d) is None or d.code not in {m.code for m in mended} for d in after.diagnostics
    )
    before = {d.code for d in program.diagnostics}
    assert {
        d.code for d in after.diagnostics if program.failed <= (d.severity == "error")
    } <= before
