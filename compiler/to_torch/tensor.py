"""Matrix products, reshapes and patches in torch."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, Make, layer, size
from segdsl.ops.tensor import Flatten, Fold, Matmul, Permute, Reshape, Unfold
from segdsl.types import Feature


@layer.register
def matmul(op: Matmul, a: Feature, b: Feature) -> Layer:
    return Layer("torch.matmul({0}, {1})", passes_channels=False)


@layer.register
def reshape(op: Reshape, x: Feature, *like: Feature) -> Layer:
    """Kept sizes are read from `shape` of the operand, so that they stay symbolic in export."""
    sizes = [f"{{0}}.shape[{i}]" if n == 0 else str(int(n)) for i, n in enumerate(op.shape)]
    if like:
        sizes += ["{1}.shape[2]", "{1}.shape[3]"]
    return Layer(f"{{0}}.reshape({', '.join(sizes)})", passes_channels=False)


@layer.register
def permute(op: Permute, x: Feature) -> Layer:
    order = ", ".join(str(int(axis)) for axis in op.order)
    return Layer(f"{{0}}.permute({order})", passes_channels=False)


@layer.register
def flatten(op: Flatten, x: Feature) -> Layer:
    first, last = op.span(x.rank)
    last = -1 if last == x.rank - 1 else last
    text = f"{first}" if last == -1 else f"{first}, {last}"
    module = Make("nn.Flatten", (Arg(first, "start_dim", 1), Arg(last, "end_dim", -1)))
    return Layer(f"{{0}}.flatten({text})", module=module, passes_channels=False)


def _patches(op: Unfold | Fold) -> tuple[Arg, ...]:
    sides = op.sides
    padding = sides.top if sides.top == sides.left else (sides.top, sides.left)
    return (
        Arg(size(op.kernel), origin="kernel"),
        Arg(size(op.dilation), "dilation", 1, "dilation"),
        Arg(padding, "padding", 0, "pad"),
        Arg(size(op.stride), "stride", 1, "stride"),
    )


@layer.register
def unfold(op: Unfold, x: Feature) -> Layer:
    return Layer("F.unfold({0}{args})", _patches(op), passes_channels=False)


@layer.register
def fold(op: Fold, x: Feature, *like: Feature) -> Layer:
    if like:
        return Layer("F.fold({0}, {1}.shape[-2:]{args})", _patches(op), passes_channels=False)
    assert op.to is not None
    to = Arg((int(op.to.height), int(op.to.width)), origin="to")
    return Layer("F.fold({0}{args})", (to, *_patches(op)), passes_channels=False)
