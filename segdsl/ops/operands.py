"""What operators demand of their operands: rank, element type, channels, equal sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from segdsl.ops.base import RuleError
from segdsl.symbolic import Size
from segdsl.types import Feature, Requirement

AXES = ("batch", "channels", "height", "width")
"""The axes of a map by their names in the language."""

MAX_RANK = 6


def any_map(x: Feature, slot: int = 0) -> Feature:
    """`x`, a map `[N, C, h, w]` of any element type with a known number of channels.

    Raises:
        RuleError: it has another rank, or its axis 1 is not a known number (E3016).
    """
    if x.rank != 4 or not isinstance(x.shape[1], int):
        raise RuleError(f"needs a map [N, C, h, w], got {x}", code="E3016", blame=slot)
    return x


def network_float(x: Feature, slot: int = 0) -> Feature:
    """`x`, of the network's float type.

    Raises:
        RuleError: it holds whole numbers, truth values or another float type (E3017).
    """
    if x.dtype != "f32":
        whole = x.dtype in ("u8", "i64", "bool")
        raise RuleError(
            f"needs f32, the network's float type, got {x.dtype}",
            code="E3017",
            blame=slot,
            help="`x * 1.0` makes it f32" if whole else "declare the input as f32",
        )
    return x


def float_map(x: Feature, slot: int = 0) -> Feature:
    """`x`, a map `[N, C, h, w]` of the network's float type (E3016, E3017)."""
    return network_float(any_map(x, slot), slot)


def float_channels(x: Feature, slot: int = 0) -> Feature:
    """`x`, of the network's float type and rank 2 to 4, with a known size of axis 1.

    Raises:
        RuleError: the rank is another (E3016), axis 1 depends on the input's size (E2010).
    """
    network_float(x, slot)
    if not 2 <= x.rank <= 4:
        raise RuleError(
            f"needs [N, C], [N, C, L] or [N, C, h, w], got {x}", code="E3016", blame=slot
        )
    if not isinstance(x.shape[1], int):
        raise RuleError(
            f"needs a known number of channels, but axis 1 of {x} depends on the input's size",
            code="E2010",
            blame=slot,
            help="fix the size first, as by `adaptive_avg_pool(7)` or `global_avg_pool`",
        )
    return x


def split_channels(channels: int, groups: int, blame: str | int = "groups") -> int:
    """Channels of one group.

    Raises:
        RuleError: the groups do not divide the channels (E3001).
    """
    if channels % groups:
        divisors = [d for d in range(1, min(channels, 4096) + 1) if channels % d == 0]
        shown = ", ".join(map(str, divisors[:12]))
        raise RuleError(
            f"{channels} channels cannot be split into {groups} groups",
            code="E3001",
            blame=blame,
            help=f"the divisors are {shown}{', ...' if len(divisors) > 12 else ''}",
        )
    return channels // groups


def same_dtype(inputs: Sequence[Feature]) -> None:
    """Refuse operands of different element types (E3017)."""
    for slot, x in enumerate(inputs[1:], 1):
        if x.dtype != inputs[0].dtype:
            raise RuleError(
                f"needs operands of one element type, got {inputs[0].dtype} and {x.dtype}",
                code="E3017",
                blame=(0, slot),
            )


def same_rank(inputs: Sequence[Feature]) -> None:
    """Refuse operands with different numbers of axes (E3016)."""
    for slot, x in enumerate(inputs[1:], 1):
        if x.rank != inputs[0].rank:
            raise RuleError(
                f"needs operands with equally many axes, got {inputs[0]} and {x}",
                code="E3016",
                blame=(0, slot),
            )


def same_channels(inputs: Sequence[Feature]) -> None:
    """Refuse operands whose known channels differ (E3002)."""
    first = inputs[0].shape[1]
    for slot, x in enumerate(inputs[1:], 1):
        other = x.shape[1]
        if isinstance(first, int) and isinstance(other, int) and first != other:
            raise RuleError(
                f"needs equal channels, got {first} and {other}",
                code="E3002",
                blame=(0, slot),
                help=f"project one first: `conv({first}, 1)`",
            )


def axis_name(axis: int, rank: int) -> str:
    """What messages call an axis: its name on maps, its number elsewhere."""
    return AXES[axis] if rank == 4 else f"axis {axis}"


def equal_axes(
    left: Feature, right: Feature, axes: Iterable[int], slots: tuple[int, int]
) -> list[Requirement]:
    """The requirements that two operands of equal rank agree on `axes` (E3004; channels E3002)."""
    found: list[Requirement] = []
    for axis in axes:
        a, b = left.shape[axis], right.shape[axis]
        code = "E3002" if axis == 1 and left.rank == 4 else "E3004"
        noun = axis_name(axis, left.rank)
        message = f"the two sides differ in {noun}: {a} and {b}"
        found.append(Requirement("equal", a, b, code, message, slots))
    return found


def axis_index(axis: str | int, rank: int, blame: str = "axis") -> int:
    """The position of an axis given by name (maps only) or by number (negative: from the end).

    Raises:
        RuleError: a name on something that is no map (E3016), or a number out of range (E2005).
    """
    if isinstance(axis, str):
        if rank != 4:
            message = f"axis `{axis}` exists on maps only; these have {rank} axes: give its number"
            raise RuleError(message, code="E3016", blame=blame)
        return AXES.index(axis)
    if not -rank <= axis < rank:
        message = f"`{blame}` must lie in {-rank}..{rank - 1}, got {axis}"
        raise RuleError(message, code="E2005", blame=blame)
    return axis % rank


def product(sizes: Iterable[Size]) -> Size:
    """The product of sizes."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


def count(sizes: Iterable[Size]) -> int:
    """The product of sizes that are known.

    Raises:
        TypeError: one is a formula; multiply-accumulates are counted at known sizes only.
    """
    total = product(sizes)
    if not isinstance(total, int):
        raise TypeError(f"{total} is not a number: multiply-accumulates need known sizes")
    return total
