"""Reading `.npy` arrays: numbers that are no picture of 1 or 3 channels."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from compiler.run.refusals import too_large, unreadable

_FLOATS = ("float16", "float32", "float64")


def read_array(path: str | os.PathLike[str], max_pixels: int) -> NDArray[np.float32]:
    """The floats of a `.npy` file as `[C, H, W]`; `[H, W]` is one channel. Pickles are refused.

    Raises:
        SegError: E0110 no such array, E0111 too many pixels.
    """
    try:
        lazy = np.load(path, mmap_mode="r", allow_pickle=False)
    except (
        Exception
    ) as error:  # numpy raises ValueError, EOFError, OSError, SyntaxError on bad headers
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise unreadable(path, f"it is no array in numpy's .npy format ({text[:120]})") from error
    if not isinstance(lazy, np.ndarray):
        raise unreadable(path, "it is an archive of arrays", "give one array, saved by numpy.save")
    return checked(path, lazy, max_pixels)


def checked(
    path: str | os.PathLike[str], array: NDArray[np.generic], max_pixels: int
) -> NDArray[np.float32]:
    """The array as finite float32 `[C, H, W]`.

    Raises:
        SegError: E0110 another type or rank, empty or not finite; E0111 too many pixels.
    """
    if array.dtype.name not in _FLOATS:
        help = "convert it, as `array.astype('float32') / 255`"
        raise unreadable(path, f"it holds {array.dtype}, not floats", help)
    if array.ndim not in (2, 3) or 0 in array.shape:
        problem = f"its shape {tuple(array.shape)} is neither [C, H, W] nor [H, W]"
        raise unreadable(path, problem)
    height, width = array.shape[-2:]
    if height * width > max_pixels:
        raise too_large(path, f"{height} x {width} pixels", max_pixels)
    values = np.array(array, np.float32, order="C").reshape(-1, height, width)
    if not np.isfinite(values).all():
        raise unreadable(path, "it holds NaN or infinite numbers")
    return values
