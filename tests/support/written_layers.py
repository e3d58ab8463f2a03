"""How to write layers, pools and norms: an entry for each operator."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from segdsl.types import Pair
from tests.support.refusals import make
from tests.support.written_calls import Draw
from tests.support.written_pool import (
    Offer,
    Pool,
    a_map,
    alike,
    any_rank,
    booleans,
    choice,
    divisors,
    entry,
    four,
    ints,
    learned,
    rates,
    some,
    steps,
    window,
    words,
)


@entry("conv", "conv_transpose")
def _conv(draw: Draw, pool: Pool, name: str) -> Offer:
    x = a_map(draw, pool)
    groups = draw(choice(divisors(x.known.channels)))
    fields = some(draw, stride=steps, pad=four | words, dilation=rates, bias=booleans())
    if name == "conv_transpose":
        fields |= some(draw, output_pad=st.builds(Pair, ints(0, 2), ints(0, 2)))
    out = groups * draw(ints(1, max(1, 6 // groups)))
    op = make(
        name, out, window(draw, fields), groups=groups, **fields, **learned(draw, matrix=True)
    )
    return Offer(op, (x,))


@entry("linear")
def _linear(draw: Draw, pool: Pool) -> Offer:
    fields = some(draw, bias=booleans()) | learned(draw, matrix=True)
    return Offer(make("linear", draw(ints(1, 6)), **fields), (any_rank(draw, pool),))


def _pool(draw: Draw) -> dict[str, Any]:
    return some(draw, stride=steps, pad=alike | words, ceil=booleans())


@entry("max_pool")
def _max_pool(draw: Draw, pool: Pool) -> Offer:
    fields = _pool(draw) | some(draw, dilation=rates, indices=booleans())
    return Offer(make("max_pool", window(draw, fields), **fields), (a_map(draw, pool),))


@entry("avg_pool")
def _avg_pool(draw: Draw, pool: Pool) -> Offer:
    fields = _pool(draw) | some(draw, count_include_pad=booleans())
    return Offer(make("avg_pool", window(draw, fields), **fields), (a_map(draw, pool),))


@entry("max_unpool")
def _max_unpool(draw: Draw, pool: Pool) -> Offer:
    """Of a pool whose windows do not overlap: else two values may want one place."""
    fields, like = some(draw, pad=alike | words, ceil=booleans()), a_map(draw, pool)
    kernel = window(draw, fields)
    gaps = draw(st.builds(Pair, ints(0, 1), ints(0, 1)))
    stride = Pair(*(k + g for k, g in zip(kernel, gaps, strict=True)))
    fields |= some(draw, stride=st.just(stride))
    values, places = pool.put(Offer(make("max_pool", kernel, indices=True, **fields), (like,)))
    op = make("max_unpool", kernel=kernel, **fields)
    back = op.infer(values.known, places.known)
    if draw(booleans()):
        values = pool.put(Offer(make("tanh"), (values,)))[0]
    alone = back.shape[2:] == like.known.shape[2:] and draw(booleans())
    return Offer(op, (values, places) if alone else (values, places, like))


@entry("adaptive_avg_pool")
def _adaptive(draw: Draw, pool: Pool) -> Offer:
    bins = draw(st.builds(Pair, ints(1, 7), ints(1, 7)))
    return Offer(make("adaptive_avg_pool", bins), (a_map(draw, pool),))


@entry("bn")
def _bn(draw: Draw, pool: Pool) -> Offer:
    fields = some(draw, eps=choice([1e-3, 1e-5, 0.5]), affine=booleans(), frozen=booleans())
    fields |= some(draw, momentum=choice([0.1, 0.01])) | learned(draw)
    return Offer(make("bn", **fields), (a_map(draw, pool),))


@entry("layer_norm")
def _layer_norm(draw: Draw, pool: Pool) -> Offer:
    fields = some(draw, eps=choice([1e-6, 1e-3])) | learned(draw)
    return Offer(make("layer_norm", **fields), (any_rank(draw, pool),))


@entry("group_norm")
def _group_norm(draw: Draw, pool: Pool) -> Offer:
    x = a_map(draw, pool)
    fields = some(draw, eps=choice([1e-6, 1e-3])) | learned(draw)
    return Offer(make("group_norm", draw(choice(divisors(x.known.channels))), **fields), (x,))


@entry("lrn")
def _lrn(draw: Draw, pool: Pool) -> Offer:
    fields = some(draw, alpha=choice([0.5, 1e-2]), beta=choice([0.5, 1.0]), k=choice([0.5, 2.0]))
    return Offer(make("lrn", draw(ints(1, 5)), **fields), (a_map(draw, pool),))
