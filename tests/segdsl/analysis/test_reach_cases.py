"""The verified cases of the receptive-field data: every interval, support and unused pixel."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdsl.analysis.reach.alignment import Centre
from segdsl.analysis.reach.concrete import Field, fields
from segdsl.analysis.reach.effective import effective
from segdsl.analysis.reach.support import pixel, ranges, supports, unused
from segdsl.analysis.reach.tables import centre_offset, reach
from segdsl.analysis.reach.wiring import wire, wire_at
from segdsl.types import Axis
from tests.support.reach_nets import FCN_HEAD, chain, fcn, graph_of, output_of, unet, vgg

DATA = json.loads((Path(__file__).parent / "data" / "receptive_fields.json").read_text())
CASES: dict[str, dict[str, Any]] = {case["id"]: case for case in DATA["verified_cases"]}
AXES: tuple[Axis, Axis] = (0, 1)

ASPP = "(x -> conv(4, 1))" + "".join(f" + (x -> conv(4, 3, pad={d}, dilation={d}))"
                                     for d in (6, 12, 18))  # fmt: skip
BODIES = {
    "border_floor_then_pad": "output y = x -> conv(4, 3, stride=2) -> conv(4, 3, pad=1)",
    "ceil_mode_dropped_window": "output y = x -> avg_pool(4, stride=4, pad=2, ceil=true)",
    "ceil_then_nearest_up_crop": "u = x -> max_pool(2, ceil=true) -> conv(4, 3, pad=1)"
    " -> resize(2x, mode=nearest)\n  output y = x + (u -> crop(like=x, offset=0))",
    "tconv_k2_s3_empty": "output y = x -> conv_transpose(4, 2, stride=3)",
    "tconv_k4_s2_p1": "output y = x -> conv_transpose(4, 4, stride=2, pad=1)",
    "tconv_k2_s2_then_k3": "output y = x -> conv_transpose(4, 2, stride=2) -> conv(4, 3, pad=1)",
    "nearest_x2_conv4same": "output y = x -> resize(2x, mode=nearest)"
    " -> conv(4, 4, pad=[1, 1, 2, 2])",
    "bilinear_x2_half_pixel": "output y = x -> resize(2x, mode=bilinear)",
    "bilinear_x4_half_pixel": "output y = x -> resize(4x, mode=bilinear)",
    "bilinear_align_corners_even": "output y = x -> resize(to=16, mode=bilinear,"
    " align_corners=true)",
    "interp_size_11": "output y = x -> resize(to=11, mode=nearest)",
    "nearest_down": "output y = x -> resize(to=3, mode=nearest)",
    "bilinear_down_quarter_holes": "output y = x -> resize(0.25, mode=bilinear)",
    "same_even_kernel": "output y = x -> conv(4, 4, pad=[1, 1, 2, 2])",
    "tf_same_stride2_odd": "output y = x -> conv(4, 3, stride=2, pad=1)",
    "misaligned_union_gap": "a = x -> slice(0, -8, axis=height) -> slice(0, -8, axis=width)\n"
    "  b = x -> slice(8, axis=height) -> slice(8, axis=width)\n  output y = a + b",
    "gridding_222": "output y = x -> conv(4, 3, pad=2, dilation=2)"
    " -> conv(4, 3, pad=2, dilation=2) -> conv(4, 3, pad=2, dilation=2)",
    "aspp_6_12_18": f"output y = {ASPP}",
    "global_pool_after_valid": "output y = x -> conv(4, 3, stride=2) -> global_avg_pool",
    "adaptive_10_4": "output y = x -> adaptive_avg_pool(4)",
    "dilated_maxpool_ceil": "output y = x -> max_pool(3, stride=2, pad=1, dilation=2, ceil=true)",
    "unet2_nearest": unet(2, "resize(2x, mode=nearest)"),
    "unet2_tconv3": unet(2, "conv_transpose(4, 3, stride=2, pad=1, output_pad=1)"),
    "fcn_small_deconv_crop": "output y = x -> conv(4, 3, pad=6) -> max_pool(2, ceil=true)"
    " -> max_pool(2, ceil=true) -> conv(4, 3) -> conv_transpose(4, 8, stride=4)"
    " -> crop(like=x, offset=3)",
    "max_unpool_value_and_index": "p = x -> conv(4, 3, pad=1) -> max_pool(2, indices=true)\n"
    "  output y = p.values -> conv(4, 3, pad=1) -> max_unpool(p.indices)",
    "plus_shape": "output y = (x -> conv(4, [1, 7], pad=[0, 3])) + (x -> conv(4, [7, 1], "
    "pad=[3, 0]))",
    "unet_original_valid": unet(4, "conv_transpose(4, 2, stride=2)", valid=True),
    "unet4_same_nearest": unet(4, "resize(2x, mode=nearest)"),
    "unet4_same_tconv4": unet(4, "conv_transpose(4, 4, stride=2, pad=1)"),
    "unet4_same_nearest_conv2": unet(4, "resize(2x, mode=nearest) -> conv(4, 2, pad=[0, 0, 1, 1])"),
    "fcn16s_voc": fcn(16, "written"),
    "fcn_fc7": chain([*vgg([2, 2, 3, 3, 3], 100, ceil=True), *FCN_HEAD]),
}
BEYOND = {"circular_pad", "patch_embed_window", "deformable_bounded"}
"""Cases with operators that the language does not have."""


def test_every_case_is_covered() -> None:
    assert set(BODIES) | BEYOND == set(CASES)


def listed(field: Field | None, ys: range) -> list[list[int] | None]:
    assert field is not None
    return [None if (found := field.at(y)) is None else list(found) for y in ys]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", [n for n in BODIES if n != "plus_shape"])
def test_intervals_at_the_size_of_the_case(name: str, axis: Axis) -> None:
    case = CASES[name]
    graph = graph_of(BODIES[name])
    size, value = case["input_size"], output_of(graph)
    concrete = fields(graph, {"H": size, "W": size})
    field = concrete.full(value, axis)
    assert field is not None
    outputs = len(field)
    assert outputs == case["output_size"]
    if "per_pixel_interval" in case:
        assert listed(field, range(outputs)) == case["per_pixel_interval"]
    for key in ("central_outputs", "centre_output"):
        for y, interval in case.get(key, {}).items():
            assert field.at(int(y)) == tuple(interval)
    for key, where in (("first_outputs", range(4)), ("last_outputs", range(outputs - 4, outputs))):
        if key in case:
            assert listed(field, where) == case[key]
    if "first_output" in case:
        ends = [list(field.at(0) or ()), list(field.at(outputs - 1) or ())]
        assert ends == [case["first_output"], case["last_output"]]


SETS = [n for n, c in CASES.items() if n in BODIES and isinstance(c["input_size"], int)
        and c["input_size"] <= 96]  # fmt: skip


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", SETS)
def test_support_sets_and_unused_pixels(name: str, axis: Axis) -> None:
    case = CASES[name]
    graph = graph_of(BODIES[name])
    size, value = case["input_size"], output_of(graph)
    wiring = wire_at(graph, {"H": size, "W": size})
    counts = [len(found) for found in supports(wiring, value, axis)]
    if "support_count" in case:
        assert counts == case["support_count"]
    if "interior_support_count" in case:
        assert counts[len(counts) // 2] == case["interior_support_count"]
    never = unused(wiring, [value], axis)
    mask = np.zeros(size, dtype=bool)
    mask[case["input_pixels_never_used"]] = True
    assert never == ranges(mask)


PHASED = [n for n in BODIES if "phase_period" in CASES[n]]


@pytest.mark.parametrize("name", PHASED)
def test_phases(name: str) -> None:
    case = CASES[name]
    graph = graph_of(BODIES[name])
    found = reach(graph).axis(output_of(graph), 0)
    assert (found.period, found.shift) == (case["phase_period"], case["input_shift_per_period"])
    assert found.by_phase is not None
    assert [list(ends or ()) for ends in found.by_phase] == case["interval_by_phase_relative_to_y0"]
    lengths = [hi - lo + 1 for lo, hi in filter(None, found.by_phase)]
    assert lengths == case["size_by_phase"]
    assert sorted({found.rf_min, found.rf_max}) == case["interior_sizes"]  # type: ignore[type-var]
    assert found.density == 1


def test_a_plus_is_no_product() -> None:
    case, graph = CASES["plus_shape"], graph_of(BODIES["plus_shape"])
    value = output_of(graph)
    wiring = wire_at(graph, {"H": 15, "W": 15})
    found = pixel(wiring, value, *case["output_pixel"])
    assert [list(found.rows or ()), list(found.cols or ())] == [case["rows"], case["cols"]]
    assert found.count == case["support_count"]
    table = reach(graph)
    assert not table.product(value)
    assert [table.axis(value, axis).rf_max for axis in AXES] == case["bbox"]


@pytest.mark.parametrize(
    ("down", "up", "name"),
    [
        ("conv(4, 3, stride=2, pad=1)", "resize(2x, mode=nearest)", "conv3s2p1_then_nearest_x2"),
        ("conv(4, 3, stride=2, pad=1)", "conv_transpose(4, 3, stride=2, pad=1, output_pad=1)",
         "conv3s2p1_then_tconv_k3_s2_p1_op1"),
        ("conv(4, 3, stride=2, pad=1)", "conv_transpose(4, 2, stride=2)",
         "conv3s2p1_then_tconv_k2_s2"),
        ("max_pool(2)", "resize(2x, mode=bilinear)", "pool2_then_bilinear_x2"),
        ("max_pool(2)", "conv_transpose(4, 3, stride=2, pad=1, output_pad=1)",
         "pool2_then_tconv_k3_s2_p1_op1"),
        ("conv(4, 3, stride=2, pad=[0, 0, 1, 1])", "resize(2x, mode=bilinear)",
         "conv3s2_same_upper_then_bilinear_x2"),
    ],
)  # fmt: skip
def test_alignment(down: str, up: str, name: str) -> None:
    offsets = {case["id"]: case["mean_centre_offset_px"] for case in DATA["alignment_cases"]}
    graph = graph_of(f"output y = x -> {down} -> {up}")
    table, value = reach(graph), output_of(graph)
    place = table.centres[0][value.node]
    assert isinstance(place, Centre)
    assert place.aligned
    assert place.low == Fraction(offsets[name])
    assert centre_offset(table.line(value, 0).local) == Fraction(offsets[name])  # type: ignore[arg-type]


@pytest.mark.parametrize("layers", [5, 10, 20, 40])
def test_effective_field_of_a_stack(layers: int) -> None:
    (case,) = DATA["cross_backend_cases"]
    graph = graph_of("output y = x" + " -> conv(4, 3, pad=1)" * layers)
    profile = effective(wire(graph), output_of(graph), 0).at(0)
    assert profile is not None
    assert len(profile.weights) == 2 * layers + 1
    assert profile.weights.sum() == pytest.approx(1)
    assert profile.std == pytest.approx(case["layers_std"][str(layers)], abs=5e-4)
    assert profile.widths[0.9545] == case["width_95_45"][str(layers)]
