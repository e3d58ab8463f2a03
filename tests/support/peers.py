"""Optional libraries in tests: skipped where absent, unless the run declares that it has them.

`make test` sets SEGDSL_REQUIRE to all of them: there a missing library fails, it hides no tests.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

_THROUGH_TORCHVISION = frozenset({"torchvision", "timm", "segmentation_models_pytorch"})


def need(name: str) -> ModuleType:
    """The library `name`; skips the test, or the whole module, where it is not installed."""
    if name.split(".")[0] in _THROUGH_TORCHVISION:
        need("torch")
        _allow_foreign_build()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if name.split(".")[0] in os.environ.get("SEGDSL_REQUIRE", "").split(","):
            pytest.fail(f"SEGDSL_REQUIRE names {name}, which cannot be imported: {error}")
        pytest.skip(f"{name} is not installed", allow_module_level=True)


def _allow_foreign_build() -> None:
    """Let torchvision import beside a torch of another build.

    A torchvision wheel built for CUDA cannot load its compiled operators beside a CPU torch, and
    its Python side then fails while it registers fake kernels for them. Only those registrations
    are skipped: the model definitions, which are all that tests compare with, work as ever.
    """
    import torch

    if getattr(torch.library.register_fake, "skips_torchvision", False):
        return
    register = torch.library.register_fake

    def register_fake(op: Any, *args: Any, **options: Any) -> Any:
        if isinstance(op, str) and op.startswith("torchvision::") and not _known(op):
            return _unchanged
        return register(op, *args, **options)

    register_fake.skips_torchvision = True  # type: ignore[attr-defined]
    torch.library.register_fake = register_fake


def _known(op: str) -> bool:
    import torch

    namespace, name = op.split("::")
    return hasattr(getattr(torch.ops, namespace), name)


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
