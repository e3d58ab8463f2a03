"""Whole modules that emitted source carries along: their text, without what imports them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from compiler.to_torch.lower import EmissionError

HOME = "compiler.crf"
LIBRARIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "mean_field": ("field", ("mean_field", "gaussian", "bilateral", "pairwise"))
}
"""By helper name: the module of `compiler.crf` that defines it, and the names that nets call."""

STANDARD = frozenset(
    [
        "collections",
        "collections.abc",
        "dataclasses",
        "functools",
        "itertools",
        "math",
        "typing",
        "warnings",
    ]
)
OWN_IMPORTS = frozenset({"torch", "torch.nn.functional"})


@dataclass(frozen=True)
class Library:
    """Text to embed.

    Attributes:
        text: definitions, in an order in which they can be executed.
        modules: modules of the standard library that it imports whole.
        names: names that it imports, by module of the standard library.
        definitions: the names that it defines, which nothing else in the file may have.
        calls: those of them that the net calls.
    """

    text: str
    modules: frozenset[str]
    names: frozenset[tuple[str, str]]
    definitions: frozenset[str]
    calls: frozenset[str]


@cache
def library(helper: str) -> Library:
    """The library that defines a helper, read from the sources of this package.

    Raises:
        EmissionError: a module imports what an emitted file may not, or two define one name.
    """
    start, calls = LIBRARIES[helper]
    trees: dict[str, tuple[str, ast.Module]] = {}
    _collect(start, trees)
    definitions: set[str] = set()
    modules: set[str] = set()
    names: set[tuple[str, str]] = set()
    parts: list[str] = []
    for text, tree in trees.values():
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                _sort_import(node, modules, names)
        found = [name for node in tree.body for name in _defined(node)]
        twice = definitions.intersection(found)
        if twice:
            raise EmissionError(f"{HOME} defines {', '.join(sorted(twice))} in two modules")
        definitions.update(found)
        parts.append(_body(text, tree))
    missing = set(calls) - definitions
    if missing:
        raise EmissionError(f"{HOME} does not define {', '.join(sorted(missing))}")
    return Library(
        "\n\n\n".join(parts),
        frozenset(modules),
        frozenset(names),
        frozenset(definitions),
        frozenset(calls),
    )


def _collect(module: str, trees: dict[str, tuple[str, ast.Module]]) -> None:
    """The module and those of its package that it imports, these first."""
    package, _, folder = HOME.partition(".")
    text = (files(package) / folder / f"{module}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and _is_own(node):
            assert node.module is not None
            inner = node.module.rpartition(".")[2]
            if inner not in trees:
                _collect(inner, trees)
    trees[module] = text, tree


def _is_own(node: ast.ImportFrom) -> bool:
    return node.module is not None and node.module.startswith(f"{HOME}.")


def _sort_import(
    node: ast.Import | ast.ImportFrom, modules: set[str], names: set[tuple[str, str]]
) -> None:
    """Note what a line imports of the standard library; what the file has anyway is left out."""
    for alias in node.names:
        renamed = alias.asname not in (None, alias.name)
        if isinstance(node, ast.Import) and alias.name in OWN_IMPORTS:
            continue
        if renamed or not _is_carried(node, alias.name):
            raise EmissionError(f"an emitted file cannot carry `{ast.unparse(node)}`")
        if isinstance(node, ast.Import):
            modules.add(alias.name)
        elif node.module is not None and node.module in STANDARD:
            names.add((node.module, alias.name))


def _is_carried(node: ast.Import | ast.ImportFrom, name: str) -> bool:
    if isinstance(node, ast.Import):
        return name in STANDARD
    own = node.module == "__future__" or _is_own(node)
    return own or node.module in STANDARD or (node.module == "torch" and name in ("Tensor", "nn"))


def _defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _body(text: str, tree: ast.Module) -> str:
    """The text behind the imports of a module: they stand together at its head."""
    heads = [
        place
        for place, node in enumerate(tree.body)
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (place == 0 and ast.get_docstring(tree) is not None)
    ]
    if heads != list(range(len(heads))):
        raise EmissionError(f"{HOME}: imports that are not at the head of a module")
    last = tree.body[len(heads) - 1].end_lineno if heads else 0
    return "\n".join(text.splitlines()[last:]).strip("\n")
