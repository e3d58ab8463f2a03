"""The graph: what can be built, what is refused, what order it has."""

from __future__ import annotations

import pytest

from segdsl.ir import Graph, GraphError, Node, Value
from segdsl.ops.activation import Relu
from segdsl.ops.elementwise import Add, Sub
from segdsl.ops.ports import Input, Output
from segdsl.symbolic import symbol

SHAPE = (symbol("N"), 3, symbol("H"), symbol("W"))


def diamond() -> Graph:
    graph = Graph("Diamond")
    x = graph.add(Node("x", Input(SHAPE)))
    a = graph.add(Node("a", Relu()), [x])
    b = graph.add(Node("b", Relu()), [x])
    y = graph.add(Node("y", Sub()), [b, a])
    graph.add(Node("out", Output("y")), [y])
    return graph


def test_operands_keep_their_slots() -> None:
    graph = diamond()
    assert graph.operands("y") == (Value("b"), Value("a"))
    assert {use.node for use in graph.users("x")} == {"a", "b"}
    assert graph.inputs == ("x",)
    assert graph.outputs == ("out",)


def test_one_value_may_fill_two_slots() -> None:
    graph = Graph("Twice")
    x = graph.add(Node("x", Input(SHAPE)))
    graph.add(Node("y", Add()), [x, x])
    assert graph.operands("y") == (x, x)
    graph.verify()


def test_names_are_unique_and_operands_exist() -> None:
    graph = diamond()
    with pytest.raises(GraphError, match="two nodes"):
        graph.add(Node("x", Relu()))
    with pytest.raises(GraphError, match="does not exist"):
        graph.add(Node("z", Relu()), [Value("nowhere")])
    with pytest.raises(GraphError, match="users"):
        graph.remove("x")


def test_rewiring_keeps_source_order_where_it_can() -> None:
    graph = diamond()
    graph.add(Node("late", Relu()), [Value("x")])
    graph.rewire("y", [Value("late"), Value("a")])
    order = list(graph)
    assert order.index("late") < order.index("y")
    assert order[:3] == ["x", "a", "b"]
    graph.verify()


def test_a_cycle_is_found() -> None:
    graph = diamond()
    graph.rewire("a", [Value("y")])
    with pytest.raises(GraphError, match="cycle"):
        list(graph)


def test_the_verifier_counts_operands() -> None:
    graph = Graph("Wrong")
    x = graph.add(Node("x", Input(SHAPE)))
    graph.add(Node("y", Relu()), [x, x])
    with pytest.raises(GraphError, match="operands"):
        graph.verify()


def test_equality_ignores_names_and_sees_structure() -> None:
    one, other = diamond(), Graph("Diamond")
    x = other.add(Node("image", Input(SHAPE)))
    a = other.add(Node("left", Relu()), [x])
    b = other.add(Node("right", Relu()), [x])
    y = other.add(Node("difference", Sub()), [b, a])
    other.add(Node("o", Output("y")), [y])
    assert one == other
    other.rewire("difference", [a, b])
    assert one != other


def test_copies_are_independent() -> None:
    graph = diamond()
    copy = graph.copy()
    copy.rewire("y", [Value("a"), Value("a")])
    assert graph.operands("y") == (Value("b"), Value("a"))
    assert graph["a"] is copy["a"]
    changed = graph.map_ops(lambda node: Relu() if node.name == "y" else node.op)
    assert changed["y"].op == Relu()
    assert graph["y"].op == Sub()
