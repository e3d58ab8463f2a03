from __future__ import annotations

from compiler.passes.drop_inference_noise import drop_inference_noise
from segdsl.ir import Graph
from segdsl.ops.base import OPS
from segdsl.ops.ports import Output
from segdsl.ops.regularise import Dropout
from tests.support.graphs import Builder
from tests.support.programs import graph, net

NOISY = net(
    "a = image -> conv(4, 1) @a -> dropout(0.5) -> dropout(0.1, channels=true)\n"
    "b = a -> identity -> relu\n"
    "output y = b + drop_path(a, 0.2)\n"
    "train output aux = b -> conv(2, 1) @aux"
)


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes()]


def test_chains_of_noise_go_and_users_read_what_was_before() -> None:
    before = graph(NOISY)
    after = drop_inference_noise(before)
    assert names(after) == ["input", "conv", "relu", "add", "output", "conv"]
    (y,) = after.outputs
    (add,) = after.operands(y)
    assert [after[v.node].op.name for v in after.operands(add.node)] == ["relu", "conv"]
    after.verify()


def test_training_outputs_go() -> None:
    after = drop_inference_noise(graph(NOISY))
    labels = [after[n].op for n in after.outputs]
    assert labels == [Output("y")]


def test_the_given_graph_stays_and_untouched_nodes_are_the_same_objects() -> None:
    before = graph(NOISY)
    copy = before.copy()
    after = drop_inference_noise(before)
    assert before == copy
    assert all(after[name] is before[name] for name in after)


def test_a_quiet_graph_is_answered_itself() -> None:
    quiet = graph(net("output y = image -> conv(2, 1) -> relu"))
    assert drop_inference_noise(quiet) is quiet


def test_stages_and_borders_follow_the_values() -> None:
    builder = Builder()
    image = builder.input()
    with builder.instance("Block", "b") as block:
        relu = builder.add(OPS["relu"](), image)
        noise = builder.add(Dropout(0.5), relu)
    builder.ports(block, {"x": image}, {"y": noise})
    builder.graph.stages["b"] = noise
    builder.output(noise)
    after = drop_inference_noise(builder.graph)
    assert after.stages == {"b": relu}
    assert after.ports[block].outputs == (("y", relu),)
