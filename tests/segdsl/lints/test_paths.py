from __future__ import annotations

import pytest

from segdsl.analysis.params import params
from segdsl.diagnostics import Applicability
from segdsl.fixes import apply
from segdsl.program import examine_source
from segdsl.source import Source
from tests.support.linted import codes, lint, net

BLOCK = (
    "block B(x: [N, C, h, w], out: int) -> (y: [N, out, h, w]) {\n  y = x -> conv(out, 1) @c\n}\n"
)


def _names(text: str) -> list[str]:
    graph = examine_source(Source("net.seg", text), None).graph
    assert graph is not None
    return list(params(graph))


@pytest.mark.parametrize(
    ("body", "bare"),
    [
        (["output y = image -> conv(8, 1) -> bn -> relu"], 0),
        (["output y = image -> conv(8, 1) @a -> bn @b -> relu"], 0),
        (["output y = image -> conv(8, 1) @a -> bn -> relu"], 1),
        (["a = conv(image, 8, 1)", "output y = a -> conv(8, 1) @b"], 1),
        (["a = conv(image, 8, 1) @a", "output y = a -> conv(8, 1) -> conv(8, 1)"], 2),
        (["output y = image -> B(8) -> conv(2, 1) @head"], 1),
        (["output y = image -> B(8) @b -> max_pool(1) -> conv(2, 1) @head"], 0),
        (["layer t = conv(3, 1) @t", "output y = image -> t -> t -> relu"], 0),
        (["layer t = conv(3, 1)", "output y = image -> t -> t -> conv(3, 1) @u"], 1),
        (["image -> conv(8, 1) as a", "output y = a -> conv(8, 1) @b"], 1),
        (["output y = (image -> conv(8, 1) @a) + (image -> conv(8, 1))"], 1),
    ],
)
def test_calls_without_a_path_beside_others(body: list[str], bare: int) -> None:
    uses_block = any("B(" in line for line in body)
    text = net(*body, before=BLOCK if uses_block else "")
    assert codes(text) == ["W7101"] * bare


def test_the_edits_keep_every_name() -> None:
    body = [
        "image -> conv(8, 1) as a",
        "layer t = conv(8, 1)",
        "b = a -> t -> B(8) -> conv(8, 1) -> conv(8, 3, pad=1)",
        "output y = b -> conv(8, 1) @head",
    ]
    text = net(*body, before=BLOCK)
    found = lint(text)
    assert {d.code for d in found} == {"W7101"}
    helps = [d.helps[0] for d in found]
    assert all(h.applicability is Applicability.CERTAIN for h in helps)
    mended = apply(text, [e for h in helps for e in h.edits])
    assert codes(mended) == []
    assert _names(mended) == _names(text)


def test_a_turn_of_a_loop_has_no_edit() -> None:
    body = ["a = image -> conv(3, 1) @a", "output y = a -> repeat 2 { conv(3, 1) }"]
    (found,) = lint(net(*body))
    assert found.code == "W7101"
    assert found.helps[0].edits == ()


def test_a_block_of_its_own_is_a_body_of_its_own() -> None:
    block = BLOCK.replace("conv(out, 1) @c", "conv(out, 1) @c -> bn")
    (found,) = lint(net("output y = image -> B(8) @b", before=block))
    assert found.span is not None
    assert found.span.text == "bn"
