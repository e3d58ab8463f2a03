from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl.diagnostics import Diagnostic, Frame, Label, Severity, text_helps
from segdsl.display import width
from segdsl.render import render
from segdsl.source import Source, Span
from tests.conftest import Golden

LINE = "  y = concat([skip, deep -> conv_transpose(out, 2, stride=2) @up]) -> DoubleConv(out) @conv"
UNET = Source("specs/unet.seg", "\n" * 10 + LINE + "\n" + "call\n" * 20)


def at(source: Source, text: str) -> Span:
    start = source.text.index(text)
    return Span(source, start, start + len(text))


def error(source: Source, text: str, *labels: Label, code: str = "E3004") -> Diagnostic:
    return Diagnostic(code, "the message", at(source, text), labels=labels)


def lines_of(source: Source, text: str, *labels: Label) -> list[str]:
    """The drawing of one error, without its title and the lines after the snippet."""
    drawn = render([error(source, text, *labels)]).split("\n")
    return [line for line in drawn[1:-2] if not re.match(r" *= ", line)]


SKIP = Diagnostic(
    "E3004",
    "the two sides of this concatenation can differ in height",
    at(UNET, "concat"),
    labels=(
        Label(at(UNET, "skip"), "[N, 512, H//8, W//8]"),
        Label(
            at(UNET, "deep -> conv_transpose(out, 2, stride=2) @up"),
            "[N, 512, 2*(H//16), 2*(W//16)]",
        ),
    ),
    notes=(
        "for H = 300 the two sides are 37 and 36: the floor of 37/2 at `max_pool(2)`, line 22",
        "this net accepts H = 16k, k >= 1; nearest to 300: 288, or 304 (pad 2+2); the same for W",
    ),
    helps=text_helps(
        "say so at the input:  input image: f32[N, 1, H, W] where H % 16 == 0, W % 16 == 0",
        "or name the right side `up` and crop the skip:  skip -> crop(like=up, offset=centre)",
    ),
    stack=(Frame("Up", Span(UNET, UNET.line_starts[25], UNET.line_starts[25] + 4), "i = 3"),),
)


def test_the_most_important_message_of_the_product() -> None:
    assert (
        render([SKIP])
        == """\
error[E3004]: the two sides of this concatenation can differ in height
  --> specs/unet.seg:11:7
   |
11 |   y = concat([skip, deep -> conv_transpose(out, 2, stride=2) @up]) -> DoubleConv(out) @conv
   |       ^^^^^^  ----  -------------------------------------------- [N, 512, 2*(H//16), 2*(W//16)]
   |               |
   |               [N, 512, H//8, W//8]
   = note: for H = 300 the two sides are 37 and 36: the floor of 37/2 at `max_pool(2)`, line 22
   = note: this net accepts H = 16k, k >= 1; nearest to 300: 288, or 304 (pad 2+2); the same for W
   = note: in `Up`, called from specs/unet.seg:26 with i = 3
   = help: say so at the input:  input image: f32[N, 1, H, W] where H % 16 == 0, W % 16 == 0
   = help: or name the right side `up` and crop the skip:  skip -> crop(like=up, offset=centre)
   = explain: segdsl explain E3004

1 error in specs/unet.seg; nothing was written"""
    )


def test_several_labels_on_a_line_have_a_row_each() -> None:
    source = Source("a.seg", "a = b + c * d\n")
    labels = [Label(at(source, name), f"this is {name}") for name in "bcd"]
    assert lines_of(source, "a", *labels) == [
        " --> a.seg:1:1",
        "  |",
        "1 | a = b + c * d",
        "  | ^   -   -   - this is d",
        "  |     |   |",
        "  |     |   this is c",
        "  |     this is b",
    ]


def test_labels_of_one_place_stand_below_each_other() -> None:
    source = Source("a.seg", "abc\n")
    labels = [Label(at(source, "abc"), "one"), Label(at(source, "ab"), "two")]
    drawn = lines_of(source, "abc", *labels)
    assert drawn[3:] == ["  | ^^^", "  | |", "  | one", "  | two"]


