"""Every custom op of the kernels is checked by torch's own tests for ops."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

from tests.support.peers import need

need("triton")
need("torch")

from torch._library.custom_ops import CustomOpDef  # noqa: E402

from compiler.to_triton import kernels  # noqa: E402


def test_every_op_is_checked() -> None:
    modules = [
        importlib.import_module(f"{kernels.__name__}.{info.name}")
        for info in pkgutil.iter_modules(kernels.__path__)
    ]
    found = {v for module in modules for v in vars(module).values() if isinstance(v, CustomOpDef)}
    ops = {op._qualname.split("::")[1] for op in found}
    assert {"conv_block", "aspp_branches", "dcnv3", "dcnv3_backward"} <= ops
    texts = [path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    checked = {
        name for text in texts for name in re.findall(r"opcheck\(\s*\w+\.(\w+)\._opoverload", text)
    }
    assert ops - checked == set()
