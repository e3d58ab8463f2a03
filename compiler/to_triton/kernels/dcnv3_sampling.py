"""A sampling of DCNv3: where its points lie, which maps go together, what a launch may take."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .common import fits_int32, refuse_dtypes, rows

MOST_POINTS = 49
"""Points are unrolled: more would take minutes to compile."""


@dataclass(frozen=True)
class Sampling:
    """Where the points of DCNv3 lie, and what becomes of the mask.

    Attributes:
        groups: groups of channels, each with offsets and a mask of its own.
        kernel: rows and columns of points; likewise stride, padding (top and left), dilation.
        offset_scale: multiplies the distances between the points, and the offsets.
        softmax: whether the mask of a group goes through a softmax over its points.
        remove_center: whether the point in the middle is left out.
        offset_limit: the most that a point is moved by along an axis, in pixels; None: any.
    """

    groups: int
    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    offset_scale: float
    softmax: bool
    remove_center: bool
    offset_limit: float | None

    @property
    def points(self) -> int:
        """How many there are."""
        return self.kernel[0] * self.kernel[1] - self.remove_center


def check_shapes(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> None:
    """Refuse maps that do not go together.

    Raises:
        ValueError: channels that do not split into groups, or that do not fit the points; maps of
            other sizes or batches.
    """
    if x.shape[1] % how.groups:
        raise ValueError(f"{x.shape[1]} channels do not split into {how.groups} groups")
    rest = (x.shape[0], *offset.shape[2:])
    for what, map_, each in (("offset", offset, 2), ("mask", mask, 1)):
        channels = each * how.groups * how.points
        if map_.shape != (rest[0], channels, *rest[1:]):
            raise ValueError(
                f"the {what} is {tuple(map_.shape)}, not {(rest[0], channels, *rest[1:])}"
            )


def fallback_reason(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> str:
    """Why the kernels cannot take these operands, or "" where they can."""
    if how.points > MOST_POINTS:
        return f"no template: {how.points} points; the most is {MOST_POINTS}"
    if not (x.numel() and offset.numel()):
        return "no template: an empty map"
    try:
        refuse_dtypes(x, offset, mask)
        for map_ in (x, offset, mask):
            rows(map_)
    except (TypeError, ValueError) as error:
        return str(error)
    out = offset.shape[0] * offset.shape[2] * offset.shape[3] * x.shape[1]
    if not fits_int32(x, offset, mask) or out >= 2**30:
        return "no template: more than 2^30 elements"
    return ""


def checked(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling) -> None:
    refuse_dtypes(x, offset, mask)
    check_shapes(x, offset, mask, how)
    reason = fallback_reason(x, offset, mask, how)
    if reason:
        raise ValueError(reason)


def key(x: Tensor, offset: Tensor, mask: Tensor, how: Sampling, *, backward: bool = False) -> str:
    """What a measurement is filed under: dtypes, sizes and geometry, exactly.

    `slices`: a map is part of the channels of a wider one, so its pixels lie apart.
    """
    n, c, h, w = x.shape
    dtypes = ",".join(str(map_.dtype)[6:] for map_ in (x, offset, mask))
    pairs = (how.kernel, how.stride, how.padding, how.dilation)
    geometry = "/".join("x".join(map(str, pair)) for pair in pairs)
    words = ["dcnv3" + "_backward" * backward, dtypes, f"{n}x{c}x{h}x{w}->{how.groups}x"]
    words[-1] += "x".join(map(str, offset.shape[2:]))
    words += [geometry, f"scale={how.offset_scale:g}"]
    words += ["softmax"] * how.softmax + ["remove_center"] * how.remove_center
    words += [f"limit={how.offset_limit:g}"] if how.offset_limit is not None else []
    apart = any(rows(map_)[0] != map_.shape[1] for map_ in (x, offset, mask))
    return " ".join([*words, *["slices"] * apart])