def test_distant_lines_and_other_files() -> None:
    source = Source("a.seg", "one\ntwo\nthree\nfour\n")
    other = Source("std/b.seg", "library\n")
    labels = [Label(at(source, "four"), "here"), Label(at(other, "library"), "there")]
    assert lines_of(source, "one", *labels) == [
        " --> a.seg:1:1",
        "  |",
        "1 | one",
        "  | ^^^",
        "...",
        "4 | four",
        "  | ---- here",
        " ::: std/b.seg:1:1",
        "  |",
        "1 | library",
        "  | ------- there",
    ]


def test_at_most_three_places_the_others_are_notes() -> None:
    source = Source("a.seg", "".join(f"line{i}\n" for i in range(6)))
    labels = [Label(at(source, f"line{i}"), f"label {i}") for i in range(1, 6)]
    drawn = render([error(source, "line0", *labels)])
    assert [line for line in drawn.split("\n") if re.match(r"\d \|", line)] == [
        f"{i + 1} | line{i}" for i in range(3)
    ]
    for i in (3, 4, 5):
        assert f"= note: label {i} (a.seg:{i + 1}:1)" in drawn


def test_a_span_over_several_lines_shows_first_and_last() -> None:
    source = Source("a.seg", "x = f(\n  a,\n  b\n  )\n")
    assert lines_of(source, source.text.strip()) == [
        " --> a.seg:1:1",
        "  |",
        "1 | x = f(",
        "  | ^^^^^^",
        "...",
        "4 |   )",
        "  |   ^",
    ]


def test_the_caption_stands_at_the_caret() -> None:
    source = Source("a.seg", "x -> rellu\n")
    caption = replace(error(source, "rellu"), caption="no such operation")
    assert "  |      ^^^^^ no such operation\n" in render([caption])


def test_tabs_and_wide_characters_keep_the_carets_in_place() -> None:
    source = Source("a.seg", "\tx = 日本 y\n")
    drawn = lines_of(source, "y")
    assert drawn[2] == "1 |     x = 日本 y"
    caret = drawn[3].index("^")
    assert caret == width(drawn[2][: drawn[2].index("y")])


def test_long_lines_are_cut_around_the_span() -> None:
    source = Source("a.seg", "x = " + "conv(1) -> " * 60 + "rellu" + " -> conv(2)" * 60 + "\n")
    label = Label(at(source, "conv"), "the first")
    drawn = render([error(source, "rellu", label)], width=80)
    line, carets = drawn.split("\n")[3:5]
    assert width(line) <= 80
    assert line.startswith("1 | …")
    assert line.endswith("…")
    assert line[carets.index("^") : carets.rindex("^") + 1] == "rellu"
    assert "= note: the first (a.seg:1:5)" in drawn


def test_end_of_file_and_crlf() -> None:
    source = Source("a.seg", "x = y ->\r\n")
    end = len(source.text)
    drawn = render([Diagnostic("E0003", "stops", Span(source, end - 2, end - 2))])
    assert "1 | x = y ->\n  |         ^\n" in drawn
    drawn = render([Diagnostic("E0003", "stops", Span(source, end, end))])
    assert " --> a.seg:2:1\n  |\n2 |\n  | ^\n" in drawn


def test_control_characters_never_reach_the_terminal() -> None:
    source = Source("a\x1b.seg", 'x = "\x1b[31m" y\u202e\n')
    found = Diagnostic(
        "E1001", "bad \x1b[2J", at(source, "y"), notes=("\x07",), helps=text_helps("\x9b")
    )
    drawn = render([found])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", drawn)
    assert r"\x1b[31m" in drawn
    line, carets = drawn.split("\n")[3:5]
    assert line[carets.index("^")] == "y"


def test_notes_of_several_lines_are_indented() -> None:
    found = Diagnostic("E5003", "differ", None, notes=("first\nsecond",))
    assert " = note: first\n         second\n" in render([found])


def test_without_a_place() -> None:
    found = Diagnostic("E0101", "there is no file `x.seg`", None, helps=text_helps("look"))
    assert (
        render([found])
        == """\
error[E0101]: there is no file `x.seg`
 = help: look
 = explain: segdsl explain E0101

1 error; nothing was written"""
    )


def test_deep_stacks_are_shortened() -> None:
    frames = tuple(Frame(f"B{i}", at(UNET, "call")) for i in range(100))
    drawn = render([replace(SKIP, stack=frames)])
    assert drawn.count("called from") == 6
    assert "… 94 more blocks …" in drawn
    assert drawn.index("`B99`") < drawn.index("`B97`") < drawn.index("`B2`") < drawn.index("`B0`")


