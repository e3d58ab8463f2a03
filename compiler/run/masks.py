"""Masks as pictures: indexed PNGs, colours for classes, the mask laid over the picture."""

from __future__ import annotations

import colorsys
from functools import cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compiler.run.pictures import Bytes

Classes = NDArray[np.uint8] | NDArray[np.uint16]
"""The class index of each pixel, `[H, W]`; 16 bits where there are more than 256 classes."""

INDEXED = 256
"""Classes that an indexed picture can hold."""

_FIRST = ("000000", "f2a900", "2f80ed", "27ae60", "eb5757", "9b51e0", "00a8a8", "f2789f", "8d6e63",
          "b8d430", "56ccf2", "6b7280")  # fmt: skip
_GOLDEN = 0.618033988749895


@cache
def palette() -> Bytes:
    """256 distinct colours, `[256, 3]`; class 0 is black. The same in every run and version."""
    colours = [tuple(bytes.fromhex(text)) for text in _FIRST]
    hue, step = 0.0, 0
    while len(colours) < INDEXED:
        hue, step = (hue + _GOLDEN) % 1.0, step + 1
        shade = colorsys.hsv_to_rgb(
            hue, (0.55, 0.8, 0.95)[step % 3], (0.95, 0.75, 0.5)[step // 3 % 3]
        )
        colour = tuple(round(255 * part) for part in shade)
        if colour not in colours:
            colours.append(colour)
    table: Bytes = np.array(colours, np.uint8)
    table.flags.writeable = False
    return table


def colours_of(classes: Classes) -> Bytes:
    """The colour of each pixel's class, `[H, W, 3]`; above 255 the colours 1 to 255 come again."""
    index = np.where(classes < INDEXED, classes, 1 + (classes.astype(np.int64) - 1) % (INDEXED - 1))
    coloured: Bytes = palette()[index]
    return coloured


def mask_png(classes: Classes) -> bytes:
    """The mask as PNG: pixel values are class indices, 8 bits with a palette or 16 bits of grey."""
    image = Image.fromarray(np.ascontiguousarray(classes))
    if classes.dtype == np.uint8:
        # A full palette, so that the file does not depend on which classes occur.
        image = image.convert("L")
        image.putpalette(palette().tobytes())
    return _png(image)


def overlay(shown: Bytes, classes: Classes, *, strength: float = 0.45) -> Bytes:
    """The picture `[H, W, 3]` tinted by class, with a solid line inside each region's border.

    Class 0 (background, in most label sets) is left as it is.
    """
    tint = colours_of(classes)
    marked = (classes > 0)[..., None]
    weight = np.where(borders(classes)[..., None], 1.0, strength)
    mixed = shown * (1 - weight) + tint * weight
    result: Bytes = np.where(marked, np.rint(mixed), shown).astype(np.uint8)
    return result


def overlay_png(shown: Bytes, classes: Classes) -> bytes:
    """`overlay` as PNG."""
    return _png(Image.fromarray(overlay(shown, classes)))


def borders(classes: Classes) -> NDArray[np.bool_]:
    """The pixels that touch, by a side, a pixel of another class."""
    edge = np.zeros(classes.shape, bool)
    rows, columns = classes[1:] != classes[:-1], classes[:, 1:] != classes[:, :-1]
    edge[1:] |= rows
    edge[:-1] |= rows
    edge[:, 1:] |= columns
    edge[:, :-1] |= columns
    return edge


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
