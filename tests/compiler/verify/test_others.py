"""Two sets of weights, and two networks, against each other."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.peers import need

need("torch")

from compiler.verify.comparisons import Options, against_graph, against_weights  # noqa: E402
from compiler.weights import Weights, initialise  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from tests.compiler.verify.nets import STAGES, TINY, tiny  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

ONE = Options(sizes=((16, 24),), batches=(2,), images=("noise",))


def weights(of: Graph, seed: int = 0) -> Weights:
    return initialise(params(of), seed, style="fixture")


def codes(refused: pytest.ExceptionInfo[SegError]) -> list[str]:
    return [d.code for d in refused.value.diagnostics]


def test_equal_weights_are_equal_to_the_bit() -> None:
    report = against_weights(tiny(), weights(tiny()), weights(tiny()), ONE)
    assert report.passed
    assert {row.figures.err for row in report.rows} == {0.0}
    assert [row.name for row in report.rows] == [*STAGES, "mask"]


def test_the_first_stage_that_differs_is_told() -> None:
    of = tiny()
    array = weights(of)["body.bn.weight"] * np.float32(1.01)
    report = against_weights(of, weights(of), weights(of).replaced({"body.bn.weight": array}), ONE)
    (found,) = report.departures
    assert found.row.name == "body"
    assert found.node is not None
    assert found.node.name == "body.bn"
    verdicts = [row.figures.verdict for row in report.rows]
    assert verdicts == ["pass", *["depart"] * 5]


def test_weights_that_do_not_fit() -> None:
    other = Weights({name: a for name, a in weights(tiny()).items() if name != "head.bias"})
    with pytest.raises(SegError) as refused:
        against_weights(tiny(), weights(tiny()), other, ONE)
    assert codes(refused) == ["E5003"]


def test_two_networks_that_are_written_otherwise() -> None:
    """Names of other bindings, another order of a sum: the same function."""
    text = TINY.replace("wide + first", "first + wide").replace("net Tiny", "net Other")
    report = against_graph(tiny(), None, graph(text.replace("both", "sum")), None, ONE)
    assert report.passed, report
    assert [row.name for row in report.rows] == ["first", "body", "wide", "mask", "mask"]


def test_two_networks_that_differ() -> None:
    text = TINY.replace("mode=bilinear", "mode=nearest")
    report = against_graph(tiny(), None, graph(text), None, ONE)
    (found,) = report.departures
    assert found.row.name == "wide"
    (diagnostic,) = report.diagnostics()
    assert diagnostic.span is not None
    assert "mode=bilinear" in diagnostic.span.text


def test_the_second_network_may_have_weights_of_its_own() -> None:
    of, other = tiny(), graph(TINY)
    assert against_graph(of, weights(of), other, weights(other), ONE).passed
    assert not against_graph(of, weights(of), other, weights(other, 1), ONE).passed


def test_sizes_are_those_that_both_accept() -> None:
    body = "output mask = image -> conv(3, 1) @a"
    first = graph(net(body, given="input image: f32[N, 3, H, W] where H % 6 == 0"))
    second = graph(
        net(body, given="input x: f32[B, 3, U, V] where U % 10 == 0, V >= 300").replace(
            "image ->", "x ->"
        )
    )
    report = against_graph(first, None, second, None, Options(images=("noise",)))
    assert report.passed
    assert {case.symbols["H"] % 30 for case in report.cases} == {0}
    assert min(case.symbols["W"] for case in report.cases) >= 300
    for size in ((12, 300), (30, 299)):
        with pytest.raises(SegError) as refused:
            against_graph(first, None, second, None, Options(sizes=(size,), batches=(1,)))
        assert codes(refused) == ["E3014"]


def test_inputs_and_outputs_that_differ() -> None:
    one = graph(net("output mask = image -> conv(3, 1) @a"))
    wide = graph(net("output mask = image -> conv(3, 1) @a", given="input image: f32[N, 4, H, W]"))
    whole = graph(net("output mask = image * 1.0", given="input image: u8[N, 3, H, W]"))
    more = graph(net("m = image -> conv(3, 1) @a\noutput u = m\noutput v = m -> relu"))
    for other, code in ((wide, "E6024"), (whole, "E6025"), (more, "E6026")):
        with pytest.raises(SegError) as refused:
            against_graph(one, None, other, None, ONE)
        assert codes(refused) == [code]
    named = Options(**{**vars(ONE), "outputs": {"mask": "u"}})
    assert against_graph(one, None, more, None, named).passed
    named = Options(**{**vars(ONE), "outputs": {"mask": "v"}})
    assert not against_graph(one, None, more, None, named).passed
