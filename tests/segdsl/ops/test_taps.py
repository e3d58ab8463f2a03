"""Taps against perturbation: bump one row or column of an operand and see which outputs move."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from segdsl.ops.base import Op
from segdsl.ops.pool import MaxUnpool
from segdsl.ops.resize import exact_factor
from segdsl.symbolic import symbol
from segdsl.taps import (
    Antialiased,
    Grouped,
    Interpolated,
    Nearest,
    Shifted,
    Sliding,
    Spread,
    Taps,
    Whole,
)
from segdsl.types import Axis, Feature, Pair, Sides, Window
from tests.support import torch_reference as reference
from tests.support.operator_cases import MAKERS, Case, accepts, cases
from tests.support.refusals import make

Support = list[set[int]]

NOT_MAPS = {"per_channel", "flatten", "unfold", "fold", "reshape", "permute"} | {
    *("deform_conv", "dcnv3_core", "center_feature_scale")
}
"""Operands or results need not be maps, or say where they read only when the network runs; what
they say of maps has tests of its own."""
TRIALS = {"max_unpool": 80, "argmax": 24, "minimum": 6, "maximum": 6}
NAMES = sorted(set(MAKERS) - NOT_MAPS)
AXES: tuple[Axis, Axis] = (0, 1)


def _dtype(op: Op) -> torch.dtype:
    # torch picks nearest neighbours in float32, the type of the network.
    nearest = getattr(op, "mode", "") in ("nearest", "nearest_exact")
    return torch.float32 if nearest else torch.float64


def _bumped(
    op: Op, inputs: list[Tensor], slot: int, axis: Axis, at: int, trial: int
) -> list[Tensor]:
    """The operands with one row or column of operand `slot` changed by random amounts."""
    x = inputs[slot].clone()
    rows = x.select(2 + axis, at)
    if x.dtype == torch.int64:
        other = reference.operands(op, _types(inputs), 1000 + trial)[slot]
        rows.copy_(other.select(2 + axis, at))
    else:
        sign = -1 if trial % 2 else 1
        generator = torch.Generator().manual_seed(trial)
        rows += sign * (1 + 2 * torch.rand(rows.shape, generator=generator, dtype=x.dtype))
    return [*inputs[:slot], x, *inputs[slot + 1 :]]


def _types(inputs: list[Tensor]) -> tuple[Feature, ...]:
    return tuple(
        Feature(tuple(x.shape), "i64" if x.dtype == torch.int64 else "f32") for x in inputs
    )


def _moved(before: Tensor, after: Tensor, axis: Axis) -> set[int]:
    change = (before - after).abs() > 1e-9
    lines = change.movedim(2 + axis, 0).flatten(1).any(1)
    return {i for i, moved in enumerate(lines.tolist()) if moved}


def support(case: Case, layer: nn.Module | None, slot: int, axis: Axis) -> Support:
    """For each output row (or column), the rows of operand `slot` that it depends on in torch."""
    dtype = _dtype(case.op)
    found: Support = []
    for trial in range(TRIALS.get(case.op.name, 2)):
        inputs = reference.operands(case.op, case.inputs, trial, dtype)
        base = reference.run(case.op, inputs, layer)
        found = found or [set() for _ in range(base[0].shape[2 + axis])]
        for at in range(inputs[slot].shape[2 + axis]):
            moved = reference.run(case.op, _bumped(case.op, inputs, slot, axis, at, trial), layer)
            for before, after in zip(base, moved, strict=True):
                for y in _moved(before, after, axis):
                    found[y].add(at)
    return found


def stated(case: Case, slot: int, axis: Axis, outputs: int) -> Support:
    """The same, as the operator states it."""
    taps = case.op.taps(slot, axis, *case.inputs)
    size = case.inputs[slot].spatial(axis)
    assert isinstance(size, int)
    return [
        {i for each in taps.dependences for i in each.at(y, size, outputs)} for y in range(outputs)
    ]


def _all_seen(case: Case, slot: int) -> bool:
    """Whether every dependence that is stated must show when an operand is bumped.

    Overlapping windows find the same maximum, and the last one written hides the others. An index
    moves within its window only, so a window of one pixel hides it.
    """
    op = case.op
    if not isinstance(op, MaxUnpool):
        return True
    apart = op.step[0] >= op.kernel[0] and op.step[1] >= op.kernel[1]
    moves = op.kernel[0] * op.kernel[1] > 1 and not any(op.sides) and not op.ceil
    return apart and (moves or op.operand_name(slot) == "x")


def _out(case: Case) -> Feature:
    answer = case.op.infer(*case.inputs)
    return answer if isinstance(answer, Feature) else answer[0]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_taps_are_what_torch_reads(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name).filter(accepts))
    out = _out(case)
    assume(out.rank == 4 and all(x.rank == 4 for x in case.inputs))
    assume(max(int(s) for s in out.shape[2:]) <= 16)  # type: ignore[arg-type]
    if name == "layer_norm":
        assume(case.inputs[0].channels > 2)
    if name in ("softmax", "log_softmax", "argmax") and case.op.axis in ("batch", 0, -4):  # type: ignore[attr-defined]
        assume(case.inputs[0].batch != 1)
    layer = reference.module(case.op, *case.inputs)
    layer = reference.positive(layer, 0, _dtype(case.op))
    for slot in range(len(case.inputs)):
        says = [stated(case, slot, axis, int(out.shape[2 + axis])) for axis in AXES]  # type: ignore[arg-type]
        if not any(says[0]) or not any(says[1]):
            # A window that lies wholly in the padding along one axis hides the other axis.
            says = [[set() for _ in told] for told in says]
        for axis in AXES:
            real = support(case, layer, slot, axis)
            note(f"slot {slot} axis {axis} {case.op.taps(slot, axis, *case.inputs)}")
            if _all_seen(case, slot):
                assert says[axis] == real
            assert all(r <= told for r, told in zip(real, says[axis], strict=True))


windows = st.builds(
    Window, st.integers(1, 6), st.integers(1, 4), st.integers(0, 3), st.integers(0, 3),
    st.integers(1, 3),
)  # fmt: skip
ratios = st.builds(Fraction, st.integers(1, 8), st.integers(1, 8))
forms: st.SearchStrategy[Taps] = st.one_of(
    st.builds(lambda w: Sliding(window=w), windows),
    st.builds(lambda w: Spread(window=w), windows),
    st.builds(lambda r, e: Nearest(ratio=r, exact=e), ratios, st.booleans()),
    st.builds(lambda r, k: Interpolated(ratio=r, reach=k), ratios, st.sampled_from([1, 2])),
    st.builds(lambda r, k: Antialiased(ratio=r, reach=k), ratios, st.sampled_from([1, 2])),
    st.builds(lambda o, s: Shifted(offset=o, step=s), st.integers(-5, 5), st.integers(1, 3)),
    st.builds(lambda f: Grouped(factor=f), st.integers(1, 5)),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(forms, st.integers(-20, 20))
def test_taps_advance_as_they_say(taps: Taps, y: int) -> None:
    assert taps.advance is not None
    out, into = taps.advance
    assert [i + into for i in taps.indices(y)] == list(taps.indices(y + out))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(forms)
def test_centres_are_the_mean_of_the_hulls(taps: Taps) -> None:
    assert taps.advance is not None
    assert taps.centre is not None
    ratio, offset = taps.centre
    phases = [taps.indices(y) for y in range(taps.advance[0])]
    assume(all(phases))
    if isinstance(taps, Spread):
        # Gaps between the taps make a hull lopsided; a kernel that fills its stride has none.
        assume(taps.window.dilation == 1)
    hulls = [Fraction(min(p) + max(p), 2) - ratio * y for y, p in enumerate(phases)]
    assert sum(hulls, Fraction(0)) / len(hulls) == offset
    assert ratio == Fraction(taps.advance[1], taps.advance[0])


def _map(height: object, width: object) -> Feature:
    return Feature((1, 2, height, width))  # type: ignore[arg-type]


def test_like_carries_no_value() -> None:
    x, like = _map(8, 8), _map(5, 6)
    for name, fields in {
        "resize": {"mode": "bilinear"},
        "crop": {"offset": "centre"},
        "max_unpool": {},
    }.items():
        op = make(name, **fields)
        inputs = (x, x, like) if name == "max_unpool" else (x, like)
        taps = op.taps(len(inputs) - 1, 0, *inputs)
        assert taps.tag == "size"
        assert taps.at(3, 5, 8) == ()


def test_symbolic_offsets_are_left_open() -> None:
    height = symbol("H")
    taps = make("crop", offset="centre").taps(0, 0, _map(height, 8), _map(symbol("K"), 8))
    assert taps == Shifted(offset=None)
    with pytest.raises(ValueError, match="given sizes"):
        taps.at(0, 9, 5)
    fixed = make("crop", offset="centre").taps(0, 0, _map(height, 8), _map(height - 5, 8))
    assert fixed == Shifted(offset=2)
    joined = make("concat", axis="height")
    assert joined.taps(1, 0, _map(height, 8), _map(4, 8)) == Shifted(offset=None)
    assert joined.taps(1, 0, _map(4, 8), _map(height, 8)) == Shifted(offset=-4)


def test_symbolic_resizes_and_bins_know_no_ratio() -> None:
    height = symbol("H")
    resize = make("resize", mode="bilinear").taps(0, 0, _map(height // 8, 8), _map(height, 64))
    assert resize.advance is None
    assert resize.at(0, 4, 32) == (0,)
    scaled = make("resize", 8.0, mode="bilinear").taps(0, 0, _map(height // 8, 8))
    assert scaled.advance == (8, 1)
    bins = make("adaptive_avg_pool", Pair(3, 1))
    assert bins.taps(0, 0, _map(height, 8)).tag == "adaptive"
    assert bins.taps(0, 0, _map(9, 8)) == Sliding(window=Window(3, 3))
    assert bins.taps(0, 1, _map(9, 8)) == Whole()


def test_tags() -> None:
    x, gate = _map(8, 8), _map(1, 1)
    assert make("mul").taps(1, 0, x, gate).tag == "gate"
    assert make("mul").taps(0, 0, x, gate).tag == "value"
    assert make("mul").taps(1, 0, gate, gate).tag == "value"
    assert make("group_norm", 2).taps(0, 0, x).also == "stat"
    assert make("global_avg_pool").taps(0, 0, x).tag == "stat"
    assert make("max_unpool").taps(1, 0, x, x).tag == "index"
    assert make("matmul").taps(1, 0, x, x).tag == "attend"


def test_padding_edges() -> None:
    x = _map(4, 4)
    sides = Sides(2, 0, 1, 0)
    zeros, mirror, clamp = (
        make("pad", sides, mode=mode).taps(0, 0, x) for mode in ("zeros", "reflect", "replicate")
    )
    assert [taps.at(0, 4, 7) for taps in (zeros, mirror, clamp)] == [(), (2,), (0,)]
    assert [taps.at(6, 4, 7) for taps in (zeros, mirror, clamp)] == [(), (2,), (3,)]


def _nearest(x: Tensor, **form: object) -> list[int]:
    """What torch reads along the last axis, checked to be the same along the other."""
    columns = torch.nn.functional.interpolate(x, **form)  # type: ignore[arg-type]
    turned = {
        key: tuple(reversed(value)) if isinstance(value, tuple) else value
        for key, value in form.items()
    }
    rows = torch.nn.functional.interpolate(x.transpose(2, 3), **turned)  # type: ignore[arg-type]
    assert torch.equal(rows.transpose(2, 3), columns)
    return columns[0, 0, 0].int().tolist()


@pytest.mark.parametrize("mode", ["nearest", "nearest_exact"])
def test_nearest_to_a_size_is_torchs_float32_rule(mode: str) -> None:
    differ = 0
    for before in range(1, 50):
        x = torch.arange(before, dtype=torch.float32).view(1, 1, 1, before)
        for after in (1, 7, 46, 74, 82, 94, 98, 110):
            taps = Nearest(ratio=Fraction(before, after), exact=mode == "nearest_exact")
            real = _nearest(x, size=(1, after), mode=mode.replace("_", "-"))
            assert [taps.at(y, before, after)[0] for y in range(after)] == real
            differ += [min(taps.indices(y)[0], before - 1) for y in range(after)] != real
    assert differ, "the rational rule must fail somewhere, or this shows nothing"


@pytest.mark.parametrize("mode", ["nearest", "nearest_exact"])
@pytest.mark.parametrize("scale", [1 / 3, 2 / 3, 5 / 3, 0.4, 1.2, 1.1, 2.7, 0.3, 2.125, 3.3])
def test_nearest_by_a_factor_is_torchs_float32_rule(mode: str, scale: float) -> None:
    taps = Nearest(ratio=1 / exact_factor(scale), exact=mode == "nearest_exact")
    for before in range(4, 60):
        x = torch.arange(before, dtype=torch.float32).view(1, 1, 1, before)
        real = _nearest(x, scale_factor=(1.0, scale), mode=mode.replace("_", "-"))
        assert [taps.at(y, before, len(real))[0] for y in range(len(real))] == real


def test_axes_that_mix() -> None:
    x = _map(4, 6)
    turned, kept = make("permute", (0, 1, 3, 2)), make("permute", (1, 0, 2, 3))
    assert turned.taps(0, 0, x) == Whole(tag="attend")
    assert kept.taps(0, 1, x) == Sliding()
    assert make("reshape", (0, 1, -1)).taps(0, 0, x) == Whole(tag="attend")
    assert make("reshape", (-1, 1, 0, 0)).taps(0, 0, x) == Sliding()
    assert make("flatten").taps(0, 1, x) == Whole(tag="attend")
    assert make("flatten", (1,)).taps(0, 1, x) == Sliding()
    assert make("unfold", Pair(2, 2)).taps(0, 0, x) == Whole(tag="attend")
    columns = Feature((1, 8, 15))
    fold = make("fold", Pair(2, 2))
    assert fold.taps(0, 0, columns, x) == Whole(tag="attend")
    assert fold.taps(1, 0, columns, x).tag == "size"
