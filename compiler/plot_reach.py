"""Drawing receptive fields: boxes on a picture, to scale, with what lies beyond its border."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from compiler.draw import GREY, INK, PAPER, Colour, Point

BEYOND: Colour = (233, 236, 241)
HATCH: Colour = (214, 219, 227)
CASING: Colour = (16, 20, 28)

PALETTE: tuple[Colour, ...] = (
    (86, 200, 255), (255, 190, 40), (70, 220, 150), (255, 105, 97), (196, 148, 255),
    (245, 245, 110), (255, 140, 205), (150, 225, 80),
)  # fmt: skip

_SMOOTH = 2
"""Drawn so many times larger, then reduced: Pillow's lines have no soft edges."""

_MARGIN = 26.0
_TITLE = 40.0
_LEGEND = 300.0


@dataclass(frozen=True)
class Rect:
    """Pixels of the picture, first and last rows and columns included; may lie beyond it."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class DrawnField:
    """What is drawn for one stage.

    Attributes:
        name: of the stage.
        notes: lines below the name, in the legend.
        widest: the field of its pixel near the middle, of the phase that reads most.
        narrowest: that of the phase that reads least, where it is smaller.
        effective: the part of it that holds most of the influence.
    """

    name: str
    notes: tuple[str, ...]
    widest: Rect
    narrowest: Rect | None = None
    effective: Rect | None = None


def plot(
    picture: Image.Image,
    drawn: Sequence[DrawnField],
    *,
    title: str,
    notes: Sequence[str] = (),
    side: int = 760,
) -> Image.Image:
    """Boxes on a picture, the largest first, and a legend beside it.

    Fields larger than the picture are drawn to scale on a hatched ground: there lies padding.

    Args:
        picture: what the network sees, at its input size.
        drawn: the fields, at least one.
        title: above all.
        notes: below the legend.
        side: pixels of the longer side of the part that holds the picture.
    """
    view = _view(picture.size, drawn)
    scale = side / max(view.right - view.left + 1, view.bottom - view.top + 1)
    return _Plot(picture, view, scale).drawn(drawn, title, notes)


def _view(size: tuple[int, int], drawn: Sequence[DrawnField]) -> Rect:
    """The picture and all boxes, with a little air where a box is the outermost."""
    boxes = [Rect(0, 0, size[1] - 1, size[0] - 1), *(field.widest for field in drawn)]
    edges = [
        min(b.top for b in boxes), min(b.left for b in boxes),
        max(b.bottom for b in boxes), max(b.right for b in boxes),
    ]  # fmt: skip
    air = round(0.02 * max(edges[2] - edges[0], edges[3] - edges[1])) + 1
    return Rect(edges[0] - air, edges[1] - air, edges[2] + air, edges[3] + air)


class _Plot:
    def __init__(self, picture: Image.Image, view: Rect, scale: float) -> None:
        self.picture = picture
        self.view = view
        self.scale = scale
        self.panel = (
            (view.right - view.left + 1) * scale,
            (view.bottom - view.top + 1) * scale,
        )
        self.labels: list[tuple[float, float, float, float]] = []

    def drawn(self, drawn: Sequence[DrawnField], title: str, notes: Sequence[str]) -> Image.Image:
        legend = _TITLE + sum(map(_entry, drawn)) + 20 * len(notes) + 80
        width = round(self.panel[0] + _LEGEND + 3 * _MARGIN)
        height = round(max(self.panel[1] + _TITLE + _MARGIN, legend) + _MARGIN)
        self.image = Image.new("RGB", (width * _SMOOTH, height * _SMOOTH), PAPER)
        self.pen = ImageDraw.Draw(self.image, "RGBA")
        self.text((_MARGIN, _TITLE / 2 + 8), title, 18, INK)
        self.ground()
        coloured = [(field, PALETTE[i % len(PALETTE)]) for i, field in enumerate(drawn)]
        ordered = sorted(coloured, key=lambda item: -_area(item[0].widest))
        for field, colour in ordered:
            if field.effective is not None:
                self.filled(field.effective, colour)
        for field, colour in ordered:
            self.framed(field.widest, colour)
        for field, colour in ordered:
            if field.narrowest is not None:
                self.broken(field.narrowest, colour, dash=7.0)
            if field.effective is not None:
                self.broken(field.effective, colour, dash=2.2)
        for field, colour in reversed(ordered):
            self.label(field, colour)
        self.legend(coloured, notes)
        return self.image.resize((width, height), Image.Resampling.LANCZOS)

    # -- places

    def corner(self, row: float, column: float) -> Point:
        """Where the upper left corner of a pixel lies on the page."""
        return (
            _MARGIN + (column - self.view.left) * self.scale,
            _TITLE + _MARGIN / 2 + (row - self.view.top) * self.scale,
        )

    def edges(self, box: Rect) -> tuple[float, float, float, float]:
        left, top = self.corner(box.top, box.left)
        right, bottom = self.corner(box.bottom + 1, box.right + 1)
        return left, top, right, bottom

    def at(self, *points: Point) -> list[Point]:
        return [(x * _SMOOTH, y * _SMOOTH) for x, y in points]

    # -- drawing

    def text(
        self, place: Point, text: str, size: float, colour: Colour, anchor: str = "lm"
    ) -> None:
        font = ImageFont.load_default(size * _SMOOTH)
        self.pen.text(self.at(place)[0], text, fill=colour, font=font, anchor=anchor)

    def ground(self) -> None:
        """The picture, paled, on a hatched ground."""
        left, top, right, bottom = self.edges(self.view)
        self.pen.rectangle(self.at((left, top), (right, bottom)), BEYOND)
        for line in _hatching(left, top, right, bottom):
            self.pen.line(self.at(*line), HATCH, _SMOOTH)
        width, height = self.picture.size
        inner = self.edges(Rect(0, 0, height - 1, width - 1))
        place = [round(v * _SMOOTH) for v in inner]
        size = (max(place[2] - place[0], 1), max(place[3] - place[1], 1))
        shown = self.picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        pale = Image.blend(shown, Image.new("RGB", size, PAPER), 0.18)
        self.image.paste(pale, (place[0], place[1]))
        self.pen.rectangle(self.at(inner[:2], inner[2:]), None, INK, _SMOOTH)

    def filled(self, box: Rect, colour: Colour) -> None:
        left, top, right, bottom = self.edges(box)
        self.pen.rectangle(self.at((left, top), (right, bottom)), (*colour, 46))

    def framed(self, box: Rect, colour: Colour, thick: float = 2.6) -> None:
        """A rectangle in colour on a dark one, so that it shows on any picture."""
        left, top, right, bottom = self.edges(box)
        for ink, wide in (((*CASING, 200), thick + 1.6), (colour, thick)):
            half = wide / 2
            corners = self.at((left - half, top - half), (right + half, bottom + half))
            self.pen.rectangle(corners, None, ink, round(wide * _SMOOTH))

    def broken(self, box: Rect, colour: Colour, *, dash: float) -> None:
        """The same in dashes of some pixels."""
        left, top, right, bottom = self.edges(box)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        lines = list(_dashes(corners, dash))
        for ink, wide in (((*CASING, 200), 3.2), (colour, 1.8)):
            for line in lines:
                self.pen.line(self.at(*line), ink, round(wide * _SMOOTH))

    def label(self, field: DrawnField, colour: Colour) -> None:
        """The name in the upper left corner of its box, unless another one stands there."""
        left, top, right, _ = self.edges(field.widest)
        font = ImageFont.load_default(12.0 * _SMOOTH)
        width = self.pen.textlength(field.name, font=font) / _SMOOTH + 10
        place = (left, top, left + width, top + 18)
        if width > right - left or any(_overlap(place, other) for other in self.labels):
            return
        self.labels.append(place)
        self.pen.rectangle(self.at(place[:2], place[2:]), colour)
        self.text((left + 5, top + 9), field.name, 12, INK)

    def legend(self, drawn: Sequence[tuple[DrawnField, Colour]], notes: Sequence[str]) -> None:
        x, y = self.panel[0] + 2 * _MARGIN, _TITLE + _MARGIN / 2
        for field, colour in drawn:
            self.pen.rectangle(self.at((x, y + 4), (x + 22, y + 20)), colour, INK, _SMOOTH // 2)
            self.text((x + 32, y + 12), field.name, 15, INK)
            for i, line in enumerate(field.notes):
                self.text((x + 32, y + 30 + 16 * i), line, 12, GREY)
            y += _entry(field)
        for line in notes:
            self.text((x, y + 12), line, 12, GREY)
            y += 18


def _entry(field: DrawnField) -> int:
    """The height of a field's name and notes in the legend."""
    return 32 + 16 * len(field.notes)


def _area(box: Rect) -> int:
    return (box.bottom - box.top + 1) * (box.right - box.left + 1)


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    return not apart


def _hatching(left: float, top: float, right: float, bottom: float) -> Iterator[list[Point]]:
    """Slanted lines across a rectangle."""
    height = bottom - top
    x = left - height
    while x < right:
        low, high = max(x, left), min(x + height, right)
        if low < high:
            yield [(low, bottom - (low - x)), (high, bottom - (high - x))]
        x += 9


def _dashes(corners: Sequence[Point], dash: float) -> Iterator[list[Point]]:
    """The sides of a polygon in dashes of some pixels, with gaps a little shorter."""
    for (x0, y0), (x1, y1) in pairwise(corners):
        length = max(abs(x1 - x0), abs(y1 - y0))
        count = max(1, round(length / (2 * dash)))
        for i in range(count):
            a, b = i / count, (i + 0.55) / count
            yield [
                (x0 + (x1 - x0) * a, y0 + (y1 - y0) * a),
                (x0 + (x1 - x0) * b, y0 + (y1 - y0) * b),
            ]
