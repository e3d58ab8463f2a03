"""Changing the size of a map: interpolation, and moving channels into space and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from functools import lru_cache
from math import floor, isfinite
from typing import ClassVar, Literal

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import AXES, any_map, float_map, split_channels
from segdsl.ops.window import MAX_KERNEL, MAX_STEP, check_range
from segdsl.symbolic import Size, floor_div
from segdsl.taps import Antialiased, Corners, Grouped, Interpolated, Nearest, Nothing, Sliding, Taps
from segdsl.types import Axis, Feature, Pair, Requirement, Window

Mode = Literal["nearest", "nearest_exact", "bilinear", "bicubic"]

MAX_DENOMINATOR = 1024
PROBED_SIZES = 4096


@lru_cache(maxsize=1024)
def exact_factor(scale: float) -> Fraction:
    """The rational that a resize factor stands for: 1/3 for 0.3333333333333333.

    torch computes floor(n * scale) in double. The rational is accepted only if it gives the same
    for n up to 4096; the shape formulas would be wrong otherwise.

    Raises:
        RuleError: the factor is not positive, beyond the limit, or no such rational exists.
    """
    if not (isfinite(scale) and scale > 0):
        raise RuleError(f"`scale` must be above 0, got {scale}", code="E2005", blame="scale")
    if scale > MAX_STEP:
        message = f"`scale` is {scale}; the limit is {MAX_STEP}"
        raise RuleError(message, code="E2009", blame="scale")
    written = Fraction(scale)
    if written.denominator <= MAX_DENOMINATOR:
        return written
    meant = written.limit_denominator(1000)
    p, q = meant.numerator, meant.denominator
    wrong = next((n for n in range(1, PROBED_SIZES + 1) if floor(n * scale) != n * p // q), None)
    if wrong is not None:
        raise RuleError(
            f"the factor {scale} has no exact meaning: {wrong} pixels would become "
            f"{floor(wrong * scale)} by rounding and {wrong * p // q} as {meant}",
            code="E2005",
            blame="scale",
            help="say the size instead: `to=[h, w]` or `like=x`",
        )
    return meant


@operator
@dataclass(frozen=True)
class Resize(Op):
    """Interpolation: `x -> resize(2x, mode=nearest)`, `x -> resize(like=image, mode=bilinear)`.

    As torch's `interpolate`. Exactly one of `scale`, `to` and `like`. A factor maps by 1/scale and
    gives floor(n*scale) pixels; sizes map by n/m. The two differ where n*scale is not whole.

    Attributes:
        scale: output pixels per input pixel: one number or `[h, w]`.
        to: rows and columns of the result.
        mode: `nearest`, `nearest_exact`, `bilinear` or `bicubic`.
        align_corners: whether the corner pixels of both maps coincide; bilinear and bicubic only.
        antialias: whether the kernel grows with the step when shrinking; bilinear and bicubic only.
    """

    name: ClassVar[str] = "resize"
    operands: ClassVar[tuple[str, ...]] = ("x", "like")
    optional: ClassVar[int] = 1
    sizes_only: ClassVar[frozenset[str]] = frozenset({"like"})

    scale: float | tuple[float, float] | None = None
    _: KW_ONLY
    to: Pair | None = None
    mode: Mode
    align_corners: bool = False
    antialias: bool = False

    def __post_init__(self) -> None:
        if self.scale is not None and self.to is not None:
            message = "`scale` and `to` contradict each other: give one"
            raise RuleError(message, code="E2017", blame=("scale", "to"))
        for axis in (0, 1) if self.scale is not None else ():
            self.factor(axis)
        if self.to is not None:
            check_range("to", min(self.to), 1, None)
            check_range("to", max(self.to), 1, MAX_STEP)
        self._check_options()

    def _check_options(self) -> None:
        smooth = self.mode in ("bilinear", "bicubic")
        for option in ("align_corners", "antialias"):
            if getattr(self, option) and not smooth:
                message = f"`{option}` has no effect with `mode={self.mode}`"
                raise RuleError(message, code="E2017", blame=(option, "mode"))
        if self.align_corners and self.antialias:
            message = "`antialias` with `align_corners` is not defined"
            raise RuleError(message, code="E2017", blame=("antialias", "align_corners"))

    def factor(self, axis: Axis) -> Fraction:
        """The factor along an axis, exactly; only where `scale` was given."""
        assert self.scale is not None
        pair = self.scale if isinstance(self.scale, tuple) else (self.scale, self.scale)
        return exact_factor(pair[axis])

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        forms = (self.scale is not None) + (self.to is not None) + (len(inputs) == 2)
        if forms != 1:
            message = "needs exactly one of `scale`, `to` and `like`"
            blame: tuple[str | int, ...] = () if forms == 0 else ("scale", "to", 1)
            raise RuleError(message, code="E2017", blame=blame)
        if len(inputs) == 2:
            like = any_map(inputs[1], 1)
            return x.with_spatial(like.height, like.width)
        return x.with_spatial(self._size(x, 0), self._size(x, 1))

    def _size(self, x: Feature, axis: Axis) -> Size:
        if self.to is not None:
            return self.to[axis]
        factor = self.factor(axis)
        return floor_div(x.spatial(axis) * factor.numerator, factor.denominator)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        if self.scale is None:
            return
        axes: tuple[Axis, Axis] = (0, 1)
        for axis in axes:
            size = self._size(inputs[0], axis)
            message = f"the result would have {AXES[2 + axis]} {size}"
            yield Requirement("at_least", size, 1, "E3006", message, ("scale",))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if self.operand_name(slot) == "like":
            return Nothing()
        before, after = inputs[0].spatial(axis), self.infer(*inputs).spatial(axis)
        if self.align_corners:
            return Corners(mode=self.mode, ratio=_constant_ratio(before - 1, after - 1))
        if self.scale is not None:
            return _taps(1 / self.factor(axis), self.mode, self.antialias)
        ratio = _constant_ratio(before, after)
        if ratio is not None:
            return _taps(ratio, self.mode, self.antialias)
        return Corners(mode=self.mode, align_corners=False, antialias=self.antialias)


def _constant_ratio(before: Size, after: Size) -> Fraction | None:
    """before/after where it is the same for every input size and not 0, as for n and 2*n."""
    if isinstance(before, int) and isinstance(after, int):
        return Fraction(before, after) if before and after else None
    if isinstance(before, int) or isinstance(after, int):
        return None
    ratio = Fraction(before.terms[0][1], after.terms[0][1])
    same = before * ratio.denominator == after * ratio.numerator
    return ratio if same and ratio > 0 else None


def _taps(ratio: Fraction, mode: Mode, antialias: bool) -> Taps:
    if mode in ("nearest", "nearest_exact"):
        return Nearest(ratio=ratio, exact=mode == "nearest_exact")
    reach = 1 if mode == "bilinear" else 2
    return (
        Antialiased(ratio=ratio, reach=reach)
        if antialias
        else Interpolated(ratio=ratio, reach=reach)
    )


@operator
@dataclass(frozen=True)
class PixelShuffle(Op):
    """Moves channels into space, r x r at a time: `x -> pixel_shuffle(8)`.

    `[N, C*r*r, h, w]` to `[N, C, h*r, w*r]`, as torch's PixelShuffle (ONNX DepthToSpace, CRD).

    Attributes:
        r: the factor on both axes; its square divides the channels.
    """

    name: ClassVar[str] = "pixel_shuffle"

    r: int

    def __post_init__(self) -> None:
        check_range("r", self.r, 1, MAX_KERNEL)

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        channels = split_channels(x.channels, self.r * self.r, "r")
        return x.with_channels(channels).with_spatial(x.height * self.r, x.width * self.r)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return Grouped(factor=self.r)


@operator
@dataclass(frozen=True)
class PixelUnshuffle(Op):
    """Moves space into channels, r x r at a time: `x -> pixel_unshuffle(2)`.

    `[N, C, h, w]` to `[N, C*r*r, h/r, w/r]`, as torch's PixelUnshuffle; `r` divides both sizes.

    Attributes:
        r: the factor on both axes.
    """

    name: ClassVar[str] = "pixel_unshuffle"

    r: int

    def __post_init__(self) -> None:
        check_range("r", self.r, 1, MAX_KERNEL)

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        out = x.with_channels(x.channels * self.r * self.r)
        return out.with_spatial(floor_div(x.height, self.r), floor_div(x.width, self.r))

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        for axis, name in ((0, "height"), (1, "width")):
            size = inputs[0].shape[2 + axis]
            message = f"{self.r} must divide the {name} {size}"
            yield Requirement("multiple", size, self.r, "E3004", message, ("r", 0))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return Sliding(window=Window(self.r, self.r))
