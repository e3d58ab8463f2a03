"""Emitted operators against torch, written independently in tests/support/torch_reference.py."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.peers import need

torch = need("torch")

from compiler.to_torch.build import build  # noqa: E402
from segdsl.infer import infer  # noqa: E402
from segdsl.ir import Graph, Value  # noqa: E402
from segdsl.ops.base import OPS  # noqa: E402
from tests.support import torch_reference as reference  # noqa: E402
from tests.support.graphs import Builder  # noqa: E402
from tests.support.operator_cases import INTERNAL, MAKERS, Case, accepts, cases  # noqa: E402

NAMES = sorted(MAKERS)


def graph_of(case: Case, *, outlined: bool = False) -> Graph:
    """A net of one operator, by itself or in a block with another one."""
    builder = Builder()
    inputs = [
        builder.input(*feature.shape, name=f"x{i}", dtype=feature.dtype)
        for i, feature in enumerate(case.inputs)
    ]
    at = "layer" if case.op.params(*case.inputs) else None
    if outlined:
        with builder.instance("Block", "block"):
            value = builder.add(case.op, *inputs, at=at)
            identity = OPS["identity"]()
            results = [builder.add(identity, port) for port in _ports(case, value)]
    else:
        results = _ports(case, builder.add(case.op, *inputs, at=at))
    for i, result in enumerate(results):
        builder.output(result, f"y{i}")
    return builder.graph


def _ports(case: Case, value: Value) -> list[Value]:
    return [Value(value.node, port) for port in range(len(case.op.results))]


def compare(case: Case, seed: int, *, outlined: bool = False, script: bool = False) -> None:
    """The emitted module against the reference, in float64 and inference mode."""
    operands = reference.operands(case.op, case.inputs, seed)
    layer = reference.positive(reference.module(case.op, *case.inputs), seed, torch.float64)
    module = build(graph_of(case, outlined=outlined), flat=not outlined).double().eval()
    if layer is not None:
        prefix = "block.layer." if outlined else "layer."
        state = {prefix + name: tensor for name, tensor in layer.state_dict().items()}
        module.load_state_dict(state)
    if script:
        module = torch.jit.script(module)
    with torch.no_grad():
        wanted = reference.run(case.op, operands, layer)
        found = module(*operands)
    found = found if isinstance(found, tuple) else (found,)
    types = infer(case.op, case.inputs)
    for ours, theirs, feature in zip(found, wanted, types, strict=True):
        assert tuple(ours.shape) == tuple(theirs.shape) == feature.shape
        torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=1e-12, atol=1e-12)


def test_every_operator_has_cases() -> None:
    assert {*NAMES, *INTERNAL} == set(OPS)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12)
@given(data=st.data())
def test_flat(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    assume(accepts(case))
    compare(case, data.draw(st.integers(0, 99)))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4)
@given(data=st.data())
def test_in_a_block(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    assume(accepts(case))
    compare(case, 1, outlined=True)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=3)
@given(data=st.data())
def test_scripted(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    assume(accepts(case))
    compare(case, 2, script=True)
