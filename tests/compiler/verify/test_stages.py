"""Which values are compared, and where they are after the passes."""

from __future__ import annotations

from compiler.pipeline import optimize
from compiler.verify.stages import at_inference, exposed, followed, output_names, stages
from segdsl.ir import Value
from segdsl.ops.conv import Conv
from segdsl.ops.norm import BatchNorm
from segdsl.ops.regularise import Dropout
from segdsl.program import load
from tests.compiler.verify.nets import STAGES, tiny


def test_named_stages_are_bindings_and_blocks_in_order() -> None:
    assert [stage.name for stage in stages(tiny())] == STAGES


def test_values_of_training_are_left_out() -> None:
    graph = load("fcn_resnet50")
    kept = at_inference(graph)
    trained = [name for name in graph.outputs if name not in kept.outputs]
    named = {stage.value.node for stage in stages(kept)}
    assert named <= set(kept)
    assert len(kept) <= len(graph) - len(trained)


def test_names_are_unique() -> None:
    for name in ("unet", "deeplabv3"):
        for every in (False, True):
            found = [stage.name for stage in stages(load(name), every=every)]
            assert len(set(found)) == len(found) > 0


def test_folded_values_are_followed_to_the_last() -> None:
    """A convolution whose norm was folded into it computes the norm: its own value is gone."""
    graph = load("resnet", depth=18)
    new, where = optimize(graph), followed(graph)
    folded = [node for node in new.nodes() if node.folded is not None]
    assert len(folded) == 20
    for node in folded:
        (norm,) = graph.users(node.name)
        assert isinstance(graph[norm.node].op, BatchNorm)
        assert where[Value(norm.node)] == Value(node.name)
        assert Value(node.name) not in where
    assert all(value.node in new for value in where.values())
    untouched = [n for n in graph.nodes() if not isinstance(n.op, Conv | BatchNorm)]
    assert all(where[Value(n.name)] == Value(n.name) for n in untouched)


def test_what_passes_a_value_on_is_followed_too() -> None:
    graph = tiny()
    (dropout,) = (n.name for n in graph.nodes() if isinstance(n.op, Dropout))
    (before,) = graph.operands(dropout)
    where = followed(graph)
    assert where[Value(dropout)] == where[before] == before


def test_exposed_values_come_behind_the_outputs() -> None:
    graph = tiny()
    values = [stage.value for stage in stages(graph)]
    wide = exposed(graph, values)
    assert output_names(wide)[0] == "mask"
    assert [wide.operands(name)[0] for name in wide.outputs[1:]] == values
    assert len(graph.outputs) == 1
