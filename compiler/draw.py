"""Drawing a network: its stages as boxes, one level down per halving, its skips as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import log2

from PIL import Image, ImageDraw, ImageFont

from compiler.stages import Stage, stages
from segdsl.ir import Graph

Point = tuple[float, float]
Colour = tuple[int, int, int]

INK: Colour = (28, 36, 52)
GREY: Colour = (112, 122, 140)
LINE: Colour = (126, 137, 156)
SKIP: Colour = (235, 137, 40)
PAPER: Colour = (255, 255, 255)
_SHALLOW: Colour = (126, 196, 232)
_DEEP: Colour = (44, 72, 150)
_END: Colour = (226, 232, 240)

_SMOOTH = 2
"""Drawn so many times larger, then reduced: Pillow's lines have no soft edges."""


@dataclass
class _Box:
    stage: Stage
    x: float
    y: float
    width: float
    height: float
    step: int
    users: list[int] = field(default_factory=list[int])

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def depth(self) -> float:
        """How far the block reaches back, in pixels to the right."""
        return 0.13 * self.height

    @property
    def right(self) -> float:
        return self.x + self.width


def network(
    graph: Graph,
    sizes: Mapping[str, int],
    *,
    width: int = 1600,
    height: int = 520,
    most: int = 24,
    thumbnails: Mapping[str, Image.Image] | None = None,
) -> Image.Image:
    """The network as a picture, left to right; a stage at half the size stands one level lower.

    A box is as high as its map (in steps) and as thick as it has channels; above it stand its
    channels, below it its name and size. Lines between neighbours are grey, skips orange.

    Args:
        graph: the network.
        sizes: the input size, as `{"H": 304, "W": 384}`; every size symbol but N.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        most: boxes; longer networks are folded further.
        thumbnails: pictures to show instead of boxes, by the name of an input or output.
    """
    canvas = _Canvas(width, height, thumbnails or {})
    return canvas.drawn(stages(graph, {"N": 1, **sizes}, most=most))


