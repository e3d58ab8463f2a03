from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.weights.keymap import KeyMap, Pattern, Rule
from segdsl.diagnostics import SegError


def applied(text: str, name: str) -> str | None:
    found = KeyMap.parse(text).find(name)
    return None if found is None else found[1].rename(found[2], name)


def rule(body: str) -> Rule:
    return KeyMap.parse(f'[[rule]]\nfrom = "x"\n{body}\n').rules[0]


@pytest.mark.parametrize(
    ("pattern", "name", "bound"),
    [
        ("a.b", "a.b", {}),
        ("a.b", "a.b.c", None),
        ("a.{x}", "a.7", {"x": "7"}),
        ("a.{x}", "a.7.w", None),
        ("{x...}.w", "a.b.w", {"x": "a.b"}),
        ("{x...}.w", "w", None),
        ("a.{x...}", "a.b", {"x": "b"}),
        ("a.{x...}.{y}.w", "a.b.c.d.w", {"x": "b.c", "y": "d"}),
        ("{x...}", "a.b", {"x": "a.b"}),
        ("a.*", "a.b", None),
    ],
)
def test_matching(pattern: str, name: str, bound: dict[str, str] | None) -> None:
    assert Pattern(pattern).match(name) == bound


PARTS = st.lists(st.sampled_from(["a", "b", "1", "norm"]), min_size=1, max_size=6)


@given(PARTS, PARTS, PARTS)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_filling_a_pattern_gives_a_name_it_matches(
    before: list[str], many: list[str], after: list[str]
) -> None:
    text = ".".join([*before, "{m...}", *after])
    name = ".".join([*before, *many, *after])
    bound = Pattern(text).match(name)
    assert bound == {"m": ".".join(many)}
    assert Rule(Pattern(text), text.replace("...", "")).rename(bound, name) == name


def test_first_match_wins_and_others_stay() -> None:
    text = """
        [[rule]]
        from = "{a...}.norm.{i}.{leaf}"
        to = "{a...}.norm{i}.{leaf}"
        [[rule]]
        from = "{a...}"
        to = "all.{a...}"
    """
    assert (
        applied(text, "features.denseblock1.norm.1.weight") == "features.denseblock1.norm1.weight"
    )
    assert applied(text, "conv0.weight") == "all.conv0.weight"
    assert KeyMap().find("x") is None


def test_actions() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    reshaped = rule("reshape = [4, 3, 1, 2]")
    assert reshaped.shape((4, 6)) == (4, 3, 1, 2)
    assert np.array_equal(reshaped.apply(array), array.reshape(4, 3, 1, 2))
    assert np.array_equal(rule("permute = [1, 0]").apply(array), array.T)
    assert np.array_equal(rule("negate = true").apply(array), -array)
    assert np.array_equal(rule("flip_channels = true").apply(array), array[:, ::-1])
    several = rule("reshape = [4, 3, 2]\npermute = [0, 2, 1]\nflip_channels = true\nnegate = true")
    expected = -array.reshape(4, 3, 2).transpose(0, 2, 1)[:, ::-1]
    assert several.shape((4, 6)) == (4, 2, 3)
    assert np.array_equal(several.apply(array), expected)
    assert several.apply(array).flags.c_contiguous


@given(st.permutations(range(4)))
@settings(max_examples=24, derandomize=True, deadline=None)
def test_each_action_has_a_way_back(axes: list[int]) -> None:
    array = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    back = list(np.argsort(axes))
    there = rule(f"permute = {axes}")
    assert there.apply(array).shape == there.shape(array.shape)
    again = rule(f"permute = {[int(axis) for axis in back]}").apply(there.apply(array))
    assert np.array_equal(again, array)
    for body in ("negate = true", "flip_channels = true"):
        assert np.array_equal(rule(body).apply(rule(body).apply(array)), array)
        assert not np.array_equal(rule(body).apply(array), array)
    flat = rule("reshape = [6, 20]").apply(array)
    assert np.array_equal(rule("reshape = [2, 3, 4, 5]").apply(flat), array)


def test_fc_to_conv_is_the_same_function() -> None:
    import torch

    weight, feature = torch.randn(6, 5 * 7 * 7), torch.randn(2, 5, 7, 7)
    kernel = rule("reshape = [6, 5, 7, 7]").apply(weight.numpy())
    got = torch.nn.functional.conv2d(feature, torch.tensor(kernel)).flatten(1)
    torch.testing.assert_close(got, feature.flatten(1) @ weight.T)


WRONG = {
    "": "nothing else",
    "x = 1": "nothing else",
    "rule = 3": "nothing else",
    "[[rule]\n": "not TOML",
    'a = "\x01"': "not TOML",
    "[[rule]]\nto = 'a'": "`from` must be",
    "[[rule]]\nfrom = 'a'": "either drops",
    "[[rule]]\nfrom = 'a'\ndrop = true\nto = 'b'": "either drops",
    "[[rule]]\nfrom = 'a'\ndrop = 1": "true or false",
    "[[rule]]\nfrom = 'a'\nto = ''": "`to` must be",
    "[[rule]]\nfrom = 'a'\nto = '{b}'": "does not fill",
    "[[rule]]\nfrom = 'a'\nto = 'b}'": "does not fill",
    "[[rule]]\nfrom = 'a{b}'\nto = 'b'": "not a pattern",
    "[[rule]]\nfrom = 'a..b'\nto = 'b'": "not a pattern",
    "[[rule]]\nfrom = '{b'\nto = 'b'": "not a pattern",
    "[[rule]]\nfrom = '{a}.{a}'\nto = 'b'": "of one name",
    "[[rule]]\nfrom = '{a...}.{b...}'\nto = 'b'": "one is allowed",
    "[[rule]]\nfrom = 'a'\nrename = 'b'": "`rename` is unknown",
    "[[rule]]\nfrom = 'a'\nreshape = [-1]": "whole numbers",
    "[[rule]]\nfrom = 'a'\nreshape = 3": "whole numbers",
    "[[rule]]\nfrom = 'a'\npermute = [0, 2]": "order of axes",
    "[[rule]]\nfrom = 'a'\npermute = [true, 0]": "whole numbers",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_key_maps(text: str) -> None:
    with pytest.raises(SegError) as caught:
        KeyMap.parse(text, "k.toml")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E5012"
    assert WRONG[text] in diagnostic.message
    span = diagnostic.span
    assert span is not None
    assert span.source.name == "k.toml"
    assert 0 <= span.start <= span.end <= len(text)


def test_every_wrong_rule_is_named_at_its_place() -> None:
    text = "[[rule]]\nfrom='a'\n\n[[rule]]\nfrom='a'\nto='b'\n\n[[rule]]\nfrom=1\nto='b'\n"
    with pytest.raises(SegError) as caught:
        KeyMap.parse(text)
    spans = [d.span for d in caught.value.diagnostics]
    assert [span and span.line for span in spans] == [1, 8]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "k.toml"
    path.write_text('[[rule]]\nfrom = "é"\nto = "e"\n', encoding="utf-8")
    assert KeyMap.read(path).rules[0].source.text == "é"
    for data, code in ((b"\xff", "E0103"), (b"#" * (1 << 20) + b"#", "E0020"), (b"", "E5012")):
        path.write_bytes(data)
        with pytest.raises(SegError) as caught:
            KeyMap.read(path)
        assert caught.value.diagnostics[0].code == code
    with pytest.raises(SegError) as caught:
        KeyMap.read(tmp_path / "none.toml")
    assert caught.value.diagnostics[0].code == "E0101"
