"""Running a network on one picture: fit, forward, back to the picture's pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from compiler.run.fit import Fit, fit, takes
from compiler.run.masks import INDEXED, Classes
from compiler.run.pictures import Picture
from compiler.run.prepare import Normalisation, network_values, picture_inputs
from compiler.run.refusals import no_mask
from compiler.to_torch import to_torch
from compiler.weights.table import Weights
from segdsl.analysis.shapes import shapes
from segdsl.analysis.sizes import SizeSet, Undecidable, sizes
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph, Value
from segdsl.ops.activation import HardSigmoid, Identity, Sigmoid
from segdsl.ops.combine import Crop
from segdsl.ops.ports import Output
from segdsl.ops.regularise import Dropout
from segdsl.ops.resize import Resize
from segdsl.spelling import nearest
from segdsl.symbolic import symbols

_LARGEST = 65_536
_IN_BETWEEN = (Resize, Crop, Dropout, Identity)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmented picture.

    Attributes:
        classes: the class index of each pixel of the picture, `[H, W]`.
        count: how many classes the network tells apart (2 for a single channel); None where the
            output is made of indices.
        output: the name of the output it was read from.
        fit: how the picture went through the network.
        notes: what was done that the owner of the picture may not expect.
    """

    classes: Classes
    count: int | None
    output: str
    fit: Fit
    notes: tuple[str, ...]


def segment(
    graph: Graph,
    weights: nn.Module | Weights,
    picture: Picture | NDArray[np.floating],
    *,
    output: str | None = None,
    normalisation: Normalisation | None = None,
    accepted: Mapping[str, SizeSet] | None = None,
) -> Segmentation:
    """The class of each pixel of a picture.

    The picture is padded to a size that the network accepts, and the mask cropped back (see
    `compiler.run.fit.fit`). Of several channels the largest wins; of a single one, a probability
    above 1/2 is class 1; an output of whole numbers is taken as it is.

    Args:
        graph: a network with one input, and perhaps guides of a CRF: u8 inputs of the same size,
            which take the picture's bytes.
        weights: its module, which is run in eval mode and left as it was, or its arrays.
        picture: from `read_picture`, or an array `[C, H, W]` of floats as the network takes them.
        output: the name of an output; the first by default.
        normalisation: mean and std; none by default.
        accepted: the accepted sizes, where they are known already.

    Raises:
        SegError: E0112 the picture does not fit the network, E0113 the output is no mask,
            E0105 there is no such output, E0114 the run failed.
    """
    if not isinstance(picture, Picture):
        picture = Picture("the array", np.asarray(picture, np.float32), is_array=True)
    inputs = picture_inputs(graph)
    node = _output(graph, output)
    notes = [*picture.notes]
    values = {
        inputs.name: network_values(
            picture, inputs.feature, normalisation or Normalisation(), notes
        ),
        **{g: network_values(picture, f, Normalisation(), []) for g, f in inputs.guides.items()},
    }
    accepted = _accepted(graph) if accepted is None else accepted
    placed = fit(graph, node, (picture.height, picture.width), accepted)
    notes += _size_notes(graph, inputs.name, placed, accepted)
    module = to_torch(graph, weights) if isinstance(weights, Weights) else weights
    scores = _forward(module, [placed.pad(values[name]) for name in graph.inputs])
    chosen = scores if isinstance(scores, Tensor) else scores[graph.outputs.index(node)]
    classes, count = _classes(graph, node, chosen, placed)
    op = graph[node].op
    assert isinstance(op, Output)
    return Segmentation(classes, count, op.label, placed, tuple(notes))


def _output(graph: Graph, name: str | None) -> str:
    """The node of an output; those that exist only in training do not count."""
    labels = {op.label: node for node, op in _outputs(graph)}
    if name is None:
        return next(iter(labels.values()))
    if name not in labels:
        near = nearest(name, list(labels))
        helps = text_helps(f"did you mean `{near}`?") if near else ()
        message = f"`{graph.name}` has no output `{name}`; it has {', '.join(labels)}"
        raise SegError(Diagnostic("E0105", message, None, helps=helps))
    return labels[name]


def _outputs(graph: Graph) -> Iterator[tuple[str, Output]]:
    for node in graph.outputs:
        op = graph[node].op
        if isinstance(op, Output) and not op.train:
            yield node, op


