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
from segdsl.analysis.profile import Spread, spread, widest, widths
from segdsl.analysis.reach.concrete import Concrete, fields
from segdsl.analysis.reach.periodic import Phases
from segdsl.analysis.reach.tables import Reach
from segdsl.analysis.sizes import SizeSet
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.infer import infer
from segdsl.ir import Graph, Node, Value
from segdsl.ops.ports import Output
from segdsl.report import input_sizes
from segdsl.types import Axis

INPUTS = 20
"""Random inputs over which the mean is taken."""

LARGEST = 512
"""Sides of inputs that are chosen automatically stop here."""

FLOATS = frozenset({"f16", "bf16", "f32", "f64"})


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
    rows: Spread
    cols: Spread
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
    """Measure what influences the pixel of a stage that lies nearest to the middle of the input.

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
    placed = [_placed(reach, exact, value, axis) for axis in (0, 1)]
    if placed[0] is None or placed[1] is None or exact.wiring.types[value].rank != 4:
        return None
    (y, rows), (x, cols) = placed[0], placed[1]
    total = _influence(graph, value, reach.wiring.input, (y, x), symbols, weights, inputs, seed)
    if not total.sum() > 0:
        return None
    share = total / total.sum()
    down, across = np.arange(size[0]), np.arange(size[1])
    far = [np.abs(2 * down - sum(rows)), np.abs(2 * across - sum(cols))]
    square = np.maximum(far[0][:, None], far[1][None, :])
    return Measured(
        pixel=(y, x),
        size=size,
        box=(rows, cols),
        influence=share,
        rows=spread(*rows, down, share.sum(axis=1)),
        cols=spread(*cols, across, share.sum(axis=0)),
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
    for axis in (0, 1):
        axes: Axis = 0 if axis == 0 else 1
        lines = [reach.axis(value, axes) for value in values]
        wanted = max((line.rf_max or 1) + int(line.shift or 1) for line in lines)
        side = declared.spatial(axes)
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


def _placed(
    reach: Reach, exact: Concrete, value: Value, axis: Axis
) -> tuple[int, tuple[int, int]] | None:
    """The output nearest to the middle with the widest field, and that field."""
    field, state = exact.local(value, axis), reach.line(value, axis).local
    if field is None:
        return None
    middle = (len(field) - 1) // 2
    if not isinstance(state, Phases):
        here = field.at(middle)
        return None if here is None else (middle, here)
    chosen = widest(state)
    if chosen is None:
        return None
    phase = chosen[0]
    near = [y for y in range(phase, len(field), state.period)]
    if not near:
        return None
    y = min(near, key=lambda place: (abs(place - middle), place))
    span = state.at(y)
    assert span is not None
    return y, (span.lo, span.hi)


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
    part = Graph(graph.name, graph.settings)
    for kept in graph.nodes():
        if kept.name in needed:
            part.add(kept, graph.operands(kept.name))
    name = "output.stage"
    while name in part:
        name += "_"
    part.add(Node(name, Output(label="stage"), label="stage"), [value])
    return part



