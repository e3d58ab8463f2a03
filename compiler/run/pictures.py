"""Reading pictures: every kind that people have, as numbers from 0 to 1, or one clear error."""

from __future__ import annotations

import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import (  # noqa: F401  (each plugin registers its format)
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageOps,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from compiler.run.arrays import read_array
from compiler.run.refusals import too_large, unreadable
from segdsl.diagnostics import Diagnostic, SegError

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
"""What is opened. Pillow knows more, but some of those (EPS) start other programs."""

MAX_PIXELS = 1 << 26
"""Pixels of one picture (8192 x 8192): a small file can claim far more than memory holds."""

_SIXTEEN = 65_535
_ROTATED = range(2, 9)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that was read.

    Attributes:
        name: how messages call it.
        values: `[C, H, W]`, float32. Of a picture file, 1 or 3 channels from 0 to 1; of an array,
            what the file holds.
        notes: what was done to it that its owner may not expect.
        is_array: it came from a `.npy` file or from a program: its channels are not converted.
    """

    name: str
    values: Floats
    notes: tuple[str, ...] = ()
    is_array: bool = False

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.values.shape[1])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.values.shape[2])

    @property
    def channels(self) -> int:
        """Values per pixel."""
        return int(self.values.shape[0])

    def shown(self) -> Bytes:
        """The picture for people, `[H, W, 3]`.

        An array is stretched from its smallest to its largest value; of other than three channels
        the first is shown, in grey.
        """
        values = self.values[:3] if self.channels == 3 else self.values[:1]
        if self.is_array:
            low, high = float(values.min()), float(values.max())
            values = (values - low) / (high - low if high > low else 1.0)
        pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
        return np.ascontiguousarray(
            np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0)
        )


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in a file; `.npy` files hold `[C, H, W]` or `[H, W]`.

    Palettes become colours, 16-bit greys keep all their bits, transparent parts are laid over
    white, an EXIF orientation is applied, of several frames the first is taken. `notes` tell.

    Raises:
        SegError: E0101 no such file, E0110 not a picture that can be read, E0111 too large.
    """
    _check_file(path)
    name = os.fspath(path)
    if name.endswith(".npy"):
        return Picture(name, read_array(path, max_pixels), is_array=True)
    with warnings.catch_warnings():
        # Pillow warns of pictures above our own limit, and of harmless oddities of metadata.
        warnings.simplefilter("ignore")
        try:
            return _decoded(path, max_pixels)
        except UnidentifiedImageError as error:
            known = "PNG, JPEG, TIFF, BMP, GIF, WebP, PNM, JPEG 2000, or .npy"
            raise unreadable(
                path, "it is no picture that segdsl knows", f"it reads {known}"
            ) from error
        except Image.DecompressionBombError as error:
            raise too_large(path, str(error), max_pixels) from error
        except SegError:
            raise
        except MemoryError as error:
            raise too_large(path, "it does not fit into memory", max_pixels) from error
        except Exception as error:
            # Decoders raise whatever a broken file makes them meet: OSError, SyntaxError, EOFError,
            # struct.error, IndexError... all mean the same to the owner of the file.
            raise unreadable(path, f"it is damaged or incomplete ({_reason(error)})") from error


def _check_file(path: str | os.PathLike[str]) -> None:
    """Refuse what is no file before it is opened: to open a pipe would wait for ever."""
    shown = os.fspath(path)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SegError(Diagnostic("E0101", f"`{shown}` cannot be opened: {why}", None)) from error
    if stat.S_ISDIR(mode):
        raise SegError(Diagnostic("E0101", f"`{shown}` is a folder, not a picture", None))
    if not stat.S_ISREG(mode):
        raise SegError(Diagnostic("E0101", f"`{shown}` is a device or a pipe, not a file", None))
    if not os.access(path, os.R_OK):
        raise SegError(Diagnostic("E0101", f"`{shown}` cannot be opened: permission denied", None))
    if Path(path).stat().st_size == 0:
        raise unreadable(path, "it is empty")


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__


def _decoded(path: str | os.PathLike[str], max_pixels: int) -> Picture:
    notes: list[str] = []
    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > max_pixels:
            raise too_large(path, f"{image.height} x {image.width} pixels", max_pixels)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            notes.append(f"has {frames} frames; the first is taken")
        image.load()
        upright = _upright(image, notes)
        values = _values(path, upright, notes)
    return Picture(os.fspath(path), values, tuple(notes))


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata, whatever they make the reader meet
        notes.append("has EXIF data that cannot be read; taken as upright")
        return image
    if orientation not in _ROTATED:
        return image
    notes.append(f"is turned as its EXIF orientation ({orientation}) says; so is the mask")
    return ImageOps.exif_transpose(image)


def _values(path: str | os.PathLike[str], image: Image.Image, notes: list[str]) -> Floats:
    if image.mode == "F":
        return _floats(path, np.asarray(image, np.float32))
    if image.mode.startswith("I"):
        return _sixteen_bits(path, np.asarray(image), notes)
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        image = _over_white(image, notes)
    mode = "L" if image.mode in ("1", "L") else "RGB"
    pixels = np.asarray(image.convert(mode), np.float32) / 255
    planes = pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(planes)


def _over_white(image: Image.Image, notes: list[str]) -> Image.Image:
    """As viewers show it: colours under full transparency are often garbage."""
    grey = image.mode in ("L", "LA", "La")
    coloured = image.convert("RGBA")
    if coloured.getchannel("A").getextrema() != (255, 255):
        notes.append("has transparent parts; they are laid over white")
    ground = Image.new("RGBA", coloured.size, "white")
    ground.alpha_composite(coloured)
    return ground.convert("L" if grey else "RGB")


def _sixteen_bits(
    path: str | os.PathLike[str], pixels: NDArray[np.generic], notes: list[str]
) -> Floats:
    """16-bit greys, which Pillow may hold in 32 bits: 65535 is white."""
    whole = pixels.astype(np.int64)
    low, high = int(whole.min()), int(whole.max())
    if low < 0 or high > _SIXTEEN:
        problem = f"its values run from {low} to {high}: what is white is not known"
        raise unreadable(path, problem, "scale it to 16 bits, or give a .npy of floats")
    notes.append("has 16 bits per pixel; 65535 is white")
    return (whole[None] / _SIXTEEN).astype(np.float32)


def _floats(path: str | os.PathLike[str], pixels: Floats) -> Floats:
    if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
        problem = "its pixels are floats that do not lie between 0 and 1"
        raise unreadable(path, problem, "scale them, or give a .npy of floats")
    return np.ascontiguousarray(pixels[None])
