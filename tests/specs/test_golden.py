"""The emitted torch source of every stock spec, and of the forms whose text differs in kind."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest

from compiler.to_torch.emit import emit
from segdsl.library import stock_names
from segdsl.program import load

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in stock_names()},
    "unet_valid": ("unet", {"form": "valid", "channels": 1, "drop": 0.5}),
    "unet_same": ("unet", {"form": "same"}),
    "resnet18": ("resnet", {"depth": 18}),
}

LONGEST = {"deeplabv3": 200, "unet": 100, "fcn8s": 100}
"""Lines that the source may have: it should read as if a person had written it."""


@pytest.mark.parametrize("name", FORMS)
def test_torch_source(name: str, golden: Callable[[str, str], None]) -> None:
    spec, settings = FORMS[name]
    text = emit(load(spec, **settings))
    golden(f"{name}/torch.py", text)
    imported = {
        alias.name.split(".")[0] if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported <= {"torch", "typing", "torch.nn", "collections.abc", "math"}
    assert len(text.splitlines()) <= LONGEST.get(name, 1000)
