"""Putting maps together and taking them apart in torch."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, layer
from segdsl.ops.combine import Concat, Crop, Pad, PadToMultiple, Slice, Split
from segdsl.ops.operands import axis_index
from segdsl.types import Feature, Pair

PAD_MODES = {
    "zeros": "constant",
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
}
"""torch's names of the modes."""


@layer.register
def concat(op: Concat, *inputs: Feature) -> Layer:
    axis = Arg(axis_index(op.axis, inputs[0].rank), "dim")
    return Layer("torch.cat([{*}]{args})", (axis,), passes_channels=False)


@layer.register
def split(op: Split, x: Feature) -> Layer:
    axis = Arg(axis_index(op.axis, x.rank), "dim")
    if isinstance(op.parts, int):
        parts = Arg(op.parts, origin="parts")
        call = "{0}.chunk({args})" + _ONLY * (op.parts == 1)
        return Layer(call, (parts, axis), passes_channels=False)
    sizes = ", ".join(str(int(n)) for n in op.parts)
    call = f"{{0}}.split([{sizes}]{{args}})" + _ONLY * (len(op.parts) == 1)
    return Layer(call, (axis,), passes_channels=False)


_ONLY = "[0]"
"""One part comes in a tuple too."""


@layer.register
def slice_(op: Slice, x: Feature) -> Layer:
    """A Python slice; the axes before it are kept whole."""
    at = axis_index(op.axis, x.rank)
    bounds = "{start}:" if op.stop is None else "{start}:{stop}"
    step = "" if op.step == 1 else ":{step}"
    args = [Arg(op.start, "start", origin="start")]
    args += [] if op.stop is None else [Arg(op.stop, "stop", origin="stop")]
    args += [] if op.step == 1 else [Arg(op.step, "step", origin="step")]
    return Layer(f"{{0}}[{':, ' * at}{bounds}{step}]", tuple(args), passes_channels=at != 1)


@layer.register
def crop(op: Crop, x: Feature, *like: Feature) -> Layer:
    """Sizes come from `shape` of the operands, so that they stay symbolic in export."""
    if op.offset == "centre":
        if like:
            return Layer("centre_crop({0}, {1}.shape[-2:])", helper="centre_crop")
        assert op.to is not None
        return Layer("centre_crop({0}{args})", (_to(op.to),), helper="centre_crop")
    assert isinstance(op.offset, Pair | tuple)
    top, left = (Arg(int(n), origin="offset") for n in op.offset)
    if like:
        return Layer("crop({0}, {1}.shape[-2:]{args})", (top, left), helper="crop")
    assert op.to is not None
    return Layer("crop({0}{args})", (_to(op.to), top, left), helper="crop")


def _to(to: Pair) -> Arg:
    return Arg((int(to.height), int(to.width)), origin="to")


@layer.register
def pad(op: Pad, x: Feature, *like: Feature) -> Layer:
    mode = Arg(PAD_MODES[op.mode], "mode", "constant", "mode")
    value = Arg(float(op.value), "value", 0.0, "value")
    if like:
        return Layer("pad_like({0}, {1}.shape[-2:]{args})", (mode, value), helper="pad_like")
    assert op.sides is not None
    top, left, bottom, right = (int(n) for n in op.sides)
    sides = Arg((left, right, top, bottom))
    return Layer("F.pad({0}{args})", (sides, mode, value))


@layer.register
def pad_to_multiple(op: PadToMultiple, x: Feature) -> Layer:
    height, width = (Arg(int(n), origin="m") for n in op.m)
    mode = Arg(PAD_MODES[op.mode], "mode", "constant", "mode")
    return Layer("pad_to_multiple({0}{args})", (height, width, mode), helper="pad_to_multiple")
