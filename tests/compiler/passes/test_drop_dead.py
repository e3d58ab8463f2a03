from __future__ import annotations

import networkx as nx
from hypothesis import given, settings

from compiler.passes.drop_dead import drop_dead
from segdsl.ops.base import OPS
from tests.support.graphs import Builder
from tests.support.grown import Grown, programs
from tests.support.programs import graph, net


def test_what_no_output_reads_goes_but_inputs_stay() -> None:
    builder = Builder()
    image = builder.input()
    builder.input(name="unused")
    relu = builder.add(OPS["relu"](), image)
    dead = builder.add(OPS["relu"](), relu)
    builder.graph.stages["dead"] = builder.add(OPS["relu"](), dead)
    builder.output(relu)
    after = drop_dead(builder.graph)
    assert list(after) == ["image", "unused", relu.node, "output.out"]
    assert after.stages == {}


def test_a_graph_without_dead_nodes_is_answered_itself() -> None:
    live = graph(net("output y = image -> conv(2, 1) -> relu"))
    assert drop_dead(live) is live


@settings(max_examples=20)
@given(grown=programs())
def test_what_stays_is_what_networkx_calls_ancestors(grown: Grown) -> None:
    before = grown.program.graph
    assert before is not None
    wanted = {*before.inputs, *before.outputs}
    for name in before.outputs:
        wanted |= nx.ancestors(before.view, name)
    after = drop_dead(before)
    assert set(after) == wanted
    assert list(after) == [name for name in before if name in wanted]
