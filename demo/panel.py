"""The demo's result on one page: picture, labels, mask, and the network that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from compiler.draw import GREY, INK, PAPER, network
from compiler.run.masks import colours_of, overlay
from segdsl.ir import Graph

WIDTH, MARGIN, GAP = 1600, 40, 30
_ACCENT = (47, 128, 237)
_SMOOTH = 2

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Facts:
    """What the panel says.

    `figures` are large words with a small line below each, beside the network: left, then right.
    """

    title: str
    subtitle: str
    figures: tuple[tuple[str, str], ...]
    headings: tuple[str, str, str]
    halves: tuple[str, str]
    middle: int


def panel(
    graph: Graph,
    sizes: Mapping[str, int],
    picture: Pixels,
    wanted: Pixels,
    found: Pixels,
    facts: Facts,
) -> Image.Image:
    """The page, 1600 pixels wide.

    Args:
        graph: the network that is drawn.
        sizes: the input size that its shapes are for.
        picture: greys, `[H, W]`.
        wanted: the labels, `[H, W]`.
        found: the mask that the network gave, `[H, W]`.
        facts: the words.
    """
    colour = np.repeat(picture[..., None], 3, axis=2)
    images = [colour, _in_colour(wanted), overlay(colour, found)]
    across = (WIDTH - 2 * MARGIN - 2 * GAP) // 3
    down = across * picture.shape[0] // picture.shape[1]
    top = 150
    drawn = _network(graph, sizes, colour, found)
    foot = top + down + 60
    page = Image.new("RGB", (WIDTH, foot + drawn.height), PAPER)
    pen = _Pen(page)
    pen.text(MARGIN, 48, facts.title, 34, INK, "lm")
    pen.text(MARGIN, 90, facts.subtitle, 18, GREY, "lm")
    for i, (image, heading) in enumerate(zip(images, facts.headings, strict=True)):
        left = MARGIN + i * (across + GAP)
        small = Image.fromarray(image).resize((across, down), Image.Resampling.LANCZOS)
        page.paste(small, (left, top))
        pen.text(left, top - 18, heading, 18, INK, "lm")
        x = left + across * facts.middle // picture.shape[1]
        pen.dashes(x, top, top + down)
    _halves(pen, facts, across, top + down, picture.shape[1])
    page.paste(drawn, (MARGIN // 2, foot))
    _figures(pen, facts, foot + drawn.height)
    return page


def _figures(pen: _Pen, facts: Facts, bottom: int) -> None:
    """In the corners that the U leaves free: two figures left, two right."""
    for i, (large, small) in enumerate(facts.figures):
        right, row = divmod(i, 2)
        x, anchor = (WIDTH - MARGIN, "rm") if right else (MARGIN, "lm")
        y = bottom - 215 + 100 * row
        pen.text(x, y, large, 38, _ACCENT if i == 0 else INK, anchor)
        pen.text(x, y + 36, small, 16, GREY, anchor)


def _halves(pen: _Pen, facts: Facts, across: int, y: int, columns: int) -> None:
    """Under every picture: which half was trained on, which was measured."""
    middle = across * facts.middle // columns
    for i in range(3):
        left = MARGIN + i * (across + GAP)
        pen.text(left + middle // 2, y + 18, facts.halves[0], 15, GREY, "mm")
        pen.text(left + (middle + across) // 2, y + 18, facts.halves[1], 15, _ACCENT, "mm")


def _in_colour(wanted: Pixels) -> Pixels:
    """The labels: coins in the colour of the mask, on a quiet ground."""
    return np.where((wanted > 0)[..., None], colours_of(wanted), np.uint8(36)).astype(np.uint8)


def _network(graph: Graph, sizes: Mapping[str, int], colour: Pixels, found: Pixels) -> Image.Image:
    ends = (graph.inputs[0], graph[graph.outputs[0]].label)
    shown = (Image.fromarray(colour), Image.fromarray(_in_colour(found)))
    return network(
        graph,
        sizes,
        width=WIDTH - MARGIN,
        height=560,
        thumbnails=dict(zip(ends, shown, strict=True)),
    )


class _Pen:
    def __init__(self, page: Image.Image) -> None:
        self.page = page
        self.draw = ImageDraw.Draw(page)

    def text(
        self, x: float, y: float, text: str, size: float, colour: tuple[int, int, int], anchor: str
    ) -> None:
        font = ImageFont.load_default(size)
        self.draw.text((x, y), text, fill=colour, font=font, anchor=anchor)

    def dashes(self, x: int, top: int, bottom: int) -> None:
        for y in range(top, bottom, 14):
            self.draw.line([(x, y), (x, min(y + 8, bottom))], fill=PAPER, width=2)
