"""Which ReLUs overwrite their operand: those whose operand nobody else will ever need.

That is how the published modules are written; it saves a map per ReLU in training and about a
fiftieth of the time on a CPU.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.to_torch.lower import Arg, Layer, Make
from segdsl.ir import Graph, Node
from segdsl.ops.activation import Relu
from segdsl.ops.conv import Conv, ConvTranspose
from segdsl.ops.elementwise import Add
from segdsl.ops.norm import BatchNorm

FRESH = (Conv, ConvTranspose, BatchNorm, Add)
"""Operators whose result is a new tensor that their own backward pass does not read."""


def overwriting(graph: Graph, node: Node, written: Layer) -> Layer:
    """The lowering of a node, in place where it is a ReLU that alone reads a fresh result."""
    if not isinstance(node.op, Relu) or not _alone(graph, node):
        return written
    inplace = (Arg(True, "inplace"),)
    return replace(written, call="F.relu({0}, inplace=True)", module=Make("nn.ReLU", inplace))


def _alone(graph: Graph, node: Node) -> bool:
    (value,) = graph.operands(node.name)
    producer = graph[value.node]
    return isinstance(producer.op, FRESH) and len(graph.users(value.node)) == 1