def test_sorted_without_duplicates_and_counted() -> None:
    a, b = Source("a.seg", "one two\n"), Source("b.seg", "three\n")
    again = Source("a.seg", a.text)
    first, second, third = error(a, "one"), error(a, "two"), error(b, "three")
    warning = replace(third, code="W7010", severity=Severity.WARNING)
    drawn = render([warning, second, error(again, "one"), first, third])
    places = re.findall(r"--> (\S+)", drawn)
    assert places == ["a.seg:1:1", "a.seg:1:5", "b.seg:1:1", "b.seg:1:1"]
    assert drawn.endswith("\n\n3 errors, 1 warning in 2 files; nothing was written")


def test_warnings_alone_do_not_say_that_nothing_was_written() -> None:
    warning = replace(error(UNET, "skip"), severity=Severity.WARNING)
    assert render([warning]).endswith("\n1 warning in specs/unet.seg")


def test_at_most_fifty_errors_are_drawn_and_warnings_give_way() -> None:
    source = Source("a.seg", "x\n" * 200)
    places = [Span(source, start, start + 1) for start in source.line_starts[:112]]
    found = [Diagnostic("E1003", f"error {i}", span) for i, span in enumerate(places)]
    found = [replace(d, severity=Severity.WARNING) if i < 50 else d for i, d in enumerate(found)]
    drawn = render(found)
    assert drawn.count("error[E1003]") == 50
    assert "warning[" not in drawn
    assert "\n\n… and 62 more\n\n" in drawn
    assert drawn.endswith("62 errors, 50 warnings in a.seg; nothing was written")


def test_nothing_found_draws_nothing() -> None:
    assert render([]) == ""


def test_colour_changes_nothing_but_colour() -> None:
    coloured = render([SKIP], color=True)
    assert "\x1b[1;31merror[E3004]\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render([SKIP])


@pytest.mark.parametrize("ascii", [False, True])
def test_golden_drawings(golden: Golden, ascii: bool) -> None:
    source = Source("net.seg", "\tx = image -> '日本' -> rellu  # é\n" + "y" * 300 + "\n")
    labels = (Label(at(source, "image"), "[N, 3, H, W]"), Label(at(source, "y" * 300), "long"))
    found = [
        replace(error(source, "rellu", *labels), caption="no such operation — `relu`?"),
        replace(error(source, "image"), severity=Severity.WARNING, code="W7010"),
    ]
    golden(f"render/{'ascii' if ascii else 'unicode'}.txt", render(found, ascii=ascii) + "\n")


TEXT = st.text(
    st.sampled_from("ab (\t\n\r\x00\x1b日\u0301\u202e…") | st.characters(exclude_categories=[]),
    max_size=120,
)


@st.composite
def diagnostics(draw: st.DrawFn) -> Diagnostic:
    sources = [Source("a.seg", draw(TEXT)), Source("b.seg", draw(TEXT) * draw(st.integers(1, 20)))]

    def span() -> Span:
        source = draw(st.sampled_from(sources))
        near = st.integers(-2, len(source.text) + 3)
        return Span(source, draw(near), draw(near))

    labels = tuple(Label(span(), draw(TEXT)) for _ in range(draw(st.integers(0, 5))))
    stack = tuple(Frame("B", span(), draw(TEXT)) for _ in range(draw(st.integers(0, 2))))
    place = span() if draw(st.booleans()) else None
    notes = (draw(TEXT),)
    return Diagnostic(
        "E1001", draw(TEXT), place, caption=draw(TEXT), labels=labels, notes=notes, stack=stack
    )


@given(st.lists(diagnostics(), min_size=1, max_size=3), st.booleans(), st.integers(0, 120))
def test_rendering_never_fails_and_source_lines_fit(
    found: list[Diagnostic], ascii: bool, columns: int
) -> None:
    drawn = render(found, ascii=ascii, width=columns)
    drawn.encode("ascii" if ascii else "utf-8")
    for line in drawn.split("\n"):
        if re.match(r" *\d+ \|", line):
            assert width(line) <= max(columns, 40)
        if re.match(r" +\| [ ^-]*\^", line):
            assert line.index("^") < max(columns, 40) + 1
