"""Interpolation and sub-pixel moves in ONNX.

A factor becomes `scales` and a size `sizes`: they map pixels differently, but where the size is
the same multiple for every input, which becomes `scales` as well. `sizes` has four elements and
there is no `axes` attribute, which int8 models do not survive. The coordinate mode is `half_pixel`,
never `pytorch_half_pixel`, which is wrong where the result has one pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compiler.to_onnx.lower import emit
from compiler.to_onnx.site import Site
from segdsl.ops.resize import PixelShuffle, PixelUnshuffle, Resize
from segdsl.symbolic import Atom, Floor, Least, Product, Size, Symbol, evaluate, symbols
from segdsl.types import HEIGHT, WIDTH, Axis, Feature

AXES: tuple[Axis, Axis] = (HEIGHT, WIDTH)
PROBED = 4096
"""Where sizes are free, nearest is written as Resize if it picks torch's pixels for all accepted
inputs up to this size; for larger ones a pixel's neighbour may be picked."""

SAMPLE = 64
"""Where a factor is guessed, before it is proved: the first accepted size from here on."""

Indices = NDArray[np.int64]
TRUTH = Feature((1,), "bool")


@emit.register
def resize(op: Resize, site: Site, x: ir.Value, *like: ir.Value) -> ir.Value:
    if op.scale is None and site.x.shape == site.y.shape:
        return x
    if op.mode in ("nearest", "nearest_exact"):
        return _nearest(op, site, x, like)
    return site.add("Resize", x, *_target(op, site, x, like), given=_manner(op))


def _manner(op: Resize) -> dict[str, object]:
    """Antialiasing needs weights outside of the map left out, and another cubic kernel."""
    corners = "align_corners" if op.align_corners else "half_pixel"
    manner: dict[str, object] = {"coordinate_transformation_mode": corners}
    manner["mode"] = {"bilinear": "linear", "bicubic": "cubic"}[op.mode]
    if op.mode == "bicubic":
        manner["cubic_coeff_a"] = -0.5 if op.antialias else -0.75
    if op.antialias:
        manner |= {"antialias": 1, "exclude_outside": 1}
    return manner


def _target(
    op: Resize, site: Site, x: ir.Value, like: tuple[ir.Value, ...]
) -> tuple[ir.Value | None, ...]:
    """The inputs behind `x`: roi, scales, and sizes where the target is a size."""
    if op.scale is not None and any(_keeps_size(op, site, axis) for axis in AXES):
        return None, _kept(op, site, x)
    if op.scale is not None:
        return _scales(site, (float(_raised(op.factor(axis))) for axis in AXES))
    factors = [_factor(site, axis) for axis in AXES]
    if None not in factors:
        return _scales(site, (float(factor) for factor in factors if factor is not None))
    shape = site.y.shape
    if all(isinstance(size, int) for size in shape):
        return None, None, site.size_vector(shape, x, range(4))
    of = like[0] if like else x
    lead = of if like and site.types[1].batch == site.x.batch else x
    parts = site.size_parts(shape[:2], lead, (0, 1)) + site.size_parts(shape[2:], of, (2, 3))
    return None, None, site.join(*parts)


def _scales(site: Site, factors: Iterable[float]) -> tuple[ir.Value | None, ...]:
    return None, site.array(np.array([1.0, 1.0, *factors], np.float32))


def _factor(site: Site, axis: Axis) -> Fraction | None:
    """How many times larger the result is, where that is one number for all accepted sizes.

    Then `scales` and `sizes` map pixels alike, and factors are constants: ONNX Runtime keeps such
    a map in the blocked layout of the convolutions around it, and no Shape is computed. Only
    factors that f32 and a division by them hold exactly, so powers of two below one.
    """
    before, after = site.x.spatial(axis), site.y.spatial(axis)
    names = symbols(before) | symbols(after)
    if len(names) > 1:
        return None
    known = site.values.accepted.get(next(iter(names), ""))
    some = {name: (known.at_least(SAMPLE) if known is not None else None) for name in names}
    if None in some.values():
        return None
    n, m = (evaluate(size, {k: v for k, v in some.items() if v}) for size in (before, after))
    factor = Fraction(m, n)
    if factor.denominator & (factor.denominator - 1) or factor.numerator >= 1 << 16:
        return None
    if factor.denominator > 1 and factor.numerator > 1:
        return None
    equal = site.always_equal(after * factor.denominator, before * factor.numerator)
    return factor if equal else None


