"""Random programs through the torch target: shapes, accepted sizes, both forms of the source."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402

from compiler.to_torch.build import build  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.analysis.shapes import shapes  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from tests.support.grown import Grown, programs  # noqa: E402


def expected(graph: Graph, sizes: dict[str, int]) -> tuple[object, ...]:
    table = shapes(graph, sizes)
    (value,) = graph.operands(graph.outputs[0])
    return table[value].shape


@settings(max_examples=60)
@given(programs())
def test_shapes_are_those_of_the_torch_module(grown: Grown) -> None:
    graph, accepted = grown.program.graph, grown.program.accepted
    assert graph is not None
    module = build(graph).eval().to("meta")
    for start in (1, 20, 41):
        sizes = {name: known.at_least(start) for name, known in accepted.items()}
        height, width = sizes["H"] or accepted["H"].minimum, sizes["W"] or accepted["W"].minimum
        assert height is not None
        assert width is not None
        image = torch.zeros(2, 4, height, width, device="meta")
        found = tuple(module(image).shape)
        assert found == expected(graph, {"N": 2, "H": height, "W": width})


@settings(max_examples=40)
@given(programs())
def test_outlined_and_flat_source_compute_the_same(grown: Grown) -> None:
    graph, accepted = grown.program.graph, grown.program.accepted
    assert graph is not None
    outlined, flat = build(graph).eval(), build(graph, flat=True).eval()
    assert list(outlined.state_dict()) == list(flat.state_dict()) == list(params(graph))
    sizes = [accepted[s].at_least(17) or accepted[s].minimum or 1 for s in "HW"]
    image = torch.rand(2, 4, *sizes, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(outlined(image), flat(image))
