"""`check` statements: facts, comparisons, units, and what they refuse."""

from __future__ import annotations

import pytest

from tests.support.programs import codes, examined, net

BODY = "deep = image -> conv(8, 3, stride=2, pad=1) @c\noutput y = deep -> conv(2, 1) @h"
PARAMS = 8 * 3 * 9 + 8 + 8 * 2 + 2
MACS = (8 * 3 * 9 + 8 * 2) * 32 * 16


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (f"params == {PARAMS}", None),
        (f"params == {PARAMS + 1}", "E8001"),
        ("params ~= 0.24K within 2%", None),
        ("params ~= 0.3K within 2%", "E8001"),
        ("100 < params <= 300", None),
        ("100 < params <= 200", "E8001"),
        (f"macs(H=64, W=32) == {MACS}", None),
        (f"macs(H=64, W=32) == {MACS - 1}", "E8001"),
        ("stride(deep) == 2", None),
        ("stride(deep) == 2px", None),
        ("stride(deep) == 4", "E8001"),
        ("shape(deep) == [N, 8, H/2, W/2]", None),
        ("shape(deep) == [N, 8, (H + 1)//2, _]", None),
        ("shape(deep) == [N, 8, H//2, W//2]", "E8001"),
        ("shape(deep, H=64, W=32) == [N, 8, 32, 16]", None),
        ("shape(deep, H=64, W=32) == [N, 8, 32, 17]", "E8001"),
        ("shape(deep) == [N, 8, H/2]", "E8001"),
        ("deep.channels == 8", None),
        ("deep.channels == 9", "E8001"),
        ("deep.channels in [4, 8]", None),
        ("deep.channels in [4, 9]", "E8001"),
        ("[1, deep.channels] == [1, 8]", None),
        ("[1, 2] == [3, 4]", "E8001"),
        ("[N, 8, H/2, _] == shape(deep)", None),
        ("[N, 9, H/2, _] == shape(deep)", "E8001"),
        ("deep.height == (H + 1) // 2", None),
        ("deep.height == H", "E8001"),
        ("1 == 1", None),
        ("false", "E8001"),
        (f"params / 2 == {PARAMS // 2}", None),
        ("macs(H=64, W=32) / 1000 > 100", None),
        (f"params - 10 == {PARAMS}", "E8001"),
        ("deep + deep == 3", "E2003"),
        ("params ~= 200", "E2011"),
        ("macs(H=64) == 3", "E2004"),
        ("macs(H=64, W=0) == 3", "E2003"),
        ("macs(H=64, W=32, Q=3) == 3", "E2001"),
        ("shape(deep) > 3", "E2011"),
        ("shape(3) == [N]", "E2003"),
        ("stride(image -> relu) == 1", "E2011"),
        ("parms == 3", "E1003"),
        ("rf(deep).size == 3px", None),
        ("rf(deep).size == 4px", "E8001"),
        ("rf(deep).h.size + rf(deep).w.min == 6", None),
        ("rf(deep).full.period == 1", None),
        ("rf(deep).offset == 0", None),
        ("rf(deep).is_global", "E8001"),
        ("rf(deep) == 3", "E2011"),
        ("rf(deep).sise == 3", "E2001"),
        ("rf(deep).h == 3", "E2001"),
        ("rf(deep).size.h == 3", "E2001"),
        ("rf().size == 3", "E2004"),
        ("rf(deep, 3).size == 3", "E2004"),
        ("rf(3).size == 3", "E2003"),
    ],
)
def test_checks(check: str, code: str | None) -> None:
    assert codes(net(f"{BODY}\ncheck {check}")) == ([code] if code else [])


def test_a_size_that_is_not_accepted() -> None:
    given = "input image: f32[N, 3, H, W] where H % 2 == 0"
    text = net(f"{BODY}\ncheck macs(H=63, W=32) == 1", given=given)
    assert codes(text) == ["E3014"]


def test_the_message_holds_the_true_number() -> None:
    text = net(f'{BODY}\ncheck params == {PARAMS + 10} else "see table 1"')
    (found,) = examined(text).diagnostics
    assert f"{PARAMS:,}" in found.message
    assert "see table 1" in found.notes


def test_a_check_speaks_of_default_parameters() -> None:
    text = net(f"{BODY}\ncheck params == {PARAMS}", params="n: int = 1")
    assert examined(text).unchecked == 0
    assert examined(text, n=2).unchecked == 1


def test_checks_of_blocks_run_for_each_instance() -> None:
    items = "block A(x: [N, C, h, w]) -> (y: tensor) {\n  y = x -> relu\n  check C == 3\n}"
    assert codes(net("output y = image -> A", items)) == []
    body = "output y = image -> A -> conv(4, 1) -> A"
    assert codes(net(body, items)) == ["E8001"]


def test_a_var_in_a_check_is_that_of_its_line() -> None:
    body = f"{BODY}\nvar n = 1\ncheck n == 1\nn = 2\ncheck n == 2"
    assert codes(net(body)) == []


def test_no_stride_without_a_size() -> None:
    assert codes(net("g = image -> global_avg_pool\noutput y = g\ncheck stride(g) == 1")) == [
        "E8002"
    ]
