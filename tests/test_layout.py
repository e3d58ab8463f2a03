"""What holds for the tree as a whole: public names, where files lie, what may stand in them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import compiler
import segdsl
from compiler.cli import COMMANDS

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "segdsl").rglob("*.py"), *(ROOT / "compiler").rglob("*.py")])


def test_public_names() -> None:
    """A new public name is a deliberate act: it is added here too."""
    assert segdsl.__all__ == [
        "check",
        "load",
        "parse",
        "Graph",
        "Summary",
        "summary",
        "Diagnostic",
        "SegError",
    ]
    assert all(hasattr(segdsl, name) for name in segdsl.__all__)


def test_this_is_the_checkout() -> None:
    """A distribution called `compiler` exists on the index; ours must win."""
    for package in (segdsl, compiler):
        assert Path(next(iter(package.__path__))).parent == ROOT


@pytest.mark.parametrize("package", ["segdsl", "compiler"])
def test_importing_the_packages_loads_no_heavy_library(package: str) -> None:
    script = (
        f"import sys, {package};"
        "print([m for m in ('torch', 'triton', 'onnx', 'onnx_ir', 'rich') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_only_ir_touches_networkx_attributes() -> None:
    offenders = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.name != "ir.py" and re.search(r'\.nodes\[[^]]+\]\[["\x27]', path.read_text("utf-8"))
    ]
    assert offenders == []


def test_no_package_markers_under_tests() -> None:
    """`tests/compiler/__init__.py` would hide the real `compiler`."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_tests_mirror_the_packages() -> None:
    """Every test module lies where the module that it tests lies, or tests a folder of it."""
    strays = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        parts = path.relative_to(ROOT / "tests").parts
        if parts[0] in ("segdsl", "compiler") and not (ROOT / Path(*parts[:-1])).is_dir():
            strays.append(str(path.relative_to(ROOT)))
    assert strays == []


def test_every_command_has_a_module_and_a_test() -> None:
    for name in COMMANDS:
        assert (ROOT / "compiler" / "cli" / f"{name}.py").is_file()
        assert (ROOT / "tests" / "compiler" / "cli" / f"test_{name}.py").is_file()


def _exported(path: Path) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Public classes and functions of a module; methods are left to ruff."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_documented_and_annotations_are_lazy(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), "a module says what it is for"
    imports = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    defines = any(isinstance(node, ast.ClassDef | ast.FunctionDef) for node in tree.body)
    assert imports or not defines


CODE = re.compile(r'"([EW]\d{4})"')


def codes_in_use() -> dict[str, str]:
    """Every diagnostic code that the sources can give, with a module that gives it."""
    return {
        code: str(path.relative_to(ROOT))
        for path in SOURCES
        for code in CODE.findall(path.read_text("utf-8"))
    }


def test_every_code_has_a_page() -> None:
    pages = {path.stem for path in (ROOT / "segdsl" / "explain").glob("*.md")}
    used = codes_in_use()
    assert {code: used[code] for code in sorted(set(used) - pages)} == {}
    assert sorted(pages - set(used)) == []


def test_pages_have_one_form() -> None:
    """A title with the code, and a wrong and a right program where it is about programs."""
    for path in sorted((ROOT / "segdsl" / "explain").glob("*.md")):
        text = path.read_text("utf-8")
        assert re.match(rf"# {path.stem}: [^\n]+[^.\n]\n\n\S", text), path.name
        assert text.endswith("\n"), path.name
        assert len(text.split()) > 20, path.name
