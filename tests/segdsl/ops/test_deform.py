"""Deformable operators: shapes, counts, refusals, and where they read."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from segdsl.analysis.cost import macs
from segdsl.analysis.params import params
from segdsl.ops.base import Op, RuleError
from segdsl.ops.deform import Dcnv3Core, DeformConv
from segdsl.program import parse
from segdsl.taps import Displaced, Sliding
from segdsl.types import Axis, Feature, Pair, Sides, Window
from tests.support import deform_loops as loops
from tests.support.refusals import make

AXES: tuple[Axis, Axis] = (0, 1)


def core(**fields: object) -> Dcnv3Core:
    op = make("dcnv3_core", **fields)
    assert isinstance(op, Dcnv3Core)
    return op


def maps(channels: int, points: int, side: int = 8) -> tuple[Feature, Feature, Feature]:
    """A map, its offsets and its mask."""
    counts = (channels, 2 * points, points)
    return tuple(Feature((1, c, side, side)) for c in counts)  # type: ignore[return-value]


def test_points_run_column_by_column_without_the_centre() -> None:
    points = core(groups=1, kernel=Pair(3, 3), remove_center=True).points
    assert points == ((0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (1, 2), (2, 2))


@pytest.mark.parametrize("centre", [False, True])
def test_multiply_accumulates_are_the_published_formula(centre: bool) -> None:
    """5 per output position, point and channel: InternImage-T's first stage at 224x224."""
    points = 8 if centre else 9
    op = core(groups=4, remove_center=centre)
    assert op.macs(*maps(64, 4 * points, 56)) == 5 * 56 * 56 * points * 64


def test_the_sum_over_internimage_t_is_the_published_one() -> None:
    """0.09934848 G at 224x224 (InternImage-T; get_flops.py)."""
    stages = [(64, 4, 56), (128, 4, 28), (256, 18, 14), (512, 4, 7)]
    total = sum(
        depth * core(groups=c // 16).macs(*maps(c, 9 * c // 16, side)) for c, depth, side in stages
    )
    assert total == 99_348_480


def test_a_layer_has_the_names_and_counts_of_the_release() -> None:
    """The keys of InternImage-T's `levels.0.blocks.0.dcn`, in their order."""
    graph = parse(
        "seg 1\nnet T() {\n  input x: f32[N, 64, H, W]\n"
        "  output y = x -> dcnv3(kernel=3, groups=4, offset_scale=1.0) @dcn\n}\n"
    )
    found = {name: p.shape for name, p in params(graph).items()}
    assert list(found.items()) == [
        ("dcn.dw_conv.0.weight", (64, 1, 3, 3)),
        ("dcn.dw_conv.0.bias", (64,)),
        ("dcn.dw_conv.1.1.weight", (64,)),
        ("dcn.dw_conv.1.1.bias", (64,)),
        ("dcn.offset.weight", (72, 64)),
        ("dcn.offset.bias", (72,)),
        ("dcn.mask.weight", (36, 64)),
        ("dcn.mask.bias", (36,)),
        ("dcn.input_proj.weight", (64, 64)),
        ("dcn.input_proj.bias", (64,)),
        ("dcn.output_proj.weight", (64, 64)),
        ("dcn.output_proj.bias", (64,)),
    ]
    assert sum(macs(graph, {"N": 1, "H": 8, "W": 8}).values()) == 64 * (
        9 * 64 + (72 + 36) * 64 + 2 * 64 * 64 + 5 * 9 * 64
    )


def test_the_centre_scale_comes_first_as_in_internimage_h() -> None:
    graph = parse(
        "seg 1\nnet T() {\n  input x: f32[N, 320, H, W]\n  output y = x -> "
        "dcnv3(groups=10, dw_kernel=5, center_feature_scale=true) @dcn\n}\n"
    )
    found = list(params(graph).items())
    assert [(name, p.shape) for name, p in found[:3]] == [
        ("dcn.center_feature_scale_proj_weight", (10, 320)),
        ("dcn.center_feature_scale_proj_bias", (10,)),
        ("dcn.dw_conv.0.weight", (320, 1, 5, 5)),
    ]


@pytest.mark.parametrize(
    ("block", "names"),
    [
        ("DeformConvPack", ["weight", "conv_offset.weight", "conv_offset.bias"]),
        (
            "ModulatedDeformConvPack",
            ["weight", "bias", "conv_offset.weight", "conv_offset.bias"],
        ),
    ],
)
def test_packs_have_the_names_of_mmcv(block: str, names: list[str]) -> None:
    graph = parse(
        f"seg 1\nfrom std.dcn import {block}\nnet T() {{\n  input x: f32[N, 4, H, W]\n"
        f"  output y = x -> {block}(8, 3, pad=1) @conv2\n}}\n"
    )
    assert set(params(graph)) == {f"conv2.{name}" for name in names}
    channels = 18 if block == "DeformConvPack" else 27
    assert params(graph)["conv2.conv_offset.weight"].shape == (channels, 4, 3, 3)


def test_the_semantic_head_shares_its_convolutions() -> None:
    graph = parse(
        "seg 1\nfrom std.dcn import DeformSemanticHead\nnet T() {\n"
        "  input x: f32[N, 8, H, W] where H % 4 == 0, W % 4 == 0\n"
        "  p3 = x -> max_pool(2)\n  p4 = p3 -> max_pool(2)\n"
        "  output y = [x, p3, p4] -> DeformSemanticHead(5, channels=6) @head\n}\n"
    )
    assert len([node for node in graph.nodes() if node.op.name == "deform_conv"]) == 6
    assert params(graph)["head.score.weight"].shape == (5, 18, 1, 1)
    assert sum(1 for name in params(graph) if name.endswith("conv_offset.weight")) == 2


def test_unbounded_offsets_read_everything_and_nominally_a_window() -> None:
    x = maps(4, 18)
    for op in (core(groups=2), make("deform_conv", 4, Pair(3, 3), pad=Sides(1, 1, 1, 1))):
        taps = op.taps(0, 0, *x)
        assert taps == Sliding(window=Window(3, 1, 1, 1), also="offset")
        assert op.taps(1, 0, *x).tag == "offset"


def test_a_scale_spreads_the_nominal_points() -> None:
    taps = core(groups=2, offset_scale=2.0).taps(0, 0)
    assert (taps.at(5, 20, 20), taps.also) == ((3, 5, 7), "offset")
    half = core(groups=2, offset_scale=0.5).taps(0, 0)
    assert half.at(5, 20, 20) == (4, 5, 6)


def test_a_limit_widens_by_its_ceiling() -> None:
    taps = core(groups=2, offset_limit=1.5).taps(0, 0)
    assert taps.at(9, 20, 20) == (8, 9, 10)
    assert taps.beyond is not None
    assert taps.beyond.at(9, 20, 20) == tuple(range(6, 13))
    apart = Displaced(points=(Fraction(0), Fraction(9)), margin=Fraction(1))
    assert apart.indices(0) == [-1, 0, 1, 8, 9, 10]


def _rows_read(op: Op, y: int, axis: Axis, size: int) -> set[int]:
    """Rows (or columns) of x with a gradient from line `y` of the result, over many offsets.

    Offsets at their limits, on whole pixels and between them: the union is what can be read.
    """
    points = len(op.points) if isinstance(op, Dcnv3Core) else 9
    result = [n - 2 for n in (size, size)]
    found: set[int] = set()
    limit = float(op.offset_limit or 0)  # type: ignore[attr-defined]
    random_ = random.Random(y)
    trials = [*product((-limit, limit), repeat=2)]
    trials += [(random_.uniform(-limit, limit), random_.uniform(-limit, limit)) for _ in range(3)]
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1, 1, size, size))
    for first, second in trials:
        offset = np.zeros((1, 2 * points, *result))
        offset[:, 0::2], offset[:, 1::2] = first, second
        mask = np.ones((1, points, *result))
        upstream = np.zeros((1, 1, *result))
        np.moveaxis(upstream, 2 + axis, 0)[y] = 1.0
        if isinstance(op, Dcnv3Core):
            _, to = loops.dcnv3(op, x, offset, mask, upstream)
        else:
            assert isinstance(op, DeformConv)
            weight = np.abs(generator.normal(size=(1, 1, 3, 3))) + 0.5
            _, to = loops.deform_conv(op, x, offset, mask, weight, None, upstream)
        lines = np.moveaxis(np.abs(to.x), 2 + axis, 0).reshape(size, -1).max(1)
        found |= {int(i) for i in np.nonzero(lines > 1e-12)[0]}
    return found


