"""Interpolation and sub-pixel moves in torch."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, Literal, Make, layer
from segdsl.ops.resize import PixelShuffle, PixelUnshuffle, Resize
from segdsl.types import Feature

MODES = {
    "nearest": "nearest",
    "nearest_exact": "nearest-exact",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
}
"""torch's names of the modes."""


def _factor(scale: float | tuple[float, float]) -> Literal:
    if isinstance(scale, tuple):
        return (float(scale[0]), float(scale[1]))
    return float(scale)


def _manner(op: Resize) -> tuple[Arg, ...]:
    mode = Arg(MODES[op.mode], "mode", origin="mode")
    if op.mode not in ("bilinear", "bicubic"):
        return (mode,)
    corners = Arg(op.align_corners, "align_corners", origin="align_corners")
    return (mode, corners, Arg(op.antialias, "antialias", False, "antialias"))


@layer.register
def resize(op: Resize, x: Feature, *like: Feature) -> Layer:
    """A factor stays a factor and a size a size: they map pixels differently."""
    manner = _manner(op)
    if like:
        return Layer("F.interpolate({0}, size={1}.shape[-2:]{args})", manner)
    if op.to is not None:
        to = Arg((int(op.to.height), int(op.to.width)), "size", origin="to")
        return Layer("F.interpolate({0}{args})", (to, *manner))
    assert op.scale is not None
    args = (Arg(_factor(op.scale), "scale_factor", origin="scale"), *manner)
    module = None if op.antialias else Make("nn.Upsample", args[:3])
    return Layer("F.interpolate({0}{args})", args, module=module)


@layer.register
def pixel_shuffle(op: PixelShuffle, x: Feature) -> Layer:
    r = Arg(op.r, origin="r")
    module = Make("nn.PixelShuffle", (r,))
    return Layer("F.pixel_shuffle({0}{args})", (r,), module=module, passes_channels=False)


@layer.register
def pixel_unshuffle(op: PixelUnshuffle, x: Feature) -> Layer:
    r = Arg(op.r, origin="r")
    module = Make("nn.PixelUnshuffle", (r,))
    return Layer("F.pixel_unshuffle({0}{args})", (r,), module=module, passes_channels=False)
