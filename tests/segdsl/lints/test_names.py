from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segdsl.fixes import apply
from segdsl.source import Source
from tests.support.linted import codes, lint, net


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Statements of a body, and the names among them that nothing reads."""
    count = draw(st.integers(1, 6))
    names = [f"{draw(st.sampled_from(['m', '_m']))}{i}" for i in range(count)]
    read: set[str] = set()
    lines: list[str] = []
    for i, name in enumerate(names):
        first = draw(st.sampled_from(["image", *names[:i]]))
        second = draw(st.sampled_from(["image", *names[:i]]))
        form = draw(st.sampled_from(["bind", "tap", "var", "join"]))
        read |= {first, second} if form == "join" else {first}
        lines.append(
            {
                "bind": f"{name} = {first} -> relu",
                "tap": f"{first} -> relu as {name}",
                "var": f"var {name} = {first} -> relu",
                "join": f"{name} = {first} + {second}",
            }[form]
        )
    last = draw(st.sampled_from(["image", *names]))
    lines.append(f"output y = {last} -> relu")
    idle = [n for n in names if n not in read | {last} and not n.startswith("_")]
    return lines, idle


@given(graphs())
def test_exactly_the_names_that_nothing_reads(case: tuple[list[str], list[str]]) -> None:
    lines, idle = case
    found = [d for d in lint(net(*lines)) if d.code == "W7010"]
    assert [d.span.text for d in found if d.span] == idle


def test_what_counts_as_a_use() -> None:
    assert (
        codes(net("a = image -> relu", "output y = image", "check shape(a) == [N, 3, H, W]")) == []
    )
    assert codes(net("image -> relu as a", "output a")) == []
    assert codes(net("var xs = [image]", "xs += [image]", "output y = concat(xs)")) == []
    assert codes(net("n = 2", "output y = image -> repeat n as k { relu }")) == []
    assert codes(net("for i in range(2) {", "  image -> relu as t", "}", "output y = image")) == [
        "W7010"
    ]


def test_parameters_that_nothing_asks_for() -> None:
    text = (
        "seg 1\nconst K = 2\n"
        "block B(x: [N, _, _, _], idle: tensor, n: int = K, m: int = n, _free: int = 1,\n"
        "        o: int = 2, c: int = 3) -> (y: [N, o, _, _]) where c > 1 {\n"
        "  y = x -> conv(m, 1) @a\n}\n"
        "net T(used: int = 2, unused: int = 3) {\n  input image: f32[N, used, H, W]\n"
        "  output y = B(image, image)\n}\n"
    )
    assert [d.message for d in lint(text) if d.code == "W7010"] == [
        "the port `idle` of `B` is never used",
        "the parameter `unused` of `T` is never used",
    ]


def test_a_layer_that_only_keeps_a_place_among_the_weights() -> None:
    body = ["layer blocks = identity @blocks", "layer idle = relu", "output y = image"]
    assert codes(net(*body)) == ["W7010"]


def test_each_branch_is_looked_at() -> None:
    body = ["if 1 == 2 {", "  a = image -> relu", "}", "output y = image"]
    assert codes(net(*body)) == ["W7010"]


def test_edits_of_imports_leave_the_rest() -> None:
    """All edits of one list of imports together leave what is used."""
    before = "from std.blocks import ConvBNReLU as A, ConvBNReLU as B, ConvBNReLU as C\n"
    for used in ("A", "B", "C"):
        text = net(f"output y = image -> {used}(8) @y", before=before)
        found = lint(text)
        assert [d.code for d in found] == ["W7011", "W7011"]
        mended = apply(text, [d.helps[0].edits[0] for d in found])
        assert f"import ConvBNReLU as {used}\n" in mended
        assert codes(mended) == []


def test_a_file_without_nets_is_there_for_others() -> None:
    block = "block B(x: [N, C, h, w]) -> (y: [N, C, h, w]) {\n  y = x\n}\n"
    assert codes(f"seg 1\nconst K = 2\n{block}") == []
    assert codes(net("output y = image", before=f"const K = 2\n{block}")) == ["W7011", "W7011"]


def test_tokens_of_crlf_files() -> None:
    text = net("a = image -> relu", "output y = image").replace("\n", "\r\n")
    (found,) = lint(text)
    assert found.span is not None
    assert found.span.text == "a"
    assert isinstance(found.span.source, Source)
