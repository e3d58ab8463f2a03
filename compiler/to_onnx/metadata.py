"""What a file says about itself: `metadata_props`, strings only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import PurePath

from compiler.to_onnx.preprocess import Preprocessing, stated
from segdsl.analysis.sizes import SizeSet
from segdsl.ir import Graph
from segdsl.printer import print_graph
from segdsl.version import __version__

REPLACED = "backslashreplace"
"""How a byte of a file's name is written that is no UTF-8: the file's strings are."""


def properties(
    graph: Graph,
    accepted: Mapping[str, SizeSet],
    weights: str | PathLike[str] | None,
    class_names: Sequence[str],
) -> dict[str, str]:
    """The properties of a network's file, all but `classes` under `segdsl.`.

    `segdsl.spec_sha256` is that of the printed graph, so it covers imports and settings;
    `segdsl.weights_sha256` that of the weights file, where there is one.
    """
    text = print_graph(graph)
    found = {
        "segdsl.version": __version__,
        "segdsl.net": graph.name,
        "segdsl.source": _source(graph.source),
        "segdsl.settings": json.dumps(dict(graph.settings)),
        "segdsl.spec_sha256": hashlib.sha256(text.encode("utf-8", REPLACED)).hexdigest(),
        "segdsl.accepts": json.dumps({name: str(sizes) for name, sizes in accepted.items()}),
    }
    if weights is not None:
        with open(weights, "rb") as file:
            found["segdsl.weights_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    if class_names:
        found["classes"] = json.dumps(list(class_names))
    return found


def _source(name: str) -> str:
    """The program's file, without the folders of this machine."""
    path = PurePath(name)
    return (path.name if path.is_absolute() else name).encode("utf-8", REPLACED).decode()


def of_borders(
    graph: Graph, prepared: Preprocessing | None, labels: str | None, *, half: bool
) -> dict[str, str]:
    """What the file does to its input and outputs, and what it leaves to its caller.

    `mean` and `std` are numbers that the program states and the file does not apply;
    `segdsl.preprocessing` says what it does itself, on values from 0 to 1.
    """
    found: dict[str, str] = {}
    if prepared is not None and not prepared.idle:
        inside = {"pixels": prepared.pixels, "mean": prepared.mean, "std": prepared.std}
        found["segdsl.preprocessing"] = json.dumps(inside)
    else:
        found |= {name: json.dumps(numbers) for name, numbers in stated(graph).items()}
    if labels is not None:
        found["segdsl.labels"] = labels
    if half:
        found["segdsl.precision"] = "f16"
    return found
