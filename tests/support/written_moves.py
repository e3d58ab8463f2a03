"""How to write what moves values, as resizing and cutting: an entry for each operator."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from segdsl.types import Pair
from tests.support.refusals import make
from tests.support.written_calls import Draw
from tests.support.written_pool import (
    AXES,
    Live,
    NoOperandError,
    Offer,
    Pool,
    a_map,
    alike,
    booleans,
    choice,
    divisors,
    entry,
    flat,
    four,
    ints,
    pick,
    rates,
    some,
    steps,
    window,
    words,
)

FACTORS = [0.25, 0.5, 1.0, 2.0, 3.0, 1.5, 0.75, 1 / 3, 2 / 3, 5 / 3, 0.4, 1.2]
MODES = ["nearest", "nearest_exact", "bilinear", "bicubic"]


@entry("resize")
def _resize(draw: Draw, pool: Pool) -> Offer:
    mode = draw(choice(MODES))
    smooth = mode in ("bilinear", "bicubic")
    option = draw(choice(["", "align_corners", "antialias"])) if smooth else ""
    fields: dict[str, Any] = {"mode": mode} | ({option: True} if option else {})
    x, form = a_map(draw, pool), draw(choice(["scale", "scales", "to", "like"]))
    if form == "like":
        offer = Offer(make("resize", **fields), (x, a_map(draw, pool, dtype=None)))
    elif form == "to":
        to = draw(st.builds(Pair, ints(1, 20), ints(1, 20)))
        offer = Offer(make("resize", to=to, **fields), (x,))
    else:
        factor = choice(FACTORS)
        scale = draw(factor) if form == "scale" else (draw(factor), draw(factor))
        offer = Offer(make("resize", scale, **fields), (x,))
    after = offer.op.infer(*(y.known for y in offer.reads))
    width = after.width  # type: ignore[union-attr]
    if mode == "bicubic" and form in ("scale", "scales") and after == x.known:
        raise NoOperandError  # ONNX Runtime copies the map: see test_disagreements.py
    if option == "antialias" and width == 1:  # torch is wrong there: see test_traps.py
        raise NoOperandError
    return offer


@entry("pixel_shuffle")
def _shuffle(draw: Draw, pool: Pool) -> Offer:
    r = draw(ints(1, 3))
    x = a_map(draw, pool)
    if x.known.channels % (r * r):
        (x,) = pool.put(Offer(make("conv", r * r, Pair(1, 1)), (x,)))
    return Offer(make("pixel_shuffle", r), (x,))


@entry("pixel_unshuffle")
def _unshuffle(draw: Draw, pool: Pool) -> Offer:
    return Offer(make("pixel_unshuffle", draw(ints(1, 2))), (a_map(draw, pool),))


@entry("concat")
def _concat(draw: Draw, pool: Pool) -> Offer:
    x = pick(draw, (x for x in pool.live if x.known.rank > 1))
    rank = x.known.rank
    at = draw(ints(0, rank - 1) if draw(ints(0, 2)) == 0 else st.just(1))
    axis = draw(choice([AXES[at], at, at - rank])) if rank == 4 else at

    def fits(y: Live) -> bool:
        if y.known.rank != rank or y.known.dtype != x.known.dtype:
            return False
        return all(y.known.shape[a] == x.known.shape[a] for a in range(rank) if a != at)

    others = [pick(draw, filter(fits, pool.live)) for _ in range(draw(ints(0, 3)))]
    return Offer(make("concat", axis=axis), (x, *others))


@entry("split")
def _split(draw: Draw, pool: Pool) -> Offer:
    x = pick(draw, (x for x in pool.live if x.known.rank > 1))
    rank = x.known.rank
    at = draw(choice([0, 1, 1, 1])) if rank == 4 else draw(ints(0, rank - 1))
    whole = x.known.shape[at]
    assert isinstance(whole, int)
    axis = draw(choice([AXES[at], at, at - rank])) if rank == 4 else draw(choice([at, at - rank]))
    if draw(booleans()):
        return Offer(make("split", draw(choice(divisors(whole)[:4])), axis=axis), (x,))
    first = draw(ints(1, whole))
    parts = (first,) if first == whole else (first, whole - first)
    return Offer(make("split", parts, axis=axis), (x,))


@entry("slice")
def _slice(draw: Draw, pool: Pool) -> Offer:
    x = pick(draw, (x for x in pool.live if x.known.rank > 1))
    rank = x.known.rank
    at = draw(ints(0, rank - 1))
    axis = draw(choice([AXES[at], at, at - rank])) if rank == 4 else draw(choice([at, at - rank]))
    stop = draw(st.none() | ints(-2, 6))
    return Offer(make("slice", draw(ints(-4, 3)), stop, axis=axis, step=draw(ints(1, 3))), (x,))


@entry("crop")
def _crop(draw: Draw, pool: Pool) -> Offer:
    x = a_map(draw, pool, dtype=None)
    form = draw(choice(["like", "to", "auto"]))
    if form == "auto" and x.name == "image":  # behind a pool of everything there is no offset
        k = draw(st.builds(Pair, choice([1, 3, 5]), choice([1, 3])))
        like = pool.put(Offer(make("conv", draw(ints(1, 4)), k), (x,)))
        op = make("crop", offset=Pair(k.height // 2, k.width // 2))
        return Offer(op, (x, *like), {"offset": "auto"})
    offset = draw(st.just("centre") | st.builds(Pair, ints(0, 2), ints(0, 2)))
    if form == "like":
        return Offer(make("crop", offset=offset), (x, a_map(draw, pool, dtype=None)))
    to = draw(st.builds(Pair, ints(1, 8), ints(1, 8)))
    return Offer(make("crop", to=to, offset=offset), (x,))


@entry("pad")
def _pad(draw: Draw, pool: Pool) -> Offer:
    mode = draw(choice(["zeros", "reflect", "replicate", "constant"]))
    fields: dict[str, Any] = {"mode": mode}
    if mode == "constant":
        fields["value"] = draw(choice([0.5, -2.0]))
    x = a_map(draw, pool)
    if draw(booleans()):
        return Offer(make("pad", draw(four), **fields), (x,))
    return Offer(make("pad", **fields), (x, a_map(draw, pool, dtype=None)))


@entry("pad_to_multiple")
def _pad_to_multiple(draw: Draw, pool: Pool) -> Offer:
    mode = draw(choice(["zeros", "reflect", "replicate"]))
    m = draw(st.builds(Pair, ints(1, 8), ints(1, 8)))
    return Offer(make("pad_to_multiple", m, mode=mode), (a_map(draw, pool),))


@entry("matmul")
def _matmul(draw: Draw, pool: Pool) -> Offer:
    """A product of a matrix with its transpose, or with a third: attention in either order."""
    if draw(ints(0, 4)) == 0:
        x = a_map(draw, pool)
        turned = pool.put(Offer(make("permute", (0, 1, 3, 2)), (x,)))
        return Offer(make("matmul"), (x, *turned))
    x = flat(draw, pool)
    order = (1, 0) if x.known.rank == 2 else (0, 2, 1)
    turned = pool.put(Offer(make("permute", order), (x,)))
    pair = (x, *turned) if draw(booleans()) else (*turned, x)
    return Offer(make("matmul"), pair)


@entry("reshape")
def _reshape(draw: Draw, pool: Pool) -> Offer:
    x = a_map(draw, pool)
    groups = draw(choice(divisors(x.known.channels)))
    if draw(booleans()):
        forms = [(0, -1), (0, 0, -1), (0, groups, -1), (-1, 0, 0, 0), (0, groups, -1, 0)]
        return Offer(make("reshape", draw(choice(forms))), (x,))
    line = pool.put(Offer(make("flatten", (2, 3)), (x,)))
    return Offer(make("reshape", draw(choice([(0, 0), (0, groups, -1)]))), (*line, x))


@entry("permute")
def _permute(draw: Draw, pool: Pool) -> Offer:
    x = pick(draw, (x for x in pool.live if x.known.rank > 1))
    return Offer(make("permute", tuple(draw(st.permutations(range(x.known.rank))))), (x,))


@entry("flatten")
def _flatten(draw: Draw, pool: Pool) -> Offer:
    axes = draw(choice([None, (1, 2, 3), (2, 3), (1, 2), (0, 1), (2,), (3,)]))
    return Offer(make("flatten", axes), (a_map(draw, pool, dtype=None),))


def _patches(draw: Draw) -> dict[str, Any]:
    return some(draw, stride=steps, pad=alike | words, dilation=rates)


@entry("unfold")
def _unfold(draw: Draw, pool: Pool) -> Offer:
    fields = _patches(draw)
    return Offer(make("unfold", window(draw, fields), **fields), (a_map(draw, pool),))


@entry("fold")
def _fold(draw: Draw, pool: Pool) -> Offer:
    """Of the patches of a map, back to its size."""
    fields, like = _patches(draw), a_map(draw, pool)
    kernel = window(draw, fields)
    columns = pool.put(Offer(make("unfold", kernel, **fields), (like,)))
    if draw(booleans()):
        return Offer(make("fold", kernel, **fields), (*columns, like))
    height, width = like.known.shape[2:]
    to = Pair(int(str(height)), int(str(width)))
    return Offer(make("fold", kernel, to=to, **fields), columns)