def _keeps_size(op: Resize, site: Site, axis: Axis) -> bool:
    """Whether an axis of several pixels may keep its size, as with the factor 1.2 and 3 pixels.

    Bilinearly torch then ignores the factor (pytorch/pytorch aten/src/ATen/native/UpSample.h,
    `compute_source_index_and_lambda`).
    """
    if op.mode != "bilinear" or op.antialias or op.align_corners or op.factor(axis) == 1:
        return False
    return any(n == m > 1 for n, m in _pairs(site, axis) or ((2, 2),))


def _kept(op: Resize, site: Site, x: ir.Value) -> ir.Value:
    """The four factors: 1 along an axis that keeps its size."""
    known = [
        1.0 if site.x.spatial(axis) == site.y.spatial(axis) else float(_raised(op.factor(axis)))
        for axis in AXES
    ]
    if all(isinstance(site.x.spatial(axis), int) for axis in AXES):
        return site.array(np.array([1.0, 1.0, *known], np.float32))
    found = [site.array(np.ones(2, np.float32))]
    for axis in AXES:
        factor = site.array(np.array([known[axis]], np.float32))
        if not isinstance(site.x.spatial(axis), int) and _keeps_size(op, site, axis):
            n = site.sizes(x, 2 + axis, 3 + axis)
            same = site.add("Equal", n, _out_vector(op, site, n, (), axis), to=TRUTH)
            one = site.array(np.ones(1, np.float32))
            factor = site.add("Where", same, one, factor, to=Feature((1,)))
        found.append(factor)
    return site.add("Concat", *found, axis=0, to=Feature((4,)))


def _raised(factor: Fraction) -> np.float32:
    """The factor as f32, rounded up: rounded down, floor(n*factor) would lose a pixel."""
    near = np.float32(factor.numerator / factor.denominator)
    return near if Fraction(float(near)) >= factor else np.nextafter(near, np.float32(np.inf))


def _nearest(op: Resize, site: Site, x: ir.Value, like: tuple[ir.Value, ...]) -> ir.Value:
    """Resize where it picks the pixels that torch picks, else a Gather per axis."""
    exact = op.mode == "nearest_exact"
    copied = exact and _copied(op, site)
    if not copied and all(_agrees(op, site, axis, exact) for axis in AXES):
        return site.add("Resize", x, *_target(op, site, x, like), given=_nearest_manner(exact))
    feature = site.x
    for axis in (WIDTH, HEIGHT):  # rows are copied whole, and pixels one by one: few rows first
        to = (site.y.height, feature.width) if axis == 0 else (feature.height, site.y.width)
        index = _picked(op, site, x, like, axis, exact)
        if index is not None:
            feature = feature.with_spatial(*to)
            x = site.add("Gather", x, index, to=feature, axis=2 + axis)
    return x


def _copied(op: Resize, site: Site) -> bool:
    """Whether a map of several pixels may keep both sizes in spite of a factor.

    ONNX Runtime then copies it, where nearest_exact reads other pixels.
    """
    if op.scale is None or all(op.factor(axis) == 1 for axis in AXES):
        return False
    largest = [
        max((n for n, m in _pairs(site, axis) or ((2, 2),) if n == m), default=0) for axis in AXES
    ]
    return min(largest) >= 1 and max(largest) > 1


def _nearest_manner(exact: bool) -> dict[str, object]:
    if exact:
        return {
            "mode": "nearest",
            "coordinate_transformation_mode": "half_pixel",
            "nearest_mode": "round_prefer_ceil",
        }
    return {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }


def _step(op: Resize, axis: Axis, before: int, after: int) -> np.float32:
    """Input pixels per output pixel as torch rounds them."""
    if op.scale is not None:
        pair = op.scale if isinstance(op.scale, tuple) else (op.scale, op.scale)
        return np.float32(1.0 / pair[axis])
    return np.float32(np.float32(before) / np.float32(after))


