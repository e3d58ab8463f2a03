"""The picture with the mask before and after, side by side."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from compiler.run.masks import Classes, overlay
from compiler.run.pictures import Bytes

_INK = (28, 36, 52)
_PAPER = (255, 255, 255)
_WIDEST = 640
"""Pixels across one picture of the panel; larger ones are reduced."""
_GAP = 12
_HEAD = 34


def panel_png(shown: Bytes, before: Classes, after: Classes) -> bytes:
    """Picture, mask before and mask after, as PNG, with what share of the pixels changed."""
    changed = 100 * float((before != after).mean())
    parts = {
        "picture": shown,
        "before": overlay(shown, before),
        f"after: {changed:.2f} % of the pixels changed": overlay(shown, after),
    }
    height, width = shown.shape[:2]
    scale = min(1.0, _WIDEST / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    step = max(size[0], 300) + _GAP
    page = Image.new("RGB", (len(parts) * step + _GAP, size[1] + _HEAD + _GAP), _PAPER)
    pen = ImageDraw.Draw(page)
    for place, (title, pixels) in enumerate(parts.items()):
        left = _GAP + place * step
        image = Image.fromarray(np.ascontiguousarray(pixels))
        page.paste(image.resize(size, Image.Resampling.LANCZOS), (left, _HEAD))
        pen.text((left, _HEAD / 2), title, fill=_INK, font=ImageFont.load_default(15), anchor="lm")
    buffer = BytesIO()
    page.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
