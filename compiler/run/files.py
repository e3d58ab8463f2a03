"""From a picture file to a mask file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from compiler.files import check_writable
from compiler.run.masks import mask_png, overlay_png
from compiler.run.pictures import read_picture
from compiler.run.prepare import Normalisation
from compiler.run.segment import Segmentation, segment
from compiler.together import write_all
from compiler.weights.table import Weights
from segdsl.analysis.sizes import SizeSet
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Report:
    """What `run` did.

    Attributes:
        segmentation: the mask, and how it came about.
        written: the files, in the order of writing.
        lines: sentences for the user about the picture, ready to print.
    """

    segmentation: Segmentation
    written: tuple[Path, ...]
    lines: tuple[str, ...]


def run(
    graph: Graph,
    weights: nn.Module | Weights,
    picture: StrPath,
    mask: StrPath,
    *,
    overlay: StrPath | None = None,
    output: str | None = None,
    normalisation: Normalisation | None = None,
    accepted: Mapping[str, SizeSet] | None = None,
) -> Report:
    """Segment a picture file; write the mask and, where asked for, the picture under the mask.

    The mask is a PNG whose pixel values are class indices: 8 bits with a palette, or 16 bits of
    grey beyond 256 classes. It has the size of the picture. Other arguments as of `segment`.

    Raises:
        SegError: as `read_picture` and `segment`; E0106 an output cannot be written. Nothing is
            written then.
    """
    check_outputs(mask, overlay, inputs=[picture])
    read = read_picture(picture)
    result = segment(
        graph, weights, read, output=output, normalisation=normalisation, accepted=accepted
    )
    contents = [(Path(mask), mask_png(result.classes))]
    if overlay is not None:
        contents.append((Path(overlay), overlay_png(read.shown(), result.classes)))
    write_all(contents)
    lines = tuple(f"{read.name} {note}" for note in result.notes)
    return Report(result, tuple(path for path, _ in contents), lines)


def check_outputs(mask: StrPath, overlay: StrPath | None, *, inputs: list[StrPath]) -> None:
    """Refuse outputs that cannot be written, before any work.

    Raises:
        SegError: E0106 one is an input or no `.png`, both are one file, or it cannot be written.
    """
    for path in (mask, overlay) if overlay is not None else (mask,):
        if Path(path).suffix.lower() != ".png":
            raise _refused(path, "masks and overlays are PNG files", "end its name in .png")
        check_writable(os.fspath(path), inputs=[os.fspath(p) for p in inputs])
    if overlay is not None and os.path.realpath(mask) == os.path.realpath(overlay):
        raise _refused(overlay, "it is the file of the mask", "give the overlay another name")


def _refused(path: StrPath, why: str, help: str) -> SegError:
    message = f"`{os.fspath(path)}` cannot be written: {why}"
    return SegError(Diagnostic("E0106", message, None, helps=text_helps(help)))
