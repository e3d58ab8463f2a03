"""The ONNX target: `to_onnx` gives a model's bytes, or writes them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from compiler.to_onnx.labels import LabelType
    from compiler.to_onnx.preprocess import Pixels
    from compiler.weights.table import Weights
    from segdsl.ir import Graph


@overload
def to_onnx(
    graph: Graph,
    path: None = None,
    weights: Weights | str | PathLike[str] | None = None,
    *,
    opset: int | None = None,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    optimize: bool = True,
    class_names: Sequence[str] = (),
    pixels: Pixels = "float",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    argmax: LabelType | None = None,
    fp16: bool = False,
    unroll: bool = False,
    allow_dense: bool = False,
) -> bytes: ...


@overload
def to_onnx(
    graph: Graph,
    path: str | PathLike[str],
    weights: Weights | str | PathLike[str] | None = None,
    *,
    opset: int | None = None,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    optimize: bool = True,
    class_names: Sequence[str] = (),
    pixels: Pixels = "float",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    argmax: LabelType | None = None,
    fp16: bool = False,
    unroll: bool = False,
    allow_dense: bool = False,
) -> None: ...


def to_onnx(
    graph: Graph,
    path: str | PathLike[str] | None = None,
    weights: Weights | str | PathLike[str] | None = None,
    *,
    opset: int | None = None,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    optimize: bool = True,
    class_names: Sequence[str] = (),
    pixels: Pixels = "float",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    argmax: LabelType | None = None,
    fp16: bool = False,
    unroll: bool = False,
    allow_dense: bool = False,
) -> bytes | None:
    """The network as it runs at inference, as an ONNX model.

    Batch, height and width stay free unless they are given. Nodes are called as in the program,
    with `/` for `.`; arrays have their weight paths; every value states its type. Equal arguments
    give equal bytes.

    Args:
        graph: the network, as loaded.
        path: the file to write, whole or not at all; arrays of more than 1.5 GB go beside it, to
            `<name>.<hash>.data`, and those of the model that is replaced go. None returns the
            bytes instead.
        weights: the arrays, or a .safetensors or checkpoint file with them; None initialises them
            from seed 0.
        opset: the opset to write; None for 18, or the smallest later one that has an exact form of
            every operator.
        size: height and width, if they are to be fixed.
        batch: the batch size, if it is to be fixed too; needs `size`.
        optimize: whether `compiler.optimize` comes first; without it batch norms stay nodes.
        class_names: what the classes are called, for the file's metadata.
        pixels: what the file is given: "float" for f32 pictures as the network takes them,
            "uint8" or "uint8-nhwc" for bytes, which become values from 0 to 1.
        mean: subtracted from those values in the file, one number or one by channel. With bytes,
            None takes the program's own `@mean` and `@std`.
        std: divides what remains.
        argmax: the type of class labels, `[N, H, W]`, that are written instead of scores. The
            output is then called `<name>_labels`.
        fp16: whether maps and weights are f16; inputs and outputs stay f32.
        unroll: whether the iterations of a `mean_field` are written out instead of a Loop.
        allow_dense: whether `mean_field(method=exact)` is written beyond 64x64 pixels.

    Raises:
        SegError: E3014 the size is not accepted, E6001 the opset has no form of an operator, E6003
            there is no such opset, E6005 no such input or output can be had, E6006 f16 does not
            hold the weights, E6010 too large for bytes, E0106 the path cannot be written, or the
            weights do not fit.
        ValueError: `batch` without `size`; no such kind of pixels or labels.
    """
    from compiler.files import check_writable
    from compiler.to_onnx.build import Options, build
    from compiler.to_onnx.files import save, to_bytes
    from compiler.to_onnx.preprocess import wished

    if path is not None:
        read = [Path(weights)] if isinstance(weights, str | PathLike) else []
        check_writable(Path(path), inputs=read)
    options = Options(
        opset,
        size,
        batch,
        optimize,
        tuple(class_names),
        preprocessing=wished(graph, pixels, mean, std),
        labels=argmax,
        half=fp16,
        unroll=unroll,
        dense=allow_dense,
    )
    model = build(graph, weights, options)
    if path is None:
        return to_bytes(model)
    save(model, path)
    return None


__all__ = ["to_onnx"]
