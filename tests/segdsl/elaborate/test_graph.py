"""The graph that elaboration makes: nodes, operands, scopes, ports, spans."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import segdsl
from segdsl.ir import Instance, Turn
from tests.support.programs import graph, net

ITEMS = """
block Unit(x: tensor, out: int) -> (y: tensor) {
  y = x -> conv(out, 1) @conv -> relu
}
block Stage(x: tensor, n: int) -> (y: tensor) {
  y = x -> repeat n as k { Unit(4) @{k} }
}
"""
BODY = "s = image -> Stage(2) @stage\noutput y = s + image -> conv(2, 1) @head"


def test_operands_in_slot_order() -> None:
    made = graph(net("a = image -> tanh\nb = a - image\noutput y = b"))
    assert [v.node for v in made.operands("b")] == ["a", "image"]


def test_a_map_twice_in_one_node() -> None:
    made = graph(net("a = image -> tanh\nb = a + a\noutput y = b"))
    assert [v.node for v in made.operands("b")] == ["a", "a"]


def test_scopes_hold_instances_and_turns() -> None:
    made = graph(net(BODY.replace("s + image", "s"), ITEMS))
    scope = made["stage.1.conv"].scope
    kinds = [
        (step.block, step.path) if isinstance(step, Instance) else (step.index, step.count)
        for step in scope
    ]
    assert kinds == [("Stage", "stage"), (1, 2), ("Unit", "stage.1")]
    (stage, turn, unit) = scope
    assert isinstance(stage, Instance)
    assert isinstance(turn, Turn)
    assert isinstance(unit, Instance)
    assert stage.args == (("n", 2),)
    assert unit.args == (("out", 4),)
    assert stage.span.text == "Stage(2) @stage"
    assert turn.span.text.startswith("repeat n as k")
    assert made["head"].scope == ()


def test_turns_of_one_loop_are_told_apart_by_their_index_only() -> None:
    made = graph(net(BODY.replace("s + image", "s"), ITEMS))
    first, second = (made[f"stage.{k}.conv"].scope[1] for k in (0, 1))
    assert isinstance(first, Turn)
    assert isinstance(second, Turn)
    assert (first.span, first.count) == (second.span, second.count)


def test_ports_of_instances() -> None:
    made = graph(net(BODY.replace("s + image", "s"), ITEMS))
    unit = made["stage.1.conv"].scope[-1]
    assert isinstance(unit, Instance)
    ports = made.ports[unit]
    assert [(name, value) for name, value in ports.inputs] == [
        ("x", made.operands("stage.1.conv")[0])
    ]
    ((name, value),) = ports.outputs
    assert name == "y"
    assert made[value.node].op.name == "relu"  # type: ignore[union-attr]


def test_stages_name_the_maps_of_the_net() -> None:
    made = graph(net(BODY.replace("s + image", "s"), ITEMS))
    assert made[made.stages["s"].node].op.name == "relu"
    assert made.stages["stage"] == made.stages["s"]


def test_spans_lie_on_the_operation() -> None:
    made = graph(net("output y = image -> conv(4, 1) @c -> relu"))
    assert made["c"].span.text == "conv(4, 1) @c"
    assert made["c"].parts["out"].text == "4"
    assert made["c"].parts[0].text == "image"


def test_identity_makes_no_node() -> None:
    made = graph(net("output y = image -> identity"))
    assert [node.op.name for node in made.nodes()] == ["input", "output"]


def test_sums_are_chains() -> None:
    made = graph(net("a = image -> relu\nb = image -> tanh\noutput y = sum([image, a, b])"))
    adds = [node for node in made.nodes() if node.op.name == "add"]
    assert len(adds) == 2
    assert [v.node for v in made.operands(adds[1].name)] == [adds[0].name, "b"]


def test_one_more_line_renames_nothing_else() -> None:
    before = graph(net("a = image -> conv(3, 1)\nb = a -> relu\noutput y = b"))
    after = graph(net("n = image -> relu\na = image -> conv(3, 1)\nb = a -> relu\noutput y = b"))
    assert set(before) < set(after)
    assert set(after) - set(before) == {"n"}


def test_the_same_graph_for_any_hash_seed() -> None:
    program = (
        "import segdsl; from segdsl.printer import print_graph;"
        "print(print_graph(segdsl.load('unet')))"
    )
    root = Path(segdsl.__file__).parents[1]
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(texts) == 1
    assert "conv" in next(iter(texts))
