"""How to write deformable sampling and random fields: an entry for each operator."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from segdsl.ops.terms import TERMS
from segdsl.types import Pair, Slot
from tests.support.refusals import make
from tests.support.written_calls import Draw
from tests.support.written_pool import (
    Live,
    NoOperandError,
    Offer,
    Pool,
    a_map,
    booleans,
    choice,
    divisors,
    entry,
    four,
    ints,
    learned,
    pick,
    rates,
    some,
    steps,
    window,
    words,
)

MOST_PIXELS = 300
"""Every pixel of a random field sends a message to every other one."""

LIMITS = choice([None, 0.5, 1.0, 2.5])


def _branch(pool: Pool, x: Live, channels: int, kernel: Pair, fields: dict[str, Any]) -> Live:
    """A map of the size of the result, as the layers make their offsets."""
    given = {key: fields[key] for key in ("stride", "pad", "dilation") if key in fields}
    (made,) = pool.put(Offer(make("conv", channels, kernel, **given), (x,)))
    return made


@entry("deform_conv")
def _deform_conv(draw: Draw, pool: Pool) -> Offer:
    x = a_map(draw, pool)
    groups, offsets = (draw(choice(divisors(x.known.channels))) for _ in range(2))
    fields = some(draw, stride=steps, pad=four | words, dilation=rates, offset_limit=LIMITS)
    kernel = window(draw, fields)
    points = offsets * kernel.height * kernel.width
    reads = [x, _branch(pool, x, 2 * points, kernel, fields)]
    if draw(booleans()):
        reads += pool.put(Offer(make("sigmoid"), (_branch(pool, x, points, kernel, fields),)))
    fields |= some(draw, bias=booleans()) | learned(draw, matrix=True)
    out = groups * draw(ints(1, 2))
    op = make("deform_conv", out, kernel, groups=groups, offset_groups=offsets, **fields)
    return Offer(op, tuple(reads))


@entry("dcnv3_core")
def _dcnv3_core(draw: Draw, pool: Pool) -> Offer:
    x = a_map(draw, pool)
    groups = draw(choice(divisors(x.known.channels)))
    centre = draw(booleans())
    fields = some(draw, stride=steps, pad=four | words, dilation=rates)
    fields.setdefault("pad", "valid")
    kernel = Pair(3, 3) if centre else window(draw, fields)
    points = groups * (kernel.height * kernel.width - centre)
    offset = _branch(pool, x, 2 * points, kernel, fields)
    mask = _branch(pool, x, points, kernel, fields)
    fields |= some(draw, offset_scale=choice([0.5, 1.0, 2.0]), offset_limit=LIMITS)
    fields |= some(draw, softmax=booleans())
    op = make("dcnv3_core", groups=groups, kernel=kernel, remove_center=centre, **fields)
    return Offer(op, (x, offset, mask))


@entry("center_feature_scale")
def _center_feature_scale(draw: Draw, pool: Pool) -> Offer:
    x = a_map(draw, pool)
    groups = draw(choice(divisors(x.known.channels)))
    same = [y for y in pool.live if _fits(x, y)]
    v = pick(draw, (y for y in same if y.known.channels == x.known.channels))
    f = pick(draw, same)
    weight, bias = pool.weight(groups, f.known.channels), pool.weight(groups)
    return Offer(make("center_feature_scale"), (x, v, f, weight, bias))


def _fits(x: Live, y: Live) -> bool:
    """Whether two maps of floats have one batch and one size, at any size."""
    if x.known.rank != 4 or y.known.rank != 4 or y.known.dtype != "f32":
        return False
    return all(x.free.shape[axis] == y.free.shape[axis] for axis in (0, 2, 3))


def _term(draw: Draw, channels: int) -> Any:
    name = draw(choice(sorted(TERMS)))
    term: Any = TERMS[name]
    fields = some(
        draw,
        norm=choice(["symmetric", "before", "after", "mean", None]),
        compat=choice([0.5, 2.0]) | st.just(tuple(0.5 + 0.25 * i for i in range(channels))),
    )
    width = choice([1.0, 2.5])
    if name == "gaussian":
        return term(draw(width), **fields)
    more = {"sigma": draw(width)} if name == "pairwise" else {"sxy": draw(width), "srgb": 1.5}
    return term(Slot(1), **more, **fields)


@entry("mean_field")
def _mean_field(draw: Draw, pool: Pool) -> Offer:
    """By windows or over all pairs; a lattice is an approximation of its own."""
    x = a_map(draw, pool)
    height, width = (int(str(size)) for size in x.known.shape[2:])
    channels = x.known.channels
    if height * width > MOST_PIXELS or channels < 2:
        raise NoOperandError
    terms = tuple(_term(draw, channels) for _ in range(draw(ints(1, 2))))
    guided = any(term.guide is not None for term in terms)
    reads = (x, pick(draw, (y for y in pool.live if _fits(x, y)))) if guided else (x,)
    fixed = x.free == x.known  # ONNX states a kernel over all pairs at a fixed size only
    methods = ["window", "exact"] if fixed else ["window"]
    fields: dict[str, Any] = {"method": draw(choice(methods))}
    if fields["method"] == "window":
        fields |= some(draw, window=choice([3, 5]), blur=choice([1, 2]))
    else:
        fields |= some(draw, tail=choice([0.0, 1e-9]))
    matrix = tuple(tuple(0.25 * (i == j) + 0.5 for j in range(channels)) for i in range(channels))
    fields |= some(draw, include_self=booleans(), mix=st.just(matrix), iterations=ints(1, 3))
    fields |= some(draw, unary_weight=choice([0.5, 2.0]))
    fields |= some(draw, given=choice(["logits", "energy", "proba"]))
    fields |= some(draw, start=choice(["softmax", "log_softmax"]))
    fields |= some(draw, returns=choice(["proba", "logits", "log_proba"]))
    if fields.get("given") == "proba":
        reads = (*pool.put(Offer(make("sigmoid"), reads[:1])), *reads[1:])
    return Offer(make("mean_field", terms, **fields), reads)
