"""Putting maps together and taking them apart in ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from compiler.to_onnx.lower import emit
from compiler.to_onnx.site import Site, static
from segdsl.ops.combine import Concat, Crop, Pad, PadToMultiple, Slice, Split
from segdsl.ops.operands import axis_index
from segdsl.types import HEIGHT, WIDTH, Feature

END = 2**63 - 1
"""A slice up to here goes to the end of the axis."""

PAD_MODES = {
    "zeros": "constant",
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
}
"""ONNX's names of the modes."""


@emit.register
def concat(op: Concat, site: Site, *inputs: ir.Value) -> ir.Value:
    if len(inputs) == 1:
        return inputs[0]
    return site.add("Concat", *inputs, axis=axis_index(op.axis, site.x.rank))


@emit.register
def split(op: Split, site: Site, x: ir.Value) -> tuple[ir.Value, ...]:
    axis = axis_index(op.axis, site.x.rank)
    if len(site.results) == 1:
        return (x,)
    if isinstance(op.parts, int):
        return tuple(site.add_all("Split", x, given={"axis": axis, "num_outputs": op.parts}))
    return tuple(site.add_all("Split", x, site.ints(*op.parts), given={"axis": axis}))


@emit.register
def slice_(op: Slice, site: Site, x: ir.Value) -> ir.Value:
    if (op.start, op.stop, op.step) == (0, None, 1):
        return x
    axis = axis_index(op.axis, site.x.rank)
    stop = END if op.stop is None else op.stop
    return site.add("Slice", x, *(site.ints(n) for n in (op.start, stop, axis, op.step)))


@emit.register
def crop(op: Crop, site: Site, x: ir.Value, *like: ir.Value) -> ir.Value:
    """A Slice: with numbers where offset and rest are known, else with computed bounds."""
    before = [op.cut(axis, *site.types) for axis in (HEIGHT, WIDTH)]
    after = [site.x.spatial(a) - before[a] - site.y.spatial(a) for a in (HEIGHT, WIDTH)]
    first, rest = static(*before), static(*after)
    if first is not None and rest is not None:
        if not any((*first, *rest)):
            return x
        ends = [-n or END for n in rest]
        return _slice(site, x, site.ints(*first), site.ints(*ends))
    kept = site.sizes(like[0], 2, 4) if like else site.ints(*(op.to or ()))
    if first is not None:
        start = site.ints(*first)
    else:
        spare = site.whole("Sub", site.sizes(x, 2, 4), kept, shape=(2,))
        start = site.whole("Div", spare, site.ints(2), shape=(2,))
    return _slice(site, x, start, site.whole("Add", start, kept, shape=(2,)))


def _slice(site: Site, x: ir.Value, start: ir.Value, stop: ir.Value) -> ir.Value:
    return site.add("Slice", x, start, stop, site.ints(2, 3))


@emit.register
def pad(op: Pad, site: Site, x: ir.Value, *like: ir.Value) -> ir.Value:
    margins = [op.margins(axis, *site.types) for axis in (HEIGHT, WIDTH)]
    known = static(margins[0][0], margins[1][0], margins[0][1], margins[1][1])
    value = float(op.value)
    if known is not None:
        return padded(site, x, known, op.mode, value, site.y)
    spare = site.whole("Sub", site.sizes(like[0], 2, 4), site.sizes(x, 2, 4), shape=(2,))
    return _padded_by(site, x, spare, op.mode, value)


@emit.register
def pad_to_multiple(op: PadToMultiple, site: Site, x: ir.Value) -> ir.Value:
    """The margin is -n mod m; Mod of whole numbers has the sign of the divisor."""
    margins = [op.margins(axis, *site.types) for axis in (HEIGHT, WIDTH)]
    known = static(margins[0][0], margins[1][0], margins[0][1], margins[1][1])
    if known is not None:
        return padded(site, x, known, op.mode, 0.0, site.y)
    negative = site.whole("Neg", site.sizes(x, 2, 4), shape=(2,))
    spare = site.whole("Mod", negative, site.ints(*op.m), shape=(2,))
    return _padded_by(site, x, spare, op.mode, 0.0)


def padded(
    site: Site, x: ir.Value, sides: Sequence[int], mode: str, value: float, to: Feature
) -> ir.Value:
    """`x` with margins of known size: top, left, bottom, right; itself if there are none."""
    if not any(sides):
        return x
    top, left, bottom, right = sides
    pads = site.ints(0, 0, top, left, 0, 0, bottom, right)
    return site.add("Pad", x, pads, *_filling(site, mode, value), to=to, mode=PAD_MODES[mode])


def _padded_by(site: Site, x: ir.Value, spare: ir.Value, mode: str, value: float) -> ir.Value:
    """`x` with a margin of `spare` rows and columns, the smaller half first."""
    before = site.whole("Div", spare, site.ints(2), shape=(2,))
    after = site.whole("Sub", spare, before, shape=(2,))
    none = site.ints(0, 0)
    pads = site.join(none, before, none, after)
    return site.add("Pad", x, pads, *_filling(site, mode, value), mode=PAD_MODES[mode])


def _filling(site: Site, mode: str, value: float) -> list[ir.Value]:
    return [site.number(value)] if mode == "constant" else []
