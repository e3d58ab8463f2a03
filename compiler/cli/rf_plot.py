"""The picture of `segdsl rf --plot`: which stages, on what, at which size."""

from __future__ import annotations

import argparse
import io
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec

import numpy as np
from PIL import Image, ImageOps

from compiler.cli.console import note
from compiler.cli.usage import usage_error
from compiler.files import write_atomic
from compiler.plot_reach import DrawnField, Rect, plot
from compiler.run.pictures import read_picture
from segdsl.analysis.reach.effective import SHARES
from segdsl.analysis.sizes import SizeSet
from segdsl.infer import infer
from segdsl.ops.ports import Output
from segdsl.reach_report.boxes import Place, middle
from segdsl.reach_report.collect import Analysis, analyse
from segdsl.reach_report.influence import Influence
from segdsl.reach_report.rows import ReachReport, StageRow
from segdsl.reach_report.text import field_text, tags_text
from segdsl.symbolic import Size
from segdsl.types import HEIGHT, WIDTH

MOST = 6
"""Stages that are drawn where none was named."""

SIDE = 1024
"""Pictures are reduced to this longer side where no size was given."""

SHARE = 3
"""Of SHARES the one whose box is drawn: two standard deviations of a bell."""


def write_plot(
    analysis: Analysis,
    report: ReachReport,
    influences: Sequence[Influence],
    args: argparse.Namespace,
    *,
    every: bool,
) -> None:
    """Draw the fields of a report's stages and write the picture.

    Args:
        analysis: what the report was made from.
        report: its stages are drawn, `every` one or a selection.
        influences: effective fields, to be drawn inside.
        args: the options of the command.
        every: whether the stages were named.

    Raises:
        SegError: the picture cannot be read or the plot not written; nothing can be drawn.
    """
    picture = _picture(args.picture)
    size = analysis.size or _size(analysis, picture.size)
    if analysis.size is None:
        name = analysis.table.wiring.input
        analysis = analyse(analysis.graph, analysis.accepted, input=name, size=size)
    found = [_drawn(analysis, row, influences) for row in report.stages]
    drawn = [field for field in found if field is not None]
    if not drawn:
        raise usage_error("nothing can be drawn: no stage reads pixels locally")
    outputs = {
        op.label for n in analysis.graph.outputs if isinstance(op := analysis.graph[n].op, Output)
    }
    shown = drawn if every else _selection(drawn, outputs)
    # Cut to the shape of the input, never squeezed: boxes are to scale.
    shrunk = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.LANCZOS)
    title = f"{report.net}: receptive fields in {report.input} at {size[0]} x {size[1]}"
    image = plot(shrunk, shown, title=title, notes=_notes(shown, drawn))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    write_atomic(args.plot, buffer.getvalue())
    note(f"wrote {args.plot}")


def _picture(path: str | None) -> Image.Image:
    """The picture to draw on: a file, else one that comes with scikit-image, else a grid."""
    if path is not None:
        found = read_picture(path)
        for line in found.notes:
            note(f"{path}: {line}")
        return Image.fromarray(found.shown())
    if find_spec("skimage") is not None:
        from skimage import data

        return Image.fromarray(np.asarray(data.astronaut()))
    return _grid(512)


def _grid(side: int, step: int = 32) -> Image.Image:
    """Squares in two greys, by which distances can be read off."""
    place = np.arange(side) // step
    light = (place[:, None] + place[None, :]) % 2
    return Image.fromarray(np.where(light, 205, 170).astype(np.uint8)).convert("RGB")


def _size(analysis: Analysis, picture: tuple[int, int]) -> tuple[int, int]:
    """The accepted height and width nearest to those of the picture, or of a smaller one."""
    shrink = min(1.0, SIDE / max(picture))
    declared = infer(analysis.graph[analysis.table.wiring.input].op, ())[0]
    wanted = round(picture[1] * shrink), round(picture[0] * shrink)
    if declared.height == declared.width:
        wanted = (min(wanted), min(wanted))
    height = _nearest(declared.height, wanted[0], analysis.accepted)
    width = _nearest(declared.width, wanted[1], analysis.accepted)
    if height is None or width is None:
        raise usage_error("no accepted size is near that of the picture", "choose one by `--size`")
    return height, width