def _accepted(graph: Graph) -> Mapping[str, SizeSet]:
    try:
        return sizes(graph)
    except Undecidable as error:
        message = f"the accepted sizes cannot be computed: {error}"
        raise SegError(Diagnostic("E3015", message, None)) from error


def _size_notes(
    graph: Graph, name: str, placed: Fit, accepted: Mapping[str, SizeSet]
) -> Iterator[str]:
    height, width = placed.axes
    if placed.padded:
        feature = shapes(graph)[Value(name)]
        names = sorted({s for side in feature.shape[2:] for s in symbols(side)})
        sides = takes(accepted, names) or f"{feature.height}x{feature.width} only"
        if any(axis.start != axis.before for axis in placed.axes):
            sides += ", and its output lacks the border"
        modes = {axis.mode for axis in placed.axes if axis.before or axis.after}
        yield (
            f"is {height.picture}x{width.picture}; this net accepts {sides}; padded to "
            f"{height.padded}x{width.padded} ({', '.join(sorted(modes))}), cropped back"
        )
    if placed.coarse:
        yield (
            f"gives {height.out}x{width.out} scores for {height.padded}x{width.padded} pixels; "
            "they are enlarged (bilinear) before the classes are told"
        )


def _forward(
    module: nn.Module, values: Sequence[NDArray[np.generic]]
) -> Tensor | tuple[Tensor, ...]:
    place = next(iter((*module.parameters(), *module.buffers())), torch.empty(0)).device
    with _evaluating(module), _explained():
        result: Tensor | tuple[Tensor, ...] = module(
            *(torch.from_numpy(value)[None].to(place) for value in values)
        )
        return result


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every module is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def _explained() -> Iterator[None]:
    """Running out of memory is no bug: say so."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if isinstance(error, MemoryError) or "memory" in text:
            message = "the network needs more memory for this picture than there is"
            helps = text_helps("cut the picture into parts, or scale it down")
            raise SegError(Diagnostic("E0114", message, None, helps=helps)) from error
        raise


def _classes(graph: Graph, node: str, scores: Tensor, placed: Fit) -> tuple[Classes, int | None]:
    channels = scores.shape[1]
    if not scores.is_floating_point():
        return _indices(scores, placed), None
    if channels > _LARGEST:
        raise no_mask(
            f"the output has {channels:,} channels; a mask holds at most {_LARGEST:,} classes"
        )
    scores = scores.float()
    if not bool(torch.isfinite(scores).all()):
        helps = "do the weights belong to this net, and is the picture normalised as they need it?"
        raise SegError(
            Diagnostic(
                "E0114", "the output holds NaN or infinite numbers", None, helps=text_helps(helps)
            )
        )
    if placed.coarse:
        grid = [axis.grid for axis in placed.axes]
        scores = functional.interpolate(scores, grid, mode="bilinear", align_corners=False)
    if channels == 1:
        bound = 0.5 if _is_probability(graph, node) else 0.0
        return _typed(placed.crop((scores[0, 0] > bound).cpu().numpy()), 2), 2
    return _typed(placed.crop(scores[0].argmax(0).cpu().numpy()), channels), channels


def _indices(scores: Tensor, placed: Fit) -> Classes:
    """An output of whole numbers, from `argmax` in the program."""
    if scores.shape[1] != 1:
        raise no_mask(f"the output holds {scores.shape[1]} whole numbers per pixel, not one class")
    index = scores[0, 0].cpu().numpy()
    for axis, side in enumerate(placed.axes):
        if side.grid != side.out:
            index = index.take(np.arange(side.grid) * side.out // side.grid, axis)
    index = placed.crop(index)
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= _LARGEST:
        raise no_mask(f"the output runs from {low} to {high}: these are no classes")
    return _typed(index, high + 1)


def _typed(index: NDArray[np.generic], count: int) -> Classes:
    return index.astype(np.uint8) if count <= INDEXED else index.astype(np.uint16)


def _is_probability(graph: Graph, node: str) -> bool:
    """Whether the program itself ends with a sigmoid: then the bound is 1/2, not 0."""
    name = node
    while operands := graph.operands(name):
        name = operands[0].node
        op = graph[name].op
        if not isinstance(op, _IN_BETWEEN):
            return isinstance(op, Sigmoid | HardSigmoid)
    return False