@pytest.mark.parametrize("limit", [0.0, 0.5, 1.0, 1.75])
@pytest.mark.parametrize("name", ["deform_conv", "dcnv3_core", "scaled"])
def test_what_is_read_over_all_offsets_is_what_the_taps_say(name: str, limit: float) -> None:
    """The union of perturbations: a limit is sharp, and no pixel beyond it is ever read."""
    size = 7
    fields = {"pad": "valid", "offset_limit": limit}
    if name == "deform_conv":
        op = make("deform_conv", 1, Pair(3, 3), bias=False, **fields)
    else:
        scale = 2.0 if name == "scaled" else 1.0
        op = make("dcnv3_core", groups=1, offset_scale=scale, **fields)
    for axis in AXES:
        for y in (0, 3):
            taps = op.taps(0, axis).beyond
            assert taps is not None
            assert _rows_read(op, y, axis, size) == set(taps.at(y, size, size - 2))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"groups": 0}, "E2005"),
        ({"groups": 1, "offset_scale": float("nan")}, "E2005"),
        ({"groups": 1, "offset_scale": 1e9}, "E2009"),
        ({"groups": 1, "offset_limit": 1e4}, "E2009"),
        ({"groups": 1, "offset_limit": float("inf")}, "E2005"),
        ({"groups": 1, "kernel": Pair(2, 2)}, "E3009"),
        ({"groups": 1, "kernel": Pair(1, 1), "remove_center": True}, "E2017"),
        ({"groups": 1, "kernel": Pair(3, 5), "remove_center": True}, "E2017"),
        ({"groups": 1, "stride": Pair(0, 1)}, "E2005"),
        ({"groups": 1, "dilation": Pair(70_000, 1)}, "E2009"),
    ],
)
def test_wrong_arguments(fields: dict[str, object], code: str) -> None:
    with pytest.raises(RuleError) as caught:
        core(**fields)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("counts", "code", "blame"),
    [
        ((6, 72, 36), "E3001", "groups"),
        ((8, 36, 36), "E3018", 1),
        ((8, 72, 72), "E3018", 2),
    ],
)
def test_wrong_operands(counts: tuple[int, int, int], code: str, blame: str | int) -> None:
    inputs = [Feature((1, count, 8, 8)) for count in counts]
    with pytest.raises(RuleError) as caught:
        core(groups=4).infer(*inputs)
    assert (caught.value.code, caught.value.blame[0]) == (code, blame)