def _nearest(side: Size, wanted: int, accepted: Mapping[str, SizeSet]) -> int | None:
    if isinstance(side, int):
        return side
    near = accepted[str(side)].nearest(wanted)
    return min(near, key=lambda n: abs(n - wanted)) if near else None


def _drawn(analysis: Analysis, row: StageRow, influences: Sequence[Influence]) -> DrawnField | None:
    """What is drawn of a stage; None where it has no local field."""
    if row.pixel is not None:
        box = row.pixel.local
        if box is None:
            return None
        exact = Rect(box.rows[0], box.cols[0], box.rows[1], box.cols[1])
        text = f"pixel {row.pixel.at[0]},{row.pixel.at[1]}: {_extent(exact)}"
        return DrawnField(row.name, (text,), exact)
    table, fields = analysis.table, analysis.exact
    assert fields is not None
    wide = [middle(table, fields, row.value, axis) for axis in (HEIGHT, WIDTH)]
    slim = [middle(table, fields, row.value, axis, widest=False) for axis in (HEIGHT, WIDTH)]
    if fields.wiring.types[row.value].rank != 4:
        return None
    widest, narrowest = _rect(wide), _rect(slim)
    if widest is None:
        return None
    smaller = None if narrowest is None or _extent(narrowest) == _extent(widest) else narrowest
    inner = next((i for i in influences if i.stage == row.name), None)
    effective = None if inner is None else _inner(widest, inner)
    lines = [_line(row, widest), *_wider(row)]
    if effective is not None:
        lines.append(f"{SHARES[SHARE] * 100:.4g} % of the influence: {_extent(effective)}")
    return DrawnField(row.name, tuple(lines), widest, smaller, effective)


def _wider(row: StageRow) -> Sequence[str]:
    """What is read beyond the box, as `global via stat`; nothing where all edges are local."""
    texts = list(dict.fromkeys(tags_text(axis).removeprefix("local; ") for axis in row.axes))
    return [] if texts == ["local"] else ["beyond it: " + ", ".join(texts)]


def _rect(places: Sequence[Place | None]) -> Rect | None:
    rows, columns = places
    if rows is None or columns is None:
        return None
    return Rect(rows.lo, columns.lo, rows.hi, columns.hi)


def _line(row: StageRow, widest: Rect) -> str:
    h, w = (axis.reach for axis in row.axes)
    if h.jump is None:
        return f"{_extent(widest)} in the middle"
    if field_text(h) == field_text(w):
        return f"{field_text(h)}, jump {h.jump}"
    return f"{field_text(h)} x {field_text(w)}, jump {h.jump} x {w.jump}"


def _extent(box: Rect) -> str:
    return f"{box.bottom - box.top + 1} x {box.right - box.left + 1}"


def _inner(box: Rect, found: Influence) -> Rect | None:
    """The centred box that holds most of the influence, by gradients where they were measured."""
    if found.gradients is not None:
        height = width = found.gradients.sides[SHARE]
    elif found.uniform[0] is not None and found.uniform[1] is not None:
        height, width = (m.widths[SHARE] for m in found.uniform if m is not None)
    else:
        return None
    top = (box.top + box.bottom + 1 - height) // 2
    left = (box.left + box.right + 1 - width) // 2
    return Rect(top, left, top + height - 1, left + width - 1)


def _selection(drawn: Sequence[DrawnField], outputs: Collection[str]) -> list[DrawnField]:
    """The first outputs and some other stages of different extent, spread over all of them."""
    last = [field for field in drawn if field.name in outputs][: MOST // 2]
    taken = {_extent(field.widest) for field in last}
    others = {_extent(f.widest): f for f in drawn if _extent(f.widest) not in taken}
    rest, room = list(others.values()), MOST - len(last)
    if len(rest) > room:
        rest = [rest[round((i + 1) * (len(rest) - 1) / room)] for i in range(room)]
    return [field for field in drawn if field in rest or field in last]


def _notes(shown: Sequence[DrawnField], drawn: Sequence[DrawnField]) -> list[str]:
    lines = []
    if any(field.narrowest is not None for field in shown):
        lines.append("dashes: the phase that reads least")
    if any(field.effective is not None for field in shown):
        lines.append("filled, dots: where most of the influence lies")
    if len(shown) < len(drawn):
        lines.append(f"{len(shown)} of {len(drawn)} stages; --at chooses others")
    return lines
