"""`verify` holds the targets against float64 torch, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from compiler.verify.report import Report
    from compiler.weights.table import Weights
    from segdsl.ir import Graph


def verify(
    graph: Graph,
    weights: Weights | str | PathLike[str] | None = None,
    *,
    targets: Sequence[str] = ("torch", "onnx"),
    sizes: Sequence[tuple[int, int]] = (),
    batches: Sequence[int] = (),
    every: bool = False,
    seed: int = 0,
    init: Literal["fixture", "own"] = "fixture",
) -> Report:
    """Run the network on every target and in float64, and compare all named stages.

    The reference is the flat torch source of the network as written. `report.passed` is the
    answer, `report.rows` the figures, `print(report)` a table, `report.diagnostics()` say where
    each target first departs. `compiler.verify.comparisons` also holds foreign ONNX files, other
    weights and other networks against a network.

    Args:
        graph: the network, as loaded.
        weights: the arrays, or a file with them; None initialises them.
        targets: of `torch`, `onnx` and `triton`.
        sizes: heights and widths; none chooses two that the network accepts, one of them odd.
        batches: batch sizes; none is 1 and 2.
        every: compare every result of every node.
        seed: of the noise, and of initialised arrays.
        init: how arrays are initialised: `fixture` keeps the results of deep networks in a range
            in which errors show, `own` does what the program says.

    Raises:
        SegError: E6022 an unknown target, E3014 a size that is not accepted, E6027 a runtime that
            refuses the network, E6013 a triton that is too old, or weights that do not fit.
        ModuleNotFoundError: torch, onnxruntime or triton is not installed.
    """
    from compiler.verify.comparisons import Options, against_targets

    options = Options(tuple(sizes), tuple(batches), every=every, seed=seed, init=init)
    return against_targets(graph, weights, targets, options)


__all__ = ["verify"]
