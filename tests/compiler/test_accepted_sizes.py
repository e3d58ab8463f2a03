"""Accepted sizes against torch: for random networks and every size up to 300, of both axes.

Accepted means that the emitted module runs and that all its joins agree; refused means that torch
refuses, or that a join does not agree. The other axis is small, so that torch computes for real,
which is faster than its meta device. What torch lets pass in silence is watched for here:
broadcasting of a side that is 1 by chance, cuts that reach beyond the map (negative padding pads),
and maps without pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from compiler.to_torch.emit import emit, net_class  # noqa: E402
from segdsl.analysis.sizes import SizeSet  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.program import Program  # noqa: E402
from tests.support.grown import Grown, examine_text, programs  # noqa: E402

MOST = 300
OTHER = 12
JOINS = {
    getattr(owner, name)
    for owner in (torch, Tensor)
    for name in ("add", "__add__", "sub", "__sub__", "mul", "__mul__", "div", "__truediv__",
                 "maximum", "minimum")
    if hasattr(owner, name)
}  # fmt: skip

Sides = tuple[tuple[int, ...], tuple[int, ...]]


class Joins(TorchFunctionMode):
    """Remembers the sizes of the maps that meet in each elementwise join, in order.

    A map without pixels is refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.met: list[Sides] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        maps = [a for a in args if isinstance(a, Tensor)]
        if function in JOINS and len(maps) == 2:
            self.met.append((tuple(maps[0].shape[2:]), tuple(maps[1].shape[2:])))
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and 0 in result.shape:
            raise ValueError("an empty map")
        return result


def checked(cut: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A cut of the emitted source that refuses to reach beyond the map."""

    def inside(x: Tensor, size: list[int], top: int = 0, left: int = 0) -> Tensor:
        if top < 0 or left < 0 or size[0] + top > x.shape[2] or size[1] + left > x.shape[3]:
            raise ValueError("the cut reaches beyond the map")
        return cut(x, size, top, left) if cut.__name__ == "crop" else cut(x, size)

    return inside


def built(graph: Graph) -> nn.Module:
    """The emitted module with its cuts watched."""
    names: dict[str, Any] = {"__name__": "emitted"}
    exec(emit(graph, flat=True), names)
    for name in ("crop", "centre_crop"):
        if name in names:
            names[name] = checked(names[name])
    module: nn.Module = names[net_class(graph)]()
    return module.eval()


def sweep(module: nn.Module, sizes: list[tuple[int, int]]) -> list[list[Sides] | None]:
    """What met in the joins at each size; None where torch refuses."""
    found: list[list[Sides] | None] = []
    for size in sizes:
        with torch.no_grad(), Joins() as joins:
            try:
                module(torch.zeros(1, 4, *size))
            except (RuntimeError, ValueError, IndexError):
                found.append(None)
            else:
                found.append(joins.met)
    return found


def agreeing(found: list[list[Sides] | None]) -> list[bool]:
    """Whether torch ran and all joins agree, at each size.

    A side may be 1 beside a larger one only if it is 1 at every size, as that of a pooled map is.
    """
    ran = [met for met in found if met is not None]
    always = [
        [[all(met[j][side][axis] == 1 for met in ran) for axis in (0, 1)] for side in (0, 1)]
        for j in range(len(ran[0]) if ran else 0)
    ]
    return [
        met is not None
        and all(
            a == b or always[j][0][axis] or always[j][1][axis]
            for j, (one, other) in enumerate(met)
            for axis, (a, b) in enumerate(zip(one, other, strict=True))
        )
        for met in found
    ]


def usual(known: SizeSet) -> int:
    """An accepted size for the axis that is not tried."""
    size = known.at_least(OTHER) or known.at_most(OTHER)
    assert size is not None
    return size


def whole(grown: Grown) -> tuple[str, Program]:
    """The program with every value an output that nothing reads: torch runs no dead statement."""
    head, last = grown.text.split("  output result = ")
    made = re.findall(r"^  (x\d+) = ", head, re.MULTILINE)
    tips = [name for name in made if len(re.findall(rf"\b{name}\b", head)) == 1]
    outputs = "".join(f"  output {name}_out = {name}\n" for name in tips or [last.split()[0]])
    return f"{head}{outputs}}}\n", examine_text(f"{head}{outputs}}}\n")


@settings(max_examples=60)
@given(programs(), st.sampled_from("HW"))
def test_accepted_means_that_torch_runs_and_all_joins_agree(grown: Grown, axis: str) -> None:
    text, program = whole(grown)
    graph, accepted = program.graph, program.accepted
    assert graph is not None
    other = usual(accepted["W" if axis == "H" else "H"])
    tried = [(n, other) if axis == "H" else (other, n) for n in range(1, MOST + 1)]
    right = agreeing(sweep(built(graph), tried))
    ours = [n in accepted[axis] for n in range(1, MOST + 1)]
    differ = [n for n, (a, b) in enumerate(zip(ours, right, strict=True), 1) if a != b]
    assert not differ, (text, axis, str(accepted[axis]), differ[:8])
