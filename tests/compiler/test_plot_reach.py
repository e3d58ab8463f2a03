"""The picture: boxes lie where they should, to scale, also beyond the border."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from compiler.plot_reach import PALETTE, DrawnField, Rect, plot

TITLE = 46
"""Rows of the page above the picture."""

GREY = Image.new("RGB", (100, 80), (120, 120, 120))


def drawn(*fields: DrawnField, picture: Image.Image = GREY) -> NDArray[np.uint8]:
    return np.asarray(plot(picture, fields, title="Title"))


def panel(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The part with the picture, without the legend."""
    return pixels[:, : 760 + 30]


def extent(pixels: NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """First and last row and column of a colour."""
    apart = np.abs(pixels.astype(np.int64) - np.array(colour))
    near: NDArray[np.bool_] = apart.max(axis=2) < 24
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def picture_edges(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    pale = round(120 + (255 - 120) * 0.18)
    return extent(pixels, (pale, pale, pale))


@pytest.mark.parametrize(
    "box",
    [Rect(10, 20, 49, 69), Rect(0, 0, 79, 99), Rect(-40, -30, 119, 129), Rect(30, 60, 95, 90)],
)
def test_a_box_lies_to_scale(box: Rect) -> None:
    pixels = panel(drawn(DrawnField("", (), box)))
    picture = Rect(0, 0, 79, 99)
    top, bottom, left, right = extent(pixels, PALETTE[0])
    outer = Rect(min(box.top, 0), min(box.left, 0), max(box.bottom, 79), max(box.right, 99))
    air = round(0.02 * max(outer.bottom - outer.top, outer.right - outer.left)) + 1
    longest = max(outer.bottom - outer.top, outer.right - outer.left) + 1 + 2 * air
    scale = 760 / longest
    assert bottom - top == pytest.approx((box.bottom - box.top + 1) * scale, abs=6)
    assert right - left == pytest.approx((box.right - box.left + 1) * scale, abs=6)
    if box.top > picture.top and box.left > picture.left and box.bottom < 79:
        above, _, beside, _ = picture_edges(pixels[TITLE:])
        assert top - TITLE - above == pytest.approx((box.top - picture.top) * scale, abs=6)
        assert left - beside == pytest.approx((box.left - picture.left) * scale, abs=6)


def test_every_field_has_its_colour_and_a_place_in_the_legend() -> None:
    fields = [DrawnField(f"f{i}", ("a",), Rect(30 - i, 40 - i, 40 + i, 50 + i)) for i in range(6)]
    pixels = drawn(*fields)
    for i in range(6):
        assert extent(panel(pixels), PALETTE[i])
        assert extent(pixels[:, 790:], PALETTE[i])
    assert (pixels[0] == 255).all()


def test_a_small_box_is_drawn_over_a_large_one() -> None:
    small, large = Rect(38, 48, 42, 52), Rect(2, 2, 77, 97)
    one = panel(drawn(DrawnField("", (), large), DrawnField("", (), small)))
    other = panel(drawn(DrawnField("", (), small), DrawnField("", (), large)))
    assert extent(one, PALETTE[1])[1] - extent(one, PALETTE[1])[0] < 60
    assert extent(other, PALETTE[0])[1] - extent(other, PALETTE[0])[0] < 60


def test_the_narrowest_phase_and_the_effective_field_are_drawn_inside() -> None:
    box = Rect(10, 10, 69, 89)
    plain = panel(drawn(DrawnField("", (), box)))
    dashed = panel(drawn(DrawnField("", (), box, Rect(20, 20, 59, 79))))
    filled = panel(drawn(DrawnField("", (), box, None, Rect(30, 30, 49, 69))))
    middle = plain.shape[0] // 2, plain.shape[1] // 2
    assert (plain[middle] == dashed[middle]).all()
    assert (plain[middle] != filled[middle]).any()
    assert (plain != dashed).any(axis=2).sum() > 500


def test_more_fields_than_colours_and_long_names() -> None:
    fields = [DrawnField("x" * 80, ("y" * 80,) * 2, Rect(0, 0, i, i)) for i in range(20)]
    image = plot(GREY, fields, title="t" * 200, notes=["z" * 200])
    assert image.height > 20 * 60


def test_a_field_of_one_pixel_on_a_picture_of_one_pixel() -> None:
    tiny = Image.new("L", (1, 1))
    assert plot(tiny, [DrawnField("a", (), Rect(0, 0, 0, 0))], title="").width > 760
