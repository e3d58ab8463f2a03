"""Random operators with operands they may or may not accept: one strategy per operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from segdsl.infer import requirements
from segdsl.ops.base import OPS, Op, RuleError
from segdsl.ops.operands import AXES
from segdsl.ops.window import out_size
from segdsl.types import Feature, Initialiser, Pair, Sides
from tests.support.refusals import make

Draw = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """An operator and the types of its operands."""

    op: Op
    inputs: tuple[Feature, ...]


Maker = Callable[[Draw], Case]
MAKERS: dict[str, Maker] = {}
INTERNAL = ("input", "output", "weight", "mean_field")
"""Operators that are no function of maps alone, with tests of their own."""

ints = st.integers
kernels = st.builds(Pair, ints(1, 5), ints(1, 5))
steps = st.builds(Pair, ints(1, 4), ints(1, 4))
rates = st.builds(Pair, ints(1, 3), ints(1, 3))
four = st.builds(Sides, ints(0, 3), ints(0, 3), ints(0, 3), ints(0, 3))
paddings = st.one_of(four, st.sampled_from(["same", "valid"]))


def both(high: int) -> st.SearchStrategy[Sides]:
    """Pads that are equal on opposite sides."""
    return st.builds(lambda h, w: Sides(h, w, h, w), ints(0, high), ints(0, high))


def shape(draw: Draw, channels: int | None = None, low: int = 1, high: int = 12) -> Feature:
    """A random map."""
    count = draw(ints(1, 6)) if channels is None else channels
    return Feature((draw(ints(1, 2)), count, draw(ints(low, high)), draw(ints(low, high))))


def maker(name: str) -> Callable[[Maker], Maker]:
    """Register the strategy of an operator."""

    def register(make: Maker) -> Maker:
        assert name in OPS, name
        MAKERS[name] = make
        return make

    return register


def cases(name: str) -> st.SearchStrategy[Case]:
    """Operators of this name that could be built, with operands."""

    @st.composite
    def build(draw: Draw) -> Case:
        try:
            return MAKERS[name](draw)
        except RuleError:
            assume(False)
            raise

    return build()


def accepts(case: Case) -> bool:
    """Whether the operator takes these (known) sizes."""
    try:
        case.op.infer(*case.inputs)
        left = requirements(case.op, case.inputs)
    except RuleError:
        return False
    assert not left, "sizes are known, so nothing can be left open"
    return True


@maker("conv")
def _conv(draw: Draw) -> Case:
    groups = draw(ints(1, 3))
    fields = {"stride": draw(steps), "pad": draw(paddings), "dilation": draw(rates)}
    out = groups * draw(ints(1, 3))
    op = make("conv", out, draw(kernels), groups=groups, bias=draw(st.booleans()), **fields)
    return Case(op, (shape(draw, groups * draw(ints(1, 3))),))


@maker("conv_transpose")
def _conv_transpose(draw: Draw) -> Case:
    groups = draw(ints(1, 3))
    fields = {"stride": draw(steps), "pad": draw(paddings), "dilation": draw(rates)}
    fields["output_pad"] = draw(st.builds(Pair, ints(0, 2), ints(0, 2)))
    out = groups * draw(ints(1, 3))
    op = make(
        "conv_transpose", out, draw(kernels), groups=groups, bias=draw(st.booleans()), **fields
    )
    return Case(op, (shape(draw, groups * draw(ints(1, 3)), high=6),))


@maker("linear")
def _linear(draw: Draw) -> Case:
    op = make("linear", draw(ints(1, 6)), bias=draw(st.booleans()))
    x = shape(draw)
    return Case(op, (Feature(x.shape[: draw(ints(2, 4))]),))


def _pool_fields(draw: Draw) -> dict[str, Any]:
    return {
        "stride": draw(st.none() | steps),
        "pad": draw(both(2) | st.sampled_from(["same", "valid"])),
        "ceil": draw(st.booleans()),
    }


@maker("max_pool")
def _max_pool(draw: Draw) -> Case:
    fields = _pool_fields(draw) | {"dilation": draw(rates), "indices": draw(st.booleans())}
    return Case(make("max_pool", draw(kernels), **fields), (shape(draw),))


@maker("avg_pool")
def _avg_pool(draw: Draw) -> Case:
    fields = _pool_fields(draw) | {"count_include_pad": draw(st.booleans())}
    return Case(make("avg_pool", draw(kernels), **fields), (shape(draw),))


@maker("max_unpool")
def _max_unpool(draw: Draw) -> Case:
    fields = _pool_fields(draw) | {"kernel": draw(kernels)}
    op = make("max_unpool", **fields)
    if draw(st.booleans()):
        x = shape(draw, high=5)
        return Case(op, (x, Feature(x.shape, "i64")))
    like = shape(draw)
    made = make("max_pool", **fields).infer(like)
    assert isinstance(made, Feature)
    assume(all(isinstance(size, int) and size > 0 for size in made.shape))
    return Case(op, (made, Feature(made.shape, "i64"), like))


@maker("adaptive_avg_pool")
def _adaptive(draw: Draw) -> Case:
    bins = draw(st.builds(Pair, ints(1, 7), ints(1, 7)))
    return Case(make("adaptive_avg_pool", bins), (shape(draw),))


@maker("bn")
def _bn(draw: Draw) -> Case:
    frozen = draw(st.booleans())
    affine = frozen or draw(st.booleans())
    return Case(make("bn", frozen=frozen, affine=affine), (shape(draw),))


@maker("layer_norm")
def _layer_norm(draw: Draw) -> Case:
    x = shape(draw, draw(ints(3, 6)))
    return Case(make("layer_norm", eps=1e-6), (Feature(x.shape[: draw(ints(2, 4))]),))


@maker("group_norm")
def _group_norm(draw: Draw) -> Case:
    groups = draw(ints(1, 3))
    return Case(make("group_norm", groups), (shape(draw, groups * draw(ints(3, 4))),))


@maker("lrn")
def _lrn(draw: Draw) -> Case:
    return Case(make("lrn", draw(ints(1, 6)), alpha=draw(st.floats(0.01, 1.0))), (shape(draw),))


for _name in [
    "relu",
    "relu6",
    "silu",
    "hard_swish",
    "hard_sigmoid",
    "sigmoid",
    "tanh",
    "exp",
    "identity",
    "global_avg_pool",
]:

    @maker(_name)
    def _simple(draw: Draw, name: str = _name) -> Case:
        return Case(make(name), (shape(draw),))


@maker("leaky_relu")
def _leaky(draw: Draw) -> Case:
    return Case(make("leaky_relu", draw(st.floats(0.01, 0.9))), (shape(draw),))


@maker("gelu")
def _gelu(draw: Draw) -> Case:
    return Case(make("gelu", approx=draw(st.sampled_from([None, "tanh"]))), (shape(draw),))


def _along(name: str, names: list[str]) -> None:
    @maker(name)
    def mixing(draw: Draw) -> Case:
        x = shape(draw, draw(ints(2, 5)), low=2, high=8)
        x = Feature((2, *x.shape[1:]))
        if draw(st.booleans()):
            rank = draw(ints(2, 4))
            axis = draw(ints(-rank, rank - 1))
            return Case(make(name, axis), (Feature(x.shape[:rank]),))
        return Case(make(name, draw(st.sampled_from(names))), (x,))


_along("softmax", ["batch", "channels", "height", "width", "space"])
_along("log_softmax", ["batch", "channels", "height", "width"])
_along("argmax", ["batch", "channels", "height", "width"])


for _name in ["add", "sub", "mul", "div", "maximum", "minimum"]:

    @maker(_name)
    def _binary(draw: Draw, name: str = _name) -> Case:
        x = shape(draw)
        if draw(st.booleans()):
            number = draw(st.floats(0.1, 0.9))
            return Case(make(name, number=number, number_first=draw(st.booleans())), (x,))
        channels = 1 if OPS[name].gates else x.channels  # type: ignore[attr-defined]
        other = tuple(
            draw(st.sampled_from([size, channels if axis == 1 else 1]))
            for axis, size in enumerate(x.shape)
        )
        pair = (x, Feature(other))
        return Case(make(name), pair if draw(st.booleans()) else pair[::-1])


@maker("scale")
def _scale(draw: Draw) -> Case:
    init = draw(st.sampled_from([1.0, 0.5, Initialiser("ones")]))
    op = make("scale", per=draw(st.sampled_from(["channel", "all"])), init=init)
    return Case(op, (Feature(shape(draw).shape[: draw(ints(2, 4))]),))


@maker("per_channel")
def _per_channel(draw: Draw) -> Case:
    return Case(make("per_channel"), (Feature((draw(ints(1, 6)),)),))


@maker("dropout")
def _dropout(draw: Draw) -> Case:
    return Case(make("dropout", 0.5, channels=draw(st.booleans())), (shape(draw),))


@maker("drop_path")
def _drop_path(draw: Draw) -> Case:
    return Case(make("drop_path", draw(st.floats(0, 0.9))), (shape(draw),))


FACTORS = [0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 1.5, 0.75, 1 / 3, 2 / 3, 5 / 3, 0.4, 1.2]


@maker("resize")
def _resize(draw: Draw) -> Case:
    mode = draw(st.sampled_from(["nearest", "nearest_exact", "bilinear", "bicubic"]))
    smooth = mode in ("bilinear", "bicubic")
    option = draw(st.sampled_from(["", "align_corners", "antialias"])) if smooth else ""
    fields: dict[str, Any] = {"mode": mode} | ({option: True} if option else {})
    form = draw(st.sampled_from(["scale", "scales", "to", "like"]))
    x = shape(draw)
    factors = st.sampled_from(FACTORS)
    if form == "like":
        return Case(make("resize", **fields), (x, shape(draw, high=20)))
    if form == "to":
        to = draw(st.builds(Pair, ints(1, 20), ints(1, 20)))
        return Case(make("resize", to=to, **fields), (x,))
    scale = draw(factors) if form == "scale" else (draw(factors), draw(factors))
    return Case(make("resize", scale, **fields), (x,))


@maker("pixel_shuffle")
def _shuffle(draw: Draw) -> Case:
    r = draw(ints(1, 3))
    return Case(make("pixel_shuffle", r), (shape(draw, r * r * draw(ints(1, 2)), high=6),))


@maker("pixel_unshuffle")
def _unshuffle(draw: Draw) -> Case:
    return Case(make("pixel_unshuffle", draw(ints(1, 3))), (shape(draw),))


@maker("concat")
def _concat(draw: Draw) -> Case:
    axis = draw(st.sampled_from(["batch", "channels", "height", "width", 0, 1, -2, -1]))
    x = shape(draw, high=7)
    at = axis if isinstance(axis, int) else AXES.index(axis)
    others = []
    for _ in range(draw(ints(0, 3))):
        sizes = list(x.shape)
        sizes[at] = draw(ints(1, 5))
        others.append(Feature(tuple(sizes)))
    return Case(make("concat", axis=axis), (x, *others))


@maker("split")
def _split(draw: Draw) -> Case:
    axis = draw(st.sampled_from(["batch", "channels", 1, -3]))
    if draw(st.booleans()):
        parts = draw(ints(1, 3))
        whole = parts * draw(ints(1, 3))
        op = make("split", parts, axis=axis)
    else:
        sizes = tuple(draw(st.lists(ints(1, 4), min_size=1, max_size=4)))
        whole = sum(sizes)
        op = make("split", sizes, axis=axis)
    x = shape(draw, whole)
    return Case(op, (Feature((whole, *x.shape[1:])) if axis == "batch" else x,))


@maker("slice")
def _slice(draw: Draw) -> Case:
    axis = draw(st.sampled_from(["batch", "channels", "height", "width", 1, -1]))
    stop = draw(st.none() | ints(-3, 8))
    op = make("slice", draw(ints(-4, 4)), stop, axis=axis, step=draw(ints(1, 3)))
    return Case(op, (shape(draw),))


@maker("crop")
def _crop(draw: Draw) -> Case:
    offset = draw(st.just("centre") | st.builds(Pair, ints(0, 4), ints(0, 4)))
    x = shape(draw)
    if draw(st.booleans()):
        return Case(make("crop", offset=offset), (x, shape(draw, high=8)))
    to = draw(st.builds(Pair, ints(1, 8), ints(1, 8)))
    return Case(make("crop", to=to, offset=offset), (x,))


@maker("pad")
def _pad(draw: Draw) -> Case:
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "constant"]))
    fields = {"mode": mode} | ({"value": draw(st.floats(-2, 2))} if mode == "constant" else {})
    x = shape(draw)
    if draw(st.booleans()):
        return Case(make("pad", draw(four), **fields), (x,))
    return Case(make("pad", **fields), (x, shape(draw, high=16)))


@maker("pad_to_multiple")
def _pad_to_multiple(draw: Draw) -> Case:
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate"]))
    m = draw(st.builds(Pair, ints(1, 8), ints(1, 8)))
    return Case(make("pad_to_multiple", m, mode=mode), (shape(draw),))


@maker("matmul")
def _matmul(draw: Draw) -> Case:
    batch = tuple(draw(ints(1, 3)) for _ in range(draw(ints(0, 2))))
    n, k, m = (draw(ints(1, 5)) for _ in range(3))
    return Case(make("matmul"), (Feature((*batch, n, k)), Feature((*batch, k, m))))


@maker("reshape")
def _reshape(draw: Draw) -> Case:
    groups = draw(ints(1, 3))
    x = shape(draw, groups * draw(ints(1, 4)), high=6)
    written = draw(
        st.sampled_from([(0, -1), (0, 0, -1), (0, groups, -1), (-1, 0, 0, 0), (0, groups, -1, 0)])
    )
    if draw(st.booleans()):
        return Case(make("reshape", written), (x,))
    flat = Feature((x.shape[0], x.shape[1], x.shape[2] * x.shape[3]))
    return Case(make("reshape", draw(st.sampled_from([(0, 0), (0, groups, -1)]))), (flat, x))


@maker("permute")
def _permute(draw: Draw) -> Case:
    rank = draw(ints(2, 4))
    order = tuple(draw(st.permutations(range(rank))))
    return Case(make("permute", order), (Feature(shape(draw).shape[:rank]),))


@maker("flatten")
def _flatten(draw: Draw) -> Case:
    axes = draw(st.sampled_from([None, (1, 2, 3), (2, 3), (1, 2), (0, 1), (2,), (3,)]))
    return Case(make("flatten", axes), (shape(draw, high=6),))


def _patch_fields(draw: Draw) -> dict[str, Any]:
    return {"stride": draw(steps), "pad": draw(both(2)), "dilation": draw(rates)}


@maker("unfold")
def _unfold(draw: Draw) -> Case:
    return Case(make("unfold", draw(kernels), **_patch_fields(draw)), (shape(draw),))


@maker("fold")
def _fold(draw: Draw) -> Case:
    kernel, fields, like = draw(kernels), _patch_fields(draw), shape(draw)
    columns = make("unfold", kernel, **fields).infer(like)
    assert isinstance(columns, Feature)
    assume(isinstance(columns.shape[2], int) and columns.shape[2] > 0)
    if draw(st.booleans()):
        return Case(make("fold", kernel, **fields), (columns, like))
    to = Pair(int(like.shape[2]), int(like.shape[3]))  # type: ignore[arg-type]
    return Case(make("fold", kernel, to=to, **fields), (columns,))


def _moved(draw: Draw, op: Op, x: Feature, points: int, *, mask: bool) -> Case:
    """A deformable operator on `x` with an offset map (and a mask) of the size of its result."""
    window = [op.nominal(axis) for axis in (0, 1)]  # type: ignore[attr-defined]
    sizes = [out_size(x.spatial(axis), window[axis]) for axis in (0, 1)]
    assume(all(isinstance(size, int) and size > 0 for size in sizes))
    if draw(ints(0, 9)) == 0:
        sizes[draw(ints(0, 1))] += 1
    maps = [Feature((x.batch, c * points, *sizes)) for c in (2, 1)[: 1 + mask]]
    return Case(op, (x, *maps))


limits = st.none() | st.sampled_from([0.0, 0.25, 1.0, 1.5])


@maker("deform_conv")
def _deform_conv(draw: Draw) -> Case:
    groups, parts = draw(ints(1, 2)), draw(ints(1, 2))
    fields = {"stride": draw(steps), "pad": draw(paddings), "dilation": draw(rates)}
    fields |= {"groups": groups, "offset_groups": parts, "offset_limit": draw(limits)}
    kernel = draw(kernels)
    op = make("deform_conv", groups * draw(ints(1, 2)), kernel, bias=draw(st.booleans()), **fields)
    x = shape(draw, groups * parts * draw(ints(1, 2)), high=8)
    return _moved(draw, op, x, parts * kernel[0] * kernel[1], mask=draw(st.booleans()))


@maker("dcnv3_core")
def _dcnv3_core(draw: Draw) -> Case:
    groups, centre = draw(ints(1, 3)), draw(st.booleans())
    kernel = Pair(3, 3) if centre else draw(kernels)
    fields = {"stride": draw(steps), "pad": draw(paddings), "dilation": draw(rates)}
    fields |= {"offset_scale": draw(st.sampled_from([0.5, 1.0, 2.0]))}
    fields |= {"softmax": draw(st.booleans()), "offset_limit": draw(limits)}
    op = make("dcnv3_core", groups=groups, kernel=kernel, remove_center=centre, **fields)
    x = shape(draw, groups * draw(ints(1, 3)), high=8)
    return _moved(draw, op, x, groups * len(op.points), mask=True)


@maker("center_feature_scale")
def _center_feature_scale(draw: Draw) -> Case:
    groups, features = draw(ints(1, 3)), draw(ints(1, 4))
    x = shape(draw, groups * draw(ints(1, 3)))
    arrays = (Feature((groups, features)), Feature((groups,)))
    return Case(make("center_feature_scale"), (x, x, x.with_channels(features), *arrays))
