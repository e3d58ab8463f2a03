"""What holds for every operator, against torch: shapes, symbols, arrays, multiply-accumulates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from segdsl.ops.base import OPS, Op, RuleError
from segdsl.types import Feature
from tests.support import torch_reference as reference
from tests.support.operator_cases import INTERNAL, MAKERS, Case, accepts, cases
from tests.support.symbols import hide, holds, reveal

NAMES = sorted(MAKERS)
DTYPES = {torch.float64: "f32", torch.int64: "i64"}
FEWER = settings(max_examples=40, deadline=None, derandomize=True)
MANY = settings(max_examples=120, deadline=None, derandomize=True)

SAME_REFUSALS = {
    "conv", "conv_transpose", "max_pool", "avg_pool", "adaptive_avg_pool", "resize", "matmul",
    "pixel_shuffle", "pixel_unshuffle", "concat", "permute", "reshape", "flatten", "unfold", "fold",
}  # fmt: skip
"""Operators that accept exactly what torch accepts, on the operands that the strategies draw."""

ARRAYS = {"per_channel", "center_feature_scale"}
"""Operators with operands that are arrays, whose sizes are never symbols."""

FORMULAS = {"dcnv3_core"}
"""Operators whose published count is not one of torch's: tests of their own say what it is."""


def _features(case: Case) -> tuple[Feature, ...]:
    answer = case.op.infer(*case.inputs)
    return (answer,) if isinstance(answer, Feature) else answer


def _refusal(op: Op, inputs: tuple[Feature, ...]) -> RuleError | None:
    """How an operator refuses operands before their sizes are known."""
    try:
        op.infer(*inputs)
        list(op.requirements(*inputs))
    except RuleError as refusal:
        return refusal
    return None


def test_every_operator_has_a_strategy() -> None:
    assert set(MAKERS) == {name for name in OPS if name not in INTERNAL}


@pytest.mark.parametrize("name", NAMES)
@MANY
@given(data=st.data())
def test_shape_rule_is_that_of_torch(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    accepted = accepts(case)
    if not accepted and name not in SAME_REFUSALS:
        assume(False)
    try:
        layer = reference.positive(reference.module(case.op, *case.inputs), 0, torch.float64)
        results = reference.run(case.op, reference.operands(case.op, case.inputs, 0), layer)
    except (RuntimeError, ValueError, RuleError) as refusal:
        note(str(refusal))
        assert not accepted
        return
    if not accepted:
        assert any(0 in result.shape for result in results)
        return
    expected = [Feature(tuple(r.shape), DTYPES[r.dtype]) for r in results]  # type: ignore[arg-type]
    assert list(_features(case)) == expected
    assert len(case.op.results) == len(expected)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ARRAYS])
@MANY
@given(data=st.data())
def test_symbols_give_what_numbers_give(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    hidden, values = hide(case.inputs)
    assume(values)
    refusal = _refusal(case.op, hidden)
    if refusal is not None:
        note(refusal.message)
        # A -1 beside sizes that are not known is refused; all else does not depend on them.
        assert refusal.code == "E2010" or not accepts(case)
        return
    symbolic = case.op.infer(*hidden)
    needs = list(case.op.requirements(*hidden))
    for _ in range(3):
        here = tuple(reveal(feature, values) for feature in hidden)
        concrete = Case(case.op, here)
        assert all(holds(need, values) for need in needs) == accepts(concrete)
        if accepts(concrete):
            outs = (symbolic,) if isinstance(symbolic, Feature) else symbolic
            assert tuple(reveal(out, values) for out in outs) == _features(concrete)
        values = {key: data.draw(st.integers(2, 24), label=key) for key in values}


@pytest.mark.parametrize("name", NAMES)
@FEWER
@given(data=st.data())
def test_arrays_are_those_of_torch(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    assume(accepts(case))
    layer = reference.module(case.op, *case.inputs)
    params = case.op.params(*case.inputs)
    if layer is None:
        assert not params
        return
    state = {key: tuple(tensor.shape) for key, tensor in layer.state_dict().items()}
    assert list(state.items()) == [(key, param.shape) for key, param in params.items()]
    learned = {key for key, _ in layer.named_parameters()}
    assert learned == {key for key, param in params.items() if param.learned}
    whole = {key for key, t in layer.state_dict().items() if not t.is_floating_point()}
    assert whole == {key for key, param in params.items() if param.dtype == "i64"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FORMULAS])
@FEWER
@given(data=st.data())
def test_macs_are_half_of_torchs_flops(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    assume(accepts(case))
    layer = reference.positive(reference.module(case.op, *case.inputs), 0, torch.float64)
    inputs = reference.operands(case.op, case.inputs, 0)
    with FlopCounterMode(display=False) as counter:
        reference.run(case.op, inputs, layer)
    assert case.op.macs(*case.inputs) * 2 == counter.get_total_flops()


@pytest.mark.parametrize("name", ["conv", "conv_transpose", "linear"])
@FEWER
@given(data=st.data())
def test_fan_in_is_that_of_torch(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    assume(accepts(case))
    layer = reference.module(case.op, *case.inputs)
    assert layer is not None
    weight = layer.state_dict()["weight"]
    fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(weight)
    assert {param.fan_in for param in case.op.params(*case.inputs).values()} == {fan_in}
