"""Known sizes behind names: the same question, asked once with numbers and once with symbols."""

from __future__ import annotations

from segdsl.symbolic import Size, evaluate, symbol
from segdsl.types import Feature, Requirement


def hide(inputs: tuple[Feature, ...]) -> tuple[tuple[Feature, ...], dict[str, int]]:
    """The same types with every size but the channels and the ones as a symbol, and their values.

    Sizes of 1 stay: that an axis is stretched is decided by the writer, never by a size.
    """
    values: dict[str, int] = {}
    hidden: list[Feature] = []
    for slot, feature in enumerate(inputs):
        shape: list[Size] = []
        for axis, size in enumerate(feature.shape):
            assert isinstance(size, int)
            if axis == 1 or size == 1 or feature.rank == 1:
                shape.append(size)
                continue
            name = f"s{slot}_{axis}" if axis else "N"
            if axis == 0 and values.get("N", size) != size:
                name = f"N{slot}"
            values[name] = size
            shape.append(symbol(name))
        hidden.append(Feature(tuple(shape), feature.dtype))
    return tuple(hidden), values


def reveal(feature: Feature, values: dict[str, int]) -> Feature:
    """The type with its symbols replaced by numbers."""
    return Feature(tuple(evaluate(size, values) for size in feature.shape), feature.dtype)


def holds(need: Requirement, values: dict[str, int]) -> bool:
    """Whether a requirement is true at these sizes."""
    left, right = evaluate(need.left, values), evaluate(need.right, values)
    match need.kind:
        case "equal":
            return left == right
        case "at_least":
            return left >= right
        case "multiple":
            return left % right == 0
