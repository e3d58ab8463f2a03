"""What submodules of the shipped module give, held against the flat source of the same values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.peers import need

torch = need("torch")

from hypothesis import given, settings  # noqa: E402

from compiler.to_torch.build import build  # noqa: E402
from compiler.verify.inputs import arrays, cases  # noqa: E402
from compiler.verify.modules import submodules, watched  # noqa: E402
from compiler.verify.runners import Subject, reference  # noqa: E402
from compiler.verify.stages import at_inference, stages  # noqa: E402
from compiler.verify.torch_runner import as_array, evaluate  # noqa: E402
from compiler.weights import initialise  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.compiler.verify.nets import STOCK, narrow, tiny  # noqa: E402
from tests.support.grown import Grown, programs  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402


def check(of: Graph, size: tuple[int, int] | None = None) -> int:
    """Every captured value is that of the reference; answers how many there are."""
    weights = initialise(params(of), style="fixture")
    (case,) = cases(of, at=[size] if size else (), batches=[1], images=("noise",))[:1]
    inputs = arrays(of, case, 0)
    every = {s.value: s for s in stages(at_inference(of), every=True)}
    paths = {every[v].name: path for v, path in submodules(of).items() if v in every}
    module = build(of, weights).double().eval()
    with watched(module, paths) as seen:
        evaluate(module, of, inputs, wide=True)
    wanted = reference(Subject(of, weights, tuple(every.values()))).run(inputs, list(paths))
    assert seen.keys() == paths.keys()
    for name, tensor in seen.items():
        np.testing.assert_allclose(as_array(tensor), wanted.stages[name], rtol=1e-9, atol=1e-9)
    return len(seen)


@pytest.mark.parametrize(("name", "options", "size"), STOCK, ids=[row[0] for row in STOCK])
def test_submodules_of_stock_networks(
    name: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    assert check(narrow(load(name, **options)), size) > 1


@settings(max_examples=15)
@given(grown=programs())
def test_submodules_of_random_programs(grown: Grown) -> None:
    assert grown.program.graph is not None
    check(grown.program.graph)


def test_what_is_overwritten_is_kept() -> None:
    """The shipped ReLU is in place: the norm's result must be seen as it was before."""
    of = tiny()
    assert check(of) >= 4
    named = {of[value.node].op.name for value in submodules(of)}
    assert "bn" in named


def test_a_layer_that_is_called_twice_is_not_watched() -> None:
    of = graph(net("layer a = conv(3, 1) @a\noutput y = image -> a -> relu -> a"))
    assert submodules(of) == {}
