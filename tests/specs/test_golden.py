"""What segdsl makes of every stock spec, byte for byte, and of the forms that differ in kind.

`make golden` rewrites the texts; the difference is then read.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from compiler.to_torch.emit import emit
from segdsl.diagnostics import SegError
from segdsl.library import stock_names
from segdsl.printer import print_graph
from segdsl.program import load, parse
from segdsl.report import summary
from tests.conftest import GOLDEN
from tests.support.emitted import without_libraries
from tests.support.peers import need

Golden = Callable[[str, str], None]

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in stock_names()},
    "unet_valid": ("unet", {"form": "valid", "channels": 1, "drop": 0.5}),
    "unet_same": ("unet", {"form": "same"}),
    "resnet18": ("resnet", {"depth": 18}),
}

LONGEST = {"deeplabv3": 200, "unet": 100, "fcn8s": 100}
"""Lines that the source may have: it should read as if a person had written it."""

SHORT = {"channels": 16, "depths": [1, 1, 1, 1]}

SMALLER: dict[str, dict[str, Any]] = {
    "tiramisu": {"depth": 56},
    **{name: {"crf": False} for name in ("deeplabv1_largefov", "crfasrnn")},
    "deeplabv2_crf": {"crf": False, "scales": []},
    "convcrf": {"window": 3, "blur": 1},
    "internimage": SHORT,
    "upernet_internimage": SHORT,
}
"""Settings with which the ONNX text of a network exists (no lattice) and stays readable."""

SMALLER_GRAPH: dict[str, dict[str, Any]] = {
    "deeplabv2_crf": {"scales": [0.5]},
    "internimage": SHORT,
    "upernet_internimage": SHORT,
}
"""Settings with which a printed graph stays readable: without copies of networks or blocks."""

LARGEST = 100_000
"""Bytes of a golden text: it is meant to be read."""


@pytest.mark.parametrize("name", FORMS)
def test_torch_source(name: str, golden: Golden) -> None:
    spec, settings = FORMS[name]
    text = emit(load(spec, **settings))
    golden(f"{name}/torch.py", without_libraries(text))
    imported = {
        alias.name.split(".")[0] if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    standard = {"typing", "collections.abc", "math", "functools", "warnings", "__future__"}
    assert imported <= {"torch", "torch.nn"} | standard
    assert len(without_libraries(text).splitlines()) <= LONGEST.get(name, 1000)


@pytest.mark.parametrize("name", FORMS)
def test_printed_graph(name: str, golden: Golden) -> None:
    spec, settings = FORMS[name]
    graph = load(spec, **settings, **SMALLER_GRAPH.get(name, {}))
    text = print_graph(graph)
    golden(f"{name}/graph.seg", text)
    assert parse(text) == graph


@pytest.mark.parametrize("name", FORMS)
def test_summary(name: str, golden: Golden) -> None:
    """With formulas as sizes, and at one size."""
    spec, settings = FORMS[name]
    graph = load(spec, **settings)
    size = (252, 252) if settings.get("form") == "valid" else (256, 256)
    golden(f"{name}/summary.txt", f"{summary(graph)}\n\n{summary(graph, size=size)}\n")


@pytest.mark.parametrize("name", FORMS)
def test_onnx(name: str, golden: Golden) -> None:
    """The file without its weights, or in which words the target refuses the network."""
    need("onnx_ir")
    from tests.support.onnx_text import onnx_text

    spec, settings = FORMS[name]
    graph = load(spec, **settings, **SMALLER.get(name, {}))
    try:
        text = onnx_text(graph)
    except SegError as refused:
        text = "".join(f"{d.code}: {d.message}\n" for d in refused.diagnostics)
    golden(f"{name}/onnx.txt", text)


def test_they_are_short_enough_to_be_read() -> None:
    texts = [file for file in GOLDEN.rglob("*") if file.is_file()]
    assert len(texts) > 40
    assert {file.name: file.stat().st_size for file in texts if file.stat().st_size > LARGEST} == {}


HASHED = r"""
from compiler.to_torch.emit import emit
from segdsl.printer import print_graph
from segdsl.program import load
from segdsl.report import summary
from tests.support.onnx_text import onnx_text

for name in ("deeplabv3", "tiramisu"):
    graph = load(name)
    texts = (emit(graph), print_graph(graph), str(summary(graph)), onnx_text(graph))
    print(*texts, sep="\n")
"""


def test_texts_do_not_depend_on_hashes() -> None:
    need("onnx_ir")
    found = {
        subprocess.run(
            [sys.executable, "-c", HASHED],
            cwd=GOLDEN.parents[1],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(found) == 1
    assert len(found.pop()) > 50_000