def torch_indices(before: int, after: int, step: np.float32, exact: bool) -> Indices:
    """The pixels that torch's nearest modes read, all in f32.

    Equal and doubled sizes ignore the factor, which shows where n*factor was rounded down
    (pytorch/pytorch aten/src/ATen/native/UpSample.h, `nearest_idx`; torch itself reads others on
    maps whose sides sum to more than 128, unless they are channels last).
    """
    if not exact and after in (before, 2 * before):
        return np.arange(after, dtype=np.int64) * before // after
    places = np.arange(after, dtype=np.float32) + np.float32(0.5 if exact else 0.0)
    found: Indices = np.floor(places * step).astype(np.int64)
    return np.minimum(found, before - 1)


def _onnx_indices(before: int, after: int, scale: np.float32, exact: bool) -> Indices:
    """The pixels that Resize reads; `scale` is output pixels per input pixel."""
    half = np.float32(0.5 if exact else 0.0)
    places = np.arange(after, dtype=np.float32) + half
    found: Indices = np.floor(places / scale - half + half).astype(np.int64)
    return np.clip(found, 0, before - 1)


def _agrees(op: Resize, site: Site, axis: Axis, exact: bool) -> bool:
    """Whether Resize picks torch's pixels, at the size or at all accepted ones up to `PROBED`."""
    before, after = site.x.spatial(axis), site.y.spatial(axis)
    if op.scale is None and before == after:
        return True
    pairs = _pairs(site, axis)
    scale = None if op.scale is None else float(_raised(op.factor(axis)))
    return pairs is not None and all(
        _same(n, m, float(_step(op, axis, n, m)), scale, exact) for n, m in pairs
    )


def _pairs(site: Site, axis: Axis) -> list[tuple[int, int]] | None:
    """The sizes before and after, for all accepted inputs up to `PROBED`; None: too many."""
    sizes = site.x.spatial(axis), site.y.spatial(axis)
    names = sorted(symbols(sizes[0]) | symbols(sizes[1]))
    if len(names) > 1:
        return None
    values = np.arange(1, PROBED + 1)
    known = site.values.accepted.get(names[0]) if names else None
    if known is not None:
        values = values[[n in known for n in range(1, PROBED + 1)]]
    table = dict.fromkeys(names, values if names else np.ones(1, np.int64))
    columns = np.broadcast_arrays(*(evaluated(size, table) for size in sizes))
    found = {(int(n), int(m)) for n, m in zip(*(c.reshape(-1) for c in columns), strict=True)}
    return sorted((n, m) for n, m in found if n > 0 and m > 0)


def evaluated(size: Size, values: Mapping[str, Indices]) -> Indices:
    """A size at many values of its symbols at once."""
    if isinstance(size, int):
        return np.array(size, np.int64)
    total: Indices = np.array(size.constant, np.int64)
    for atom, coefficient in size.terms:
        total = total + coefficient * _evaluated_atom(atom, values)
    return total


def _evaluated_atom(atom: Atom, values: Mapping[str, Indices]) -> Indices:
    match atom:
        case Symbol(name):
            return values[name]
        case Floor(inner, divisor):
            return evaluated(inner, values) // divisor
        case Least(left, right):
            return np.minimum(evaluated(left, values), evaluated(right, values))
        case Product(factors):
            found: Indices = np.prod(
                np.broadcast_arrays(*(evaluated(factor, values) for factor in factors)), axis=0
            )
            return found


@lru_cache(maxsize=1 << 17)
def _same(before: int, after: int, step: float, scale: float | None, exact: bool) -> bool:
    """Whether both read the same pixels; `scale` is the factor, None where sizes are given."""
    stated = np.float32(after) / np.float32(before) if scale is None else np.float32(scale)
    ours = torch_indices(before, after, np.float32(step), exact)
    return bool(np.array_equal(ours, _onnx_indices(before, after, np.float32(stated), exact)))


