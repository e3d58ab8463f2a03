"""Output sizes of sliding windows: the one place where a floor is taken."""

from __future__ import annotations

from functools import lru_cache

from segdsl.limits import Limits
from segdsl.ops.base import RuleError
from segdsl.symbolic import Size, ceil_div, floor_div, least
from segdsl.types import Axis, Padding, Pair, Requirement, Sides, Window

UNIT = Pair(1, 1)
NO_PAD = Sides(0, 0, 0, 0)

CAPS = Limits()
MAX_KERNEL = CAPS.kernel
MAX_STEP = CAPS.window_attribute
MAX_EXTENT = CAPS.kernel_extent
MAX_CHANNELS = CAPS.channels


@lru_cache(maxsize=65536)
def out_size(size: Size, window: Window, ceil: bool = False) -> Size:
    """Positions of a window along an axis of `size` pixels, as torch counts them.

    Floor: (n + before + after - extent)//stride + 1. Ceil: rounded up, and the last window must
    start inside the input or the padding before it (torch's pooling rule).
    """
    free = size + (window.before + window.after - window.extent)
    if not ceil:
        return floor_div(free, window.stride) + 1
    return least(ceil_div(free, window.stride) + 1, ceil_div(size + window.before, window.stride))


@lru_cache(maxsize=65536)
def transposed_size(size: Size, window: Window, output_pad: int) -> Size:
    """Size after a transposed window: (n - 1)*stride - before - after + extent + output_pad."""
    return (size - 1) * window.stride - window.before - window.after + window.extent + output_pad


def fits(size: Size, window: Window, axis: Axis, ceil: bool = False) -> Requirement:
    """The requirement that a window has at least one position."""
    out = out_size(size, window, ceil)
    name = ("high", "wide")[axis]
    shape = "kernel" if window.dilation == 1 else f"kernel with dilation {window.dilation}"
    return Requirement(
        "at_least", out, 1, "E3006",
        f"the {window.kernel}-pixel {shape} does not fit: the map is {size} {name}",
        ("kernel",),
        f"`pad={window.extent // 2}`" if _unpadded_odd(window) else "",
    )  # fmt: skip


def _unpadded_odd(window: Window) -> bool:
    """Whether equal padding on both sides would keep the size."""
    return window.extent > 1 and window.extent % 2 == 1 and window.before == window.after == 0


def sides_of(pad: Padding, kernel: Pair, dilation: Pair) -> Sides:
    """The four pads of a padding; `same` is dilation * (kernel - 1) / 2 on both sides.

    Raises:
        RuleError: `same` with an even kernel and odd dilation, which would be lopsided (E3009).
    """
    if pad == "valid":
        return Sides(0, 0, 0, 0)
    if isinstance(pad, Sides):
        return pad
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    for k, whole in zip(kernel, total, strict=True):
        if whole % 2:
            raise RuleError(
                f"`pad=same` needs an odd kernel: {k} would pad {whole // 2} before "
                f"and {whole - whole // 2} after",
                code="E3009",
                blame="pad",
                help=f"`pad={whole // 2}`, or kernel {k - 1} or {k + 1}",
                notes=(
                    "`same` is `dilation * (kernel - 1) / 2` at any stride; "
                    'PyTorch\'s `padding="same"` rejects strides above 1',
                ),
            )
    height, width = total[0] // 2, total[1] // 2
    return Sides(height, width, height, width)


def check_window(kernel: Pair, stride: Pair, dilation: Pair, pad: Padding) -> None:
    """Refuse windows that mean nothing or lie beyond the limits (E2005, E2009)."""
    limited = (
        ("kernel", kernel, MAX_KERNEL),
        ("stride", stride, MAX_STEP),
        ("dilation", dilation, MAX_STEP),
    )
    for name, pair, cap in limited:
        check_range(name, min(pair), 1, None)
        check_range(name, max(pair), 1, cap)
    if isinstance(pad, Sides):
        check_range("pad", min(pad), 0, None)
        check_range("pad", max(pad), 0, MAX_STEP)
    for k, d in zip(kernel, dilation, strict=True):
        if k * d > MAX_EXTENT:
            message = f"`kernel * dilation` is {k * d}; the limit is {MAX_EXTENT}"
            raise RuleError(message, code="E2009", blame="dilation")


def check_range(name: str, value: int, low: int, high: int | None) -> None:
    """Refuse a whole number below `low` (E2005) or above the limit `high` (E2009)."""
    if value < low:
        raise RuleError(f"`{name}` must be at least {low}, got {value}", code="E2005", blame=name)
    if high is not None and value > high:
        raise RuleError(f"`{name}` is {value}; the limit is {high}", code="E2009", blame=name)
