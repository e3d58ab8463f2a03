"""Leave out nodes that no output needs.

    image -> conv -> output           image -> conv -> output
        +--> conv (nobody reads)  =>

Non-goals: inputs stay, needed or not, since they are how the network is called. A result of a
node that nobody reads (`max_pool`'s indices) stays with the node.
"""

from __future__ import annotations

from compiler.passes.rebuild import rebuilt
from segdsl.ir import Graph


def drop_dead(graph: Graph) -> Graph:
    """The nodes that outputs depend on, and the inputs; the same object if those are all."""
    alive = {*graph.inputs, *graph.outputs}
    waiting = list(graph.outputs)
    while waiting:
        for value in graph.operands(waiting.pop()):
            if value.node not in alive:
                alive.add(value.node)
                waiting.append(value.node)
    dead = {name for name in graph if name not in alive}
    return rebuilt(graph, drop=dead) if dead else graph
