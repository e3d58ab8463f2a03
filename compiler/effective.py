"""The effective receptive field of a network with its weights, measured by gradients.

The influence of an input pixel is the mean over random inputs of the size of the derivative of one
output pixel (Luo et al. 2016, arXiv:1701.04128).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compiler.to_torch.build import build
from compiler.weights import Weights
from segdsl.analysis.params import params
from segdsl.analysis.reach.concrete import fields
from segdsl.analysis.reach.effective import SHARES
from segdsl.analysis.reach.tables import Reach
from segdsl.analysis.sizes import SizeSet
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.infer import infer
from segdsl.ir import Graph, Node, Value
from segdsl.ops.ports import Output
from segdsl.reach_report.boxes import middle
from segdsl.reach_report.influence import Marginal
from segdsl.report import input_sizes
from segdsl.types import HEIGHT, WIDTH

INPUTS = 20
"""Random inputs over which the mean is taken."""

LARGEST = 512
"""Sides of inputs that are chosen automatically stop here."""

FLOATS = frozenset({"f16", "bf16", "f32", "f64"})


_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Measured:
    """What influences one pixel of a stage.

    Attributes:
        pixel: the row and column of the pixel.
        size: height and width of the inputs that were used.
        box: first and last row, first and last column of the theoretical local field, which may
            lie beyond the input.
        influence: the influence of every input pixel, as a part of the whole.
        rows: how it spreads over rows.
        cols: how it spreads over columns.
        sides: for each of SHARES the side of the square around the middle of the field that holds
            it, in pixels.
    """

    pixel: tuple[int, int]
    size: tuple[int, int]
    box: tuple[tuple[int, int], tuple[int, int]]
    influence: NDArray[np.float64]
    rows: Marginal
    cols: Marginal
    sides: tuple[int, ...]


def measured(
    reach: Reach,
    value: Value,
    accepted: Mapping[str, SizeSet],
    *,
    size: tuple[int, int],
    weights: Weights | None = None,
    inputs: int = INPUTS,
    seed: int = 0,
) -> Measured | None:
    """Measure what influences the pixel in the middle of a stage.

    The module runs in eval mode. Of a periodic stage the pixel has the phase with the widest field.

    Args:
        reach: the receptive fields; their input is the one that is differentiated.
        value: the stage.
        accepted: the accepted sizes by symbol.
        size: height and width of the inputs.
        weights: all arrays of the network; None initialises them.
        inputs: how many random inputs.
        seed: of the random inputs.

    Returns:
        None where the stage is no map, reads nothing locally, or has no gradient.

    Raises:
        SegError: E3014 the size is not accepted, E0114 torch failed, E0112 the input holds whole
            numbers.
    """
    graph = reach.graph
    symbols = input_sizes(graph, accepted, size, 1)
    exact = fields(graph, {k: v for k, v in symbols.items() if k != "N"}, reach.wiring.input)
    down, across = middle(reach, exact, value, HEIGHT), middle(reach, exact, value, WIDTH)
    if down is None or across is None or exact.wiring.types[value].rank != 4:
        return None
    pixel = (down.y, across.y)
    total = _influence(graph, value, reach.wiring.input, pixel, symbols, weights, inputs, seed)
    if not total.sum() > 0:
        return None
    share = total / total.sum()
    rows, cols = np.arange(size[0]), np.arange(size[1])
    above, beside = abs(2 * rows - down.lo - down.hi), abs(2 * cols - across.lo - across.hi)
    # On a common scale: a middle may lie on a pixel along one axis and between two on the other.
    square = np.maximum(above[:, None], beside[None, :])
    return Measured(
        pixel=pixel,
        size=size,
        box=((down.lo, down.hi), (across.lo, across.hi)),
        influence=share,
        rows=_marginal(above, share.sum(axis=1)),
        cols=_marginal(beside, share.sum(axis=0)),
        sides=widths(square, share),
    )


def fitting_size(
    reach: Reach, values: Sequence[Value], accepted: Mapping[str, SizeSet]
) -> tuple[int, int] | None:
    """Accepted height and width that hold the fields of these values, up to LARGEST if possible.

    None where no size up to the double of LARGEST is accepted.
    """
    declared = infer(reach.graph[reach.wiring.input].op, ())[0]
    found = []
    for axis in (HEIGHT, WIDTH):
        lines = [reach.axis(value, axis) for value in values]
        wanted = max((line.rf_max or 1) + (line.shift or 1) for line in lines)
        side = declared.spatial(axis)
        if isinstance(side, int):
            found.append(side)
            continue
        known = next(accepted[name] for name in accepted if str(side) == name)
        chosen = known.at_least(min(wanted, LARGEST))
        if chosen is None or chosen > 2 * LARGEST:
            return None
        found.append(chosen)
    if str(declared.height) == str(declared.width):
        found = [max(found)] * 2
    return found[0], found[1]


def _marginal(twice: NDArray[np.int64], share: NDArray[np.float64]) -> Marginal:
    places = np.arange(len(share))
    mean = float(share @ places)
    return Marginal(float(np.sqrt(share @ (places - mean) ** 2)), widths(twice, share))


def widths(twice: NDArray[np.int64], share: NDArray[np.float64]) -> tuple[int, ...]:
    """For each of SHARES the smallest width, in pixels, of a centred box that holds it.

    Args:
        twice: double the distance of each pixel from the middle.
        share: the part of the total that each pixel has.
    """
    inside = np.bincount(twice.ravel(), weights=share.ravel()).cumsum()
    reached = np.searchsorted(inside, np.array(SHARES) * inside[-1] - _ROUNDING)
    return tuple(int(r) + 1 for r in reached)


def _influence(
    graph: Graph,
    value: Value,
    source: str,
    pixel: tuple[int, int],
    symbols: Mapping[str, int],
    weights: Weights | None,
    inputs: int,
    seed: int,
) -> NDArray[np.float64]:
    """The sum over random inputs and channels of the size of the derivatives."""
    part = up_to(graph, value)
    module = _module(part, weights)
    shapes = {name: infer(part[name].op, ())[0].shape for name in part.inputs}
    if infer(part[source].op, ())[0].dtype not in FLOATS:
        message = f"`{source}` holds whole numbers: no influence can be measured by gradients"
        raise SegError(Diagnostic("E0112", message, None))
    random = torch.Generator().manual_seed(seed)
    total = np.zeros(0)
    for _ in range(inputs):
        arrays = [
            torch.randn([_number(side, symbols) for side in shapes[name]], generator=random)
            for name in part.inputs
        ]
        image = arrays[part.inputs.index(source)].requires_grad_()
        found = _derivative(module, arrays, image, pixel).abs().sum(dim=(0, 1)).double().numpy()
        total = found if not total.size else total + found
    return total


def _number(side: object, symbols: Mapping[str, int]) -> int:
    return side if isinstance(side, int) else symbols.get(str(side), 1)


def _derivative(
    module: nn.Module, arrays: Sequence[Tensor], image: Tensor, pixel: tuple[int, int]
) -> Tensor:
    try:
        output = module(*arrays)
        score = output[0, :, pixel[0], pixel[1]].sum()
        (found,) = torch.autograd.grad(score, image, allow_unused=True)
    except RuntimeError as error:  # too little memory, sizes that torch refuses
        reason = str(error).split("\n")[0]
        raise SegError(Diagnostic("E0114", f"the run failed: {reason}", None)) from error
    return torch.zeros_like(image) if found is None else found


def _module(part: Graph, weights: Weights | None) -> nn.Module:
    if weights is not None:
        weights = Weights({path: weights[path] for path in params(part)})
    module = build(part, weights, flat=True).eval()
    for array in module.parameters():
        array.requires_grad_(False)
    return module


def up_to(graph: Graph, value: Value) -> Graph:
    """The part of a network that computes a value, which becomes its only output.

    All inputs stay, so that sizes keep their meaning.
    """
    needed = {value.node, *graph.inputs}
    for node in reversed(list(graph)):
        if node in needed:
            needed.update(operand.node for operand in graph.operands(node))
    part = graph.blank()
    for kept in graph.nodes():
        if kept.name in needed:
            part.add(kept, graph.operands(kept.name))
    name = "output.stage"
    while name in part:
        name += "_"
    part.add(Node(name, Output(label="stage"), label="stage"), [value])
    return part