class _Canvas:
    def __init__(self, width: int, height: int, thumbnails: Mapping[str, Image.Image]) -> None:
        self.scale = _SMOOTH
        self.size = (width, height)
        self.image = Image.new("RGB", (width * self.scale, height * self.scale), PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self.thumbnails = thumbnails

    def drawn(self, found: list[Stage]) -> Image.Image:
        boxes = self.placed(found)
        tracks = _tracks(boxes)
        for i, box in enumerate(boxes):
            for user in box.users:
                self.connect(boxes, i, user, tracks.get((i, user)))
        for box in boxes:
            self.box(box)
        return self.image.resize(self.size, Image.Resampling.LANCZOS)

    def placed(self, found: list[Stage]) -> list[_Box]:
        """Boxes along x by order and thickness, along y by level."""
        width, height = self.size
        # Steps, not levels: a head of one pixel must not push all the rest to the top.
        steps = sorted({stage.level for stage in found})
        last = max(len(steps) - 1, 1)
        tall = min(0.40 * height, 150.0)
        top, bottom = 50 + tall / 2, height - 62
        thick = [self.thickness(stage, tall) for stage in found]
        gap = max((width - 40 - sum(thick)) / max(len(found) - 1, 1), 6.0)
        squeeze = min(1.0, (width - 40) / (sum(thick) + gap * (len(found) - 1)))
        boxes, x = [], 20.0
        for stage, across in zip(found, thick, strict=True):
            step = steps.index(stage.level)
            box_height = max(tall * 0.68**step, 12.0)
            y = top + step / last * (bottom - top - 18)
            boxes.append(_Box(stage, x, y, across * squeeze, box_height, step))
            x += (across + gap) * squeeze
        for i, box in enumerate(boxes):
            box.users = [j for j, other in enumerate(found) if i in other.reads]
        return boxes

    def thickness(self, stage: Stage, tall: float) -> float:
        if stage.name in self.thumbnails:
            picture = self.thumbnails[stage.name]
            return tall * picture.width / picture.height
        return 6 + 4.0 * log2(max(stage.channels, 1) + 1)

    # -- drawing

    def at(self, *points: Point) -> list[Point]:
        return [(x * self.scale, y * self.scale) for x, y in points]

    def text(
        self, x: float, y: float, text: str, size: float, colour: Colour, anchor: str = "mm"
    ) -> None:
        font = ImageFont.load_default(size * self.scale)
        self.pen.text(self.at((x, y))[0], text, fill=colour, font=font, anchor=anchor)

    def box(self, box: _Box) -> None:
        stage = box.stage
        corners = self.at((box.x, box.top), (box.right, box.top + box.height))
        picture = self.thumbnails.get(stage.name)
        if picture is None:
            self.slab(box)
        else:
            place = [round(v) for corner in corners for v in corner]
            small = picture.convert("RGB").resize(
                (place[2] - place[0], place[3] - place[1]), Image.Resampling.LANCZOS
            )
            self.image.paste(small, (place[0], place[1]))
            self.pen.rectangle(corners, None, INK, self.scale // 2)
        self.labels(box)

    def slab(self, box: _Box) -> None:
        """A map as a block seen from above and the right."""
        left, right, top, below = box.x, box.right, box.top, box.top + box.height
        back, up = box.depth, box.depth * 0.6
        front = [(left, top), (right, top), (right, below), (left, below)]
        lid = [(left, top), (left + back, top - up), (right + back, top - up), (right, top)]
        side = [(right, top), (right + back, top - up), (right + back, below - up), (right, below)]
        colour, line = self.colour(box), self.scale // 2
        self.pen.polygon(self.at(*lid), _mixed(colour, PAPER, 0.45), INK, line)
        self.pen.polygon(self.at(*side), _mixed(colour, INK, 0.22), INK, line)
        self.pen.polygon(self.at(*front), colour, INK, line)

    def labels(self, box: _Box) -> None:
        stage, middle = box.stage, box.x + box.width / 2
        below = box.top + box.height
        flat = stage.name in self.thumbnails
        above = box.top - 9 - (0 if flat else 0.6 * box.depth)
        self.text(middle + (0 if flat else box.depth / 2), above, str(stage.channels), 13, INK)
        name = stage.name + (f" x{stage.times}" if stage.times > 1 else "")
        self.text(middle, below + 11, name, 12, INK)
        self.text(middle, below + 25, f"{stage.height} x {stage.width}", 10.5, GREY)

    def colour(self, box: _Box) -> Colour:
        if box.stage.is_port:
            return _END
        return _mixed(_SHALLOW, _DEEP, min(box.step / 5, 1.0))

    def connect(self, boxes: list[_Box], i: int, j: int, track: float | None) -> None:
        """A line from box i to box j: straight to the neighbour, else over what lies between."""
        start, end = boxes[i], boxes[j]
        if track is None:
            self.arrow([(start.right, start.y), (end.x, end.y)], LINE, 1.6)
            return
        out, back = start.right + 5, end.x - 5
        points = [(start.right, track), (back + 5, track)]
        if not start.top < track < start.top + start.height:
            points[0:1] = [(start.right, start.y), (out, start.y), (out, track)]
        if not end.top < track < end.top + end.height:
            points[-1:] = [(back, track), (back, end.y), (end.x, end.y)]
        self.arrow(points, SKIP, 2.0)

    def arrow(self, points: list[Point], colour: Colour, thick: float) -> None:
        line = self.at(*points)
        self.pen.line(line, colour, round(thick * self.scale), joint="curve")
        (x0, y0), (x1, y1) = points[-2:]
        length = max(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5, 1e-6)
        dx, dy = (x1 - x0) / length, (y1 - y0) / length
        tip, half = 6.0, 3.0
        base = (x1 - tip * dx, y1 - tip * dy)
        wings = [
            (base[0] - half * dy, base[1] + half * dx),
            (base[0] + half * dy, base[1] - half * dx),
        ]
        self.pen.polygon(self.at((x1, y1), *wings), fill=colour)


def _mixed(one: Colour, other: Colour, part: float) -> Colour:
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _tracks(boxes: list[_Box]) -> dict[tuple[int, int], float]:
    """The height at which each skip runs: above every box that it passes."""
    tracks: dict[tuple[int, int], float] = {}
    for i, j in _skips(boxes):
        start, end = boxes[i], boxes[j]
        between = boxes[i + 1 : j]
        ceiling = min(box.top - 20 for box in between)
        wanted = max(start.top, end.top) + 0.3 * min(start.height, end.height)
        tracks[i, j] = wanted if wanted < ceiling else ceiling
    return tracks


def _skips(boxes: list[_Box]) -> Iterator[tuple[int, int]]:
    for i, box in enumerate(boxes):
        yield from ((i, j) for j in box.users if j != i + 1)
