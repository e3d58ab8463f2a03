from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdsl.lints.allow import LINTS, read_allows
from segdsl.program import examine_source
from segdsl.source import Source
from tests.support.linted import codes, lint, net
from tests.test_messages import FILES, PROGRAM, examine_text, read

DROPS = "input image: f32[N, 3, H, W] where H >= 2, W >= 2"
POOL = "output y = image -> max_pool(2) -> conv(8, 1) @y"
PAGES = [p for p in FILES if p.stem.startswith("W7") and not p.stem.startswith("W7013")]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([f"{POOL}  # allow(W7009): a thumbnail"], []),
        ([f"{POOL}  #allow( W7009 ):a thumbnail"], []),
        (["# allow(W7009): a thumbnail", POOL], []),
        (["# allow(W7009): a thumbnail", "", "# about the pool", POOL], []),
        ([POOL, "# allow(W7009): a thumbnail"], ["W7009", "W7013"]),
        ([POOL, 'check params == 32 else "# allow(W7009): no comment"'], ["W7009"]),
    ],
)
def test_where_it_may_stand(lines: list[str], said: list[str]) -> None:
    assert codes(net(*lines, image=DROPS)) == said


@pytest.mark.parametrize(
    "comment",
    [
        "# allow(W7009)",
        "# allow(W7009):",
        "# allow(W7009) because it is small",
        "# allow(): it is small",
        "# allow(W7009: it is small",
        "# allow(W7900): it is small",
        "# allow(E3006): it is small",
        "# allow(W7009 W7O08): it is small",
    ],
)
def test_a_wrong_form_is_an_error_and_silences_nothing(comment: str) -> None:
    said = codes(net(f"{POOL}  {comment}", image=DROPS))
    assert said == ["E0016"]  # lints speak of programs without errors


def test_a_wrong_form_is_an_error_without_lints_too() -> None:
    text = net(f"{POOL}  # allow(W7009)", image=DROPS)
    found = examine_source(Source("net.seg", text), None).diagnostics
    assert [d.code for d in found] == ["E0016"]


def test_prose_is_no_directive() -> None:
    assert codes(net("# allow any size here", "output y = image  # we allow(ed) it")) == []


def test_several_codes() -> None:
    body = "output y = image -> conv(8, 1, stride=2) @y -> max_pool(2)"
    image = "input image: f32[N, 3, H, W] where H >= 3, W >= 3"
    assert sorted(codes(net(body, image=image))) == ["W7002", "W7008", "W7009"]
    assert codes(net(f"{body}  # allow(W7008, W7002, W7009): all known", image=image)) == []
    said = codes(net(f"{body}  # allow(W7002, W7008, W7010): one is not", image=image))
    assert said == ["W7009", "W7013"]


def test_idle_is_judged_only_where_everything_was_looked_at() -> None:
    text = net("output y = image  # allow(W7009): nothing drops")
    source = Source("net.seg", text)
    assert [d.code for d in examine_source(source, None, every=True, lint=True).diagnostics] == [
        "W7013"
    ]
    assert examine_source(source, None, every=True).diagnostics == ()
    both = text + text.removeprefix("seg 1\n").replace("net T", "net U").replace("9)", "8)")
    found = examine_source(Source("net.seg", both), None, net="U", lint=True).diagnostics
    assert found == ()


def test_what_stands_in_a_block_that_no_net_reached_is_not_judged() -> None:
    """Another value of a parameter may reach it."""
    block = "block B(x: tensor) -> (y: tensor) {\n  y = x -> relu  # allow(W7009): big only\n}\n"
    head = f"seg 1\n{block}net T(big: bool = WHICH) {{\n  input x: f32[N, 3, H, W]\n"
    text = f"{head}  output y = x -> B if big else x\n}}\n".replace("x -> B if", "(x -> B) if")
    assert codes(text.replace("WHICH", "false")) == []
    assert codes(text.replace("WHICH", "true")) == ["W7013"]


def test_a_lint_of_one_size_is_judged_at_a_size_only() -> None:
    text = net("output y = image -> conv(4, 3, pad=1) @y  # allow(W7003): small tests")
    assert codes(text) == []
    assert codes(text, (64, 64)) == ["W7013"]
    assert codes(text, (2, 2)) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_lint_can_be_silenced_on_its_line(path: Path, tmp_path: Path) -> None:
    """A comment above the line of each warning silences it, and nothing else is said."""
    source, program = read(path, tmp_path)
    lines = source.text.split("\n")
    places = {(d.span.line, d.code) for d in program.diagnostics if d.span}
    for line, code in sorted(places, reverse=True):
        lines.insert(line - 1, f"# allow({code}): as the page shows")
    after = examine_text(Source(source.name, "\n".join(lines)), tmp_path)
    assert PROGRAM.findall(path.read_text("utf-8"))
    assert after.diagnostics == ()


@given(st.text(alphabet='#alow(W709)": \n\\', max_size=60))
def test_reading_never_fails(text: str) -> None:
    allows, wrong = read_allows(Source("net.seg", text))
    for allow in allows:
        assert all(code in LINTS for code, _ in allow.codes)
        assert allow.span.text.startswith("#")
    assert all(d.code == "E0016" and d.span is not None for d in wrong)


def test_the_message_of_a_lint_in_a_block_belongs_to_its_line() -> None:
    block = "block Half(x: [N, C, h, w]) -> (y: [N, C, _, _]) {\n  y = x -> max_pool(2)@\n}\n"
    text = net("output y = image -> Half -> conv(8, 1) @y", image=DROPS, before=block)
    (found,) = lint(text.replace("@\n", "\n", 1))
    assert found.code == "W7009"
    assert found.span is not None
    assert found.span.line == 3
    assert codes(text.replace("@\n", "  # allow(W7009): halves\n", 1)) == []
