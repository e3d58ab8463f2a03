"""Nobody writes a file but through `compiler.files`: what stands there is old or new, never half.

The few other places write where no reader looks: a folder that is renamed when it is whole, a
temporary file, the report of a crash, the tables of this repository.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import compiler
import segdsl

PACKAGES = [Path(str(package.__file__)).parent for package in (segdsl, compiler)]
FILES = sorted(file for package in PACKAGES for file in package.rglob("*.py"))
APART = {
    "compiler/files.py": "the writer itself",
    "compiler/cli/crash.py": "a new temporary file for the report of a bug",
    "compiler/to_triton/folder.py": "a hidden folder, exchanged when it is whole",
    "compiler/to_triton/gate/compile.py": "machine code in a temporary folder",
    "compiler/weights/checkpoint.py": "the replies of a child, through its stdout",
    "compiler/verify/onnx_runner.py": "a copy of a model in a temporary folder",
    "segdsl/parsing/generate.py": "the tables of the parser, by a developer",
}
METHODS = {"write_text", "write_bytes", "tofile", "savefig", "touch", "mkstemp"}


def writes(call: ast.Call) -> bool:
    """Whether a call opens a file for writing, or writes one by its path."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    name = call.func.id if isinstance(call.func, ast.Name) else name
    if name in METHODS:
        return True
    modes = [*call.args[:2], *(word.value for word in call.keywords if word.arg == "mode")]
    texts = [mode.value for mode in modes if isinstance(mode, ast.Constant)]
    return name in ("open", "fdopen") and any(
        isinstance(text, str) and len(text) <= 3 and set(text) & set("wax+") for text in texts
    )


def found(file: Path) -> list[int]:
    tree = ast.parse(file.read_text("utf-8"))
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and writes(node)]


@pytest.mark.parametrize("text", ['open(p, "w")', 'p.open(mode="ab")', "p.write_text(x)"])
def test_a_write_is_seen(text: str) -> None:
    (statement,) = ast.parse(text).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    assert writes(statement.value)


def test_files_are_written_in_one_place() -> None:
    root = PACKAGES[0].parent
    seen = {file.relative_to(root).as_posix() for file in FILES if found(file)}
    assert seen == set(APART)