def _picked(
    op: Resize, site: Site, x: ir.Value, like: tuple[ir.Value, ...], axis: Axis, exact: bool
) -> ir.Value | None:
    """The indices along an axis; None where they are all of them, in order."""
    before, after = site.x.spatial(axis), site.y.spatial(axis)
    if isinstance(before, int) and isinstance(after, int):
        if op.scale is None and before == after:
            return None
        index = torch_indices(before, after, _step(op, axis, before, after), exact)
        return site.array(index)
    if op.scale is None and before == after:
        return None
    return _computed(op, site, x, like, axis, exact)


def _computed(
    op: Resize, site: Site, x: ir.Value, like: tuple[ir.Value, ...], axis: Axis, exact: bool
) -> ir.Value:
    """The formula of `torch_indices`, for sizes that are known when the network runs."""
    after = site.y.spatial(axis)
    n = site.sizes(x, 2 + axis, 3 + axis)
    m = _out_vector(op, site, n, like, axis)
    zero, one = (site.array(np.array(k, np.int64)) for k in (0, 1))
    end = site.whole("Squeeze", m, site.ints(0), shape=())
    numbers = site.whole("Range", zero, end, one, shape=(after,))
    places = site.cast(numbers, (after,))
    line = Feature((after,))
    if exact:
        places = site.add("Add", places, site.number(0.5), to=line)
    if op.scale is not None:
        step = site.number(float(_step(op, axis, 0, 0)))
    else:
        step = site.add("Div", site.cast(n, (1,)), site.cast(m, (1,)), to=Feature((1,)))
    floor = site.add("Floor", site.add("Mul", places, step, to=line), to=line)
    last = site.whole("Sub", n, site.ints(1), shape=(1,))
    found = site.whole("Min", site.cast(floor, (after,), "i64"), last, shape=(after,))
    if op.scale is None or exact or not _ignores_factor(op, site, axis):
        return found
    twice = site.whole("Mul", n, site.ints(2), shape=(1,))
    same, doubled = (site.add("Equal", m, other, to=TRUTH) for other in (n, twice))
    either = site.add("Or", same, doubled, to=TRUTH)
    grown = site.whole("Mul", numbers, n, shape=(after,))
    plain = site.whole("Div", grown, m, shape=(after,))
    return site.whole("Where", either, plain, found, shape=(after,))


def _ignores_factor(op: Resize, site: Site, axis: Axis) -> bool:
    """Whether equal or doubled sizes may occur at which torch does not read by the factor."""
    step = _step(op, axis, 0, 0)
    return any(
        m in (n, 2 * n)
        and not np.array_equal(
            torch_indices(n, m, step, False), _onnx_indices(n, m, np.float32(1 / step), False)
        )
        for n, m in _pairs(site, axis) or ((2, 2),)
    )


def _out_vector(
    op: Resize, site: Site, n: ir.Value, like: tuple[ir.Value, ...], axis: Axis
) -> ir.Value:
    """The size of the result along an axis, as a vector of one."""
    known = site.y.spatial(axis)
    if isinstance(known, int):
        return site.ints(known)
    if like:
        return site.sizes(like[0], 2 + axis, 3 + axis)
    factor = op.factor(axis)
    grown = site.whole("Mul", n, site.ints(factor.numerator), shape=(1,))
    return site.whole("Div", grown, site.ints(factor.denominator), shape=(1,))


@emit.register
def pixel_shuffle(op: PixelShuffle, site: Site, x: ir.Value) -> ir.Value:
    if op.r == 1:
        return x
    return site.add("DepthToSpace", x, blocksize=op.r, mode="CRD")


@emit.register
def pixel_unshuffle(op: PixelUnshuffle, site: Site, x: ir.Value) -> ir.Value:
    """SpaceToDepth puts the pixels of a block before the channels, torch the channels first."""
    if op.r == 1:
        return x
    blocks = site.add("SpaceToDepth", x, blocksize=op.r)
    if site.x.channels == 1:
        return blocks
    order = np.arange(site.y.channels).reshape(op.r * op.r, site.x.channels).T.reshape(-1)
    return site.add("Gather", blocks, site.array(order.astype(np.int64)), axis=1)
