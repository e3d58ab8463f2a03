"""How to write functions of values and arithmetic: an entry for each operator."""

from __future__ import annotations

from tests.support.refusals import make
from tests.support.written_calls import Draw
from tests.support.written_pool import (
    AXES,
    Live,
    Offer,
    Pool,
    a_map,
    any_rank,
    booleans,
    choice,
    entry,
    ints,
    pick,
    some,
    starts,
)


@entry("relu", "relu6", "silu", "hard_swish", "hard_sigmoid", "sigmoid", "tanh")
def _pointwise(draw: Draw, pool: Pool, name: str) -> Offer:
    return Offer(make(name), (any_rank(draw, pool),))


@entry("identity")
def _identity(draw: Draw, pool: Pool) -> Offer:
    return Offer(make("identity"), (pick(draw, pool.live),))


@entry("global_avg_pool")
def _global(draw: Draw, pool: Pool) -> Offer:
    return Offer(make("global_avg_pool"), (a_map(draw, pool),))


@entry("exp")
def _exp(draw: Draw, pool: Pool) -> Offer:
    """Of what lies in -1..1."""
    return Offer(make("exp"), pool.put(Offer(make("tanh"), (any_rank(draw, pool),))))


@entry("leaky_relu")
def _leaky(draw: Draw, pool: Pool) -> Offer:
    return Offer(make("leaky_relu", draw(choice([0.01, 0.2, -0.5, 1.5]))), (any_rank(draw, pool),))


@entry("gelu")
def _gelu(draw: Draw, pool: Pool) -> Offer:
    return Offer(make("gelu", approx=draw(choice([None, "tanh"]))), (any_rank(draw, pool),))


@entry("softmax", "log_softmax", "argmax")
def _mixing(draw: Draw, pool: Pool, name: str) -> Offer:
    x = any_rank(draw, pool)
    rank = x.known.rank
    named = AXES + (["space"] if name == "softmax" else [])
    axis = choice(named) if rank == 4 and draw(ints(0, 3)) else ints(-rank, rank - 1)
    return Offer(make(name, draw(axis)), (x,))


@entry("add", "sub", "mul", "div", "maximum", "minimum")
def _arithmetic(draw: Draw, pool: Pool, name: str) -> Offer:
    joins = name in ("maximum", "minimum")
    if not joins and draw(booleans()):
        x = pick(draw, pool.live)
        number, first = draw(choice([0.5, -1.5, 2.0, 3.25])), draw(booleans())
        if name == "div" and first:
            (x,) = _positive(pool, x)
        return Offer(make(name, number=number, number_first=first), (x,))
    x = any_rank(draw, pool)
    other = pick(draw, (y for y in pool.live if _joins(x, y, name in ("mul", "div"))))
    if name == "div":
        return Offer(make(name), (x, *_positive(pool, other)))
    return Offer(make(name), (x, other) if draw(booleans()) else (other, x))


def _positive(pool: Pool, x: Live) -> tuple[Live, ...]:
    """0.5 to 1.5: what may stand below a fraction."""
    if x.known.dtype != "f32":
        (x,) = pool.put(Offer(make("mul", number=0.125), (x,)))
    squashed = pool.put(Offer(make("sigmoid"), (x,)))
    return pool.put(Offer(make("add", number=0.5), squashed))


def _joins(x: Live, y: Live, gates: bool) -> bool:
    """Whether two values have equal sizes, but for axes of which one is 1 at any size."""
    if x.known.dtype != y.known.dtype or x.known.rank != y.known.rank:
        return False
    pairs = zip(x.known.shape, y.known.shape, x.free.shape, y.free.shape, strict=True)
    return all(
        a == b or (1 in (fa, fb) and (gates or axis != 1))
        for axis, (a, b, fa, fb) in enumerate(pairs)
    )


@entry("scale")
def _scale(draw: Draw, pool: Pool) -> Offer:
    init = choice([0.5, -2.0]) | starts
    fields = some(draw, per=choice(["channel", "all"]), init=init, train=booleans())
    return Offer(make("scale", **fields), (any_rank(draw, pool),))


@entry("per_channel")
def _per_channel(draw: Draw, pool: Pool) -> Offer:
    """The array of the channels of some map, which can then be read."""
    return Offer(make("per_channel"), (pool.weight(a_map(draw, pool).known.channels),))


@entry("dropout")
def _dropout(draw: Draw, pool: Pool) -> Offer:
    channels = draw(booleans())
    x = a_map(draw, pool) if channels else any_rank(draw, pool)
    return Offer(make("dropout", draw(choice([0.1, 0.5])), channels=channels), (x,))


@entry("drop_path")
def _drop_path(draw: Draw, pool: Pool) -> Offer:
    return Offer(make("drop_path", draw(choice([0.1, 0.5]))), (any_rank(draw, pool),))
