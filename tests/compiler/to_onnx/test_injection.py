"""What an author writes into comments, names and strings comes back from the file as it was."""

from __future__ import annotations

import json
from functools import cache
from pathlib import PurePath
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.peers import need

onnx = need("onnx")
need("onnxruntime")

from compiler.to_onnx import to_onnx  # noqa: E402
from segdsl.ir import Graph, Node, Value  # noqa: E402
from segdsl.ops.activation import Relu, Sigmoid  # noqa: E402
from segdsl.ops.ports import Input, Output  # noqa: E402
from segdsl.program import examine_source  # noqa: E402
from segdsl.source import Source  # noqa: E402
from tests.compiler.to_onnx.runs import checked, session  # noqa: E402
from tests.support.graphs import H, N, W  # noqa: E402

PIECES = (
    '"', "'", "\\", "\\n", "\\x00", "\0", "\n", "\r\n", "\t", "{", "}}", "%s", "#", "/", ".", ":",
    "\u202e", "\u2028", "\x1b[2J", "\ufeff", "\ufffd", "\U0001f600", "é", "e\u0301", "../", "[0]",
    '"}, {"key": "segdsl.version", "value": "', "<script>",
)  # fmt: skip
HOSTILE = st.lists(
    st.sampled_from(PIECES) | st.text(max_size=3).filter(lambda t: t.isprintable()), max_size=6
).map("".join)
ANY = HOSTILE | st.sampled_from(["\udcff", "a\ud800b"])
"""With half characters, as undecodable bytes of a file's name become."""
SMALL = settings(max_examples=40)


def program(doc: str, file: str) -> Graph | None:
    """A net with this comment; None where the language refuses it."""
    text = (
        f"seg 1\n## {doc}\n## second line\nnet Tiny() {{\n  input image: f32[N, 3, H, W]\n"
        "  output mask = image -> conv(2, 1) @c\n}\n"
    )
    found = examine_source(Source(file, text), None)
    return None if found.failed else found.graph


@cache
def plain() -> Any:
    """The file with harmless texts."""
    graph = program("doc", "net.seg")
    assert graph is not None
    return onnx.load_from_string(to_onnx(graph, class_names=["a"]))


@SMALL
@given(doc=HOSTILE, file=ANY, names=st.lists(ANY, max_size=3))
def test_texts_come_back(doc: str, file: str, names: list[str]) -> None:
    graph = program(doc, file)
    assume(graph is not None)
    assert graph is not None
    content = to_onnx(graph, class_names=names)
    model = checked(content)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert model.graph.doc_string == "\n".join(graph.doc)
    stated = PurePath(file).name if file.startswith("/") else file
    assert found["segdsl.source"] == stated.encode("utf-8", "backslashreplace").decode()
    assert ("classes" in found) == bool(names)
    assert json.loads(found.get("classes", "[]")) == names
    usual = plain()
    keys = {entry.key for entry in usual.metadata_props}
    assert found.keys() == (keys if names else keys - {"classes"})
    assert [n.name for n in model.graph.node] == [n.name for n in usual.graph.node]
    told = session(content).get_modelmeta()
    assert told.custom_metadata_map == found
    assert told.graph_description == model.graph.doc_string


@SMALL
@given(words=st.lists(HOSTILE.filter(bool), min_size=5, max_size=5, unique=True))
def test_names_of_graphs_built_by_hand_come_back(words: list[str]) -> None:
    """The language writes ASCII names only; a graph that a program builds may have any."""
    net, image, relu, sigmoid, label = words
    graph = Graph(net)
    graph.add(Node(image, Input((N, 3, H, W)), label=image))
    graph.add(Node(relu, Relu()), (Value(image),))
    graph.add(Node(sigmoid, Sigmoid()), (Value(relu),))
    graph.add(Node(f"{label}.output", Output(label), label=label), (Value(sigmoid),))
    content = to_onnx(graph)
    model = checked(content)
    assert model.graph.name == net
    assert [value.name for value in model.graph.input] == [image]
    assert [value.name for value in model.graph.output] == [label]
    assert [node.name for node in model.graph.node] == [
        w.replace(".", "/") for w in (relu, sigmoid)
    ]
    ready = session(content)
    (found,) = ready.run(None, {image: np.zeros((1, 3, 2, 2), np.float32)})
    assert np.array_equal(found, np.full((1, 3, 2, 2), 0.5, np.float32))
