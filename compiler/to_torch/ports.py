"""The borders of a graph in torch: arguments, returned values, bare learned arrays."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, EmissionError, Layer, Make, layer
from segdsl.ops.ports import Input, Output, Weight
from segdsl.types import Feature


@layer.register
def input(op: Input) -> Layer:
    """Inputs become arguments of `forward`; nothing calls this."""
    raise EmissionError("an input is an argument, not a call")


@layer.register
def output(op: Output, x: Feature) -> Layer:
    """Outputs are returned; the map itself."""
    return Layer("{0}")


@layer.register
def weight(op: Weight) -> Layer:
    """The array itself; `torch.empty` takes the sizes, one by one."""
    sizes = tuple(Arg(n, origin=f"shape.{i}") for i, n in enumerate(op.shape))
    make = Make("nn.Parameter", sizes, frozen=not op.train)
    return Layer("{self}", make=make, passes_channels=False)
