"""`--quantize FOLDER`: the pictures of a folder as the inputs of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.cli.console import note
from compiler.cli.options import Loaded
from segdsl.analysis.sizes import SizeSet
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph
from segdsl.ops.ports import Output

if TYPE_CHECKING:
    import onnx_ir as ir

    from compiler.run.pictures import Picture
    from compiler.to_onnx.build import Options
    from compiler.to_onnx.preprocess import Pixels, Preprocessing
    from compiler.to_onnx.quantize import Agreement, Feed
    from compiler.weights.table import Array

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pnm"}
    | {".jp2", ".npy"}
)
"""How the names of pictures end; other files of the folder are left aside."""


def write_int8(
    model: ir.Model,
    program: Loaded,
    options: Options,
    pictures: tuple[list[Path], int],
    output: str,
) -> None:
    """Write the model in int8, and say how often it agrees with f32.

    Raises:
        SegError: a picture is not usable, the quantiser failed, the file cannot be written.
    """
    from compiler.to_onnx.files import save_pieces, to_bytes
    from compiler.to_onnx.half import positions
    from compiler.to_onnx.labels import bounds_of
    from compiler.to_onnx.preprocess import Preprocessing
    from compiler.to_onnx.quantize import quantize

    paths, others = pictures
    prepared = options.preprocessing or Preprocessing()
    reader = Calibration(program.graph, program.accepted, prepared, options.size, options.batch)
    content, keep = to_bytes(model), {node.name or "" for node in positions(list(model.graph))}
    made = quantize(content, reader.feeds(paths), bounds_of(program.graph), keep)
    if others:
        note(f"{others} other files in the folder are left aside")
    note(f"int8 and f32 give the same class: {_shares(made.calibration)} calibration pictures")
    if made.held_out is None:
        note("with one picture none is held out: these figures are those of calibration alone")
    else:
        note(f"and on pictures kept from calibration: {_shares(made.held_out)} pictures")
    note(f"{len(content):,} bytes in f32, {len(made.content):,} in int8")
    save_pieces([made.content], output)


def _shares(found: Agreement) -> str:
    shares = (f"{name} {share:.1%}" for name, share in found.by_output.items())
    return f"{', '.join(shares)} of the pixels of {found.pictures}"


def pictures_in(folder: str) -> tuple[list[Path], int]:
    """The pictures of a folder by name, and how many other files lie there.

    Raises:
        SegError: E6007 it is no folder, or holds no pictures.
    """
    try:
        files = sorted(path for path in Path(folder).iterdir() if path.is_file())
    except (OSError, ValueError) as error:
        raise _refused(f"`{folder}` cannot be read: {getattr(error, 'strerror', error)}") from error
    found = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not found:
        raise _refused(f"`{folder}` holds no pictures", f"their names end in {_some()}")
    return found, len(files) - len(found)


def _some() -> str:
    return ", ".join(sorted(SUFFIXES))


def _refused(message: str, *helps: str) -> SegError:
    helps = helps or ("give a folder with pictures as the network will see them",)
    return SegError(Diagnostic("E6007", message, None, helps=text_helps(*helps)))


@dataclass(frozen=True)
class Calibration:
    """How pictures become inputs of the file.

    Attributes:
        graph: the network, as loaded.
        accepted: its sizes.
        preprocessing: what the file does itself.
        size: height and width, if they are fixed; pictures are scaled to it.
        batch: the batch size, if it is fixed; a picture is repeated to fill it.
    """

    graph: Graph
    accepted: Mapping[str, SizeSet]
    preprocessing: Preprocessing
    size: tuple[int, int] | None
    batch: int | None

    def feeds(self, paths: Sequence[Path]) -> list[Feed]:
        """A reader of each picture; every picture is read once now, so that none fails later.

        Raises:
            SegError: one cannot be read (E0110, E0111) or does not fit the network (E0112).
        """
        for path in paths:
            self.feed(path)
        return [self._reader(path) for path in paths]

    def _reader(self, path: Path) -> Feed:
        return lambda: self.feed(path)

    def feed(self, path: Path) -> Mapping[str, Array]:
        """The file's inputs for one picture."""
        from compiler.run.fit import fit
        from compiler.run.pictures import read_picture
        from compiler.run.prepare import network_values, single_input

        name, wanted = single_input(self.graph)
        picture = read_picture(path)
        values: Any = network_values(picture, wanted, self._outside(), [])
        if self.size is not None:
            values = _scaled(values, self.size)
        else:
            output = next(o for o in self.graph.outputs if not _trains(self.graph, o))
            size = picture.height, picture.width
            values = fit(self.graph, output, size, self.accepted).pad(values)
        values = _as_pixels(values[None], self.preprocessing.pixels, picture)
        return {name: np.ascontiguousarray(np.repeat(values, self.batch or 1, 0))}

    def _outside(self) -> Any:
        """The normalisation that the file leaves to its caller: what the program states."""
        from compiler.run.prepare import Normalisation
        from compiler.to_onnx.preprocess import stated

        if not self.preprocessing.idle:
            return Normalisation()
        numbers = stated(self.graph)
        return Normalisation(numbers.get("mean", (0.0,)), numbers.get("std", (1.0,)))


def _trains(graph: Graph, name: str) -> bool:
    op = graph[name].op
    return isinstance(op, Output) and op.train


def _scaled(values: Array, size: tuple[int, int]) -> Array:
    """`[C, H, W]` at another size, each pixel a mean of what it covers."""
    from PIL import Image

    height, width = size
    if values.shape[1:] == size:
        return values
    planes = [
        np.asarray(
            Image.fromarray(plane.astype(np.float32)).resize(
                (width, height), Image.Resampling.BILINEAR
            )
        )
        for plane in values
    ]
    scaled = np.stack(planes)
    return np.rint(scaled).astype(np.uint8) if values.dtype == np.uint8 else scaled


def _as_pixels(values: Array, pixels: Pixels, picture: Picture) -> Array:
    """What the file takes: bytes, where it says so."""
    if pixels == "float":
        return values
    if picture.is_array:
        message = f"`{picture.name}` holds floats, and the file takes bytes"
        raise _refused(message, "give picture files, or leave out `--preprocess`")
    whole: Array = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return whole.transpose(0, 2, 3, 1) if pixels == "uint8-nhwc" else whole
