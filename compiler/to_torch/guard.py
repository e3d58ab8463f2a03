"""The last look at emitted source: it parses, and holds nothing but what this target writes."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from compiler.to_torch.helpers import HELPERS
from compiler.to_torch.library import Library
from compiler.to_torch.lower import EmissionError
from compiler.to_torch.runtime import Runtime

IMPORTS = {
    "from typing import NamedTuple",
    "import torch",
    "import torch.nn.functional as F",
    "from torch import Tensor, nn",
}

ATTRIBUTES = {
    "torch": frozenset(
        [
            "argmax",
            "cat",
            "clamp",
            "empty",
            "exp",
            "matmul",
            "maximum",
            "minimum",
            "ones",
            "sigmoid",
            "tanh",
            "zeros",
        ]
    ),
    "nn": frozenset(
        [
            "AdaptiveAvgPool2d",
            "AvgPool2d",
            "BatchNorm2d",
            "Conv2d",
            "ConvTranspose2d",
            "Dropout",
            "Dropout2d",
            "Flatten",
            "GELU",
            "GroupNorm",
            "Hardsigmoid",
            "Hardswish",
            "Identity",
            "LayerNorm",
            "LeakyReLU",
            "Linear",
            "LocalResponseNorm",
            "MaxPool2d",
            "Module",
            "ModuleDict",
            "ModuleList",
            "Parameter",
            "PixelShuffle",
            "PixelUnshuffle",
            "ReLU",
            "ReLU6",
            "Sequential",
            "SiLU",
            "Sigmoid",
            "Tanh",
            "Upsample",
        ]
    ),
    "F": frozenset(
        [
            "adaptive_avg_pool2d",
            "avg_pool2d",
            "dropout",
            "dropout2d",
            "fold",
            "gelu",
            "hardsigmoid",
            "hardswish",
            "interpolate",
            "layer_norm",
            "leaky_relu",
            "local_response_norm",
            "log_softmax",
            "max_pool2d",
            "max_unpool2d",
            "pad",
            "pixel_shuffle",
            "pixel_unshuffle",
            "relu",
            "relu6",
            "silu",
            "softmax",
            "unfold",
        ]
    ),
}
"""What may follow `torch.`, `nn.` and `F.`."""

FORBIDDEN = frozenset(
    [
        "eval",
        "exec",
        "compile",
        "open",
        "getattr",
        "setattr",
        "delattr",
        "globals",
        "locals",
        "vars",
        "input",
        "breakpoint",
        "memoryview",
        "help",
        "exit",
        "quit",
        "print",
    ]
)
"""Builtins that no emitted file calls."""

STATEMENTS = (
    ast.Module,
    ast.ClassDef,
    ast.FunctionDef,
    ast.Import,
    ast.ImportFrom,
    ast.Assign,
    ast.AnnAssign,
    ast.Return,
    ast.If,
    ast.For,
    ast.Expr,
)


def check_source(
    text: str, carried: Sequence[Library] = (), runtime: Runtime | None = None
) -> None:
    """Refuse source that this target cannot have meant.

    Args:
        text: a whole file.
        carried: the libraries that it holds word for word; they are not looked into, and the file
            imports what they need.
        runtime: what it imports besides.

    Raises:
        EmissionError: the text does not parse, or imports, names or statements are not allowed.
    """
    imports = IMPORTS | ({runtime.line} if runtime is not None else set())
    for own_text in HELPERS.values():  # word for word from this package
        text = text.replace(own_text, "\n")
    for own in carried:
        before, found, after = text.partition(own.text)
        if not found:
            raise EmissionError("a library is not in the emitted source as it was read")
        text = before + after
        imports |= _imports(own)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise EmissionError(f"emitted source does not parse: {error}") from error
    for node in ast.walk(tree):
        problem = _problem(node, imports)
        if problem:
            line = getattr(node, "lineno", 0)
            raise EmissionError(f"emitted source, line {line}: {problem}")


def _imports(carried: Library) -> set[str]:
    """The imports that a library needs, as they stand in the file."""
    wanted = {f"import {name}" for name in carried.modules}
    wanted.add("from __future__ import annotations")
    for module in {module for module, _ in carried.names}:
        own = {name for home, name in carried.names if home == module}
        for names in (own, own | {"NamedTuple"} if module == "typing" else own):
            wanted.add(f"from {module} import {', '.join(sorted(names))}")
    return wanted


def _problem(node: ast.AST, imports: AbstractSet[str]) -> str:
    match node:
        case ast.Import() | ast.ImportFrom():
            return "" if ast.unparse(node) in imports else f"import {ast.unparse(node)!r}"
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in ATTRIBUTES:
            return "" if name in ATTRIBUTES[owner] else f"attribute {owner}.{name}"
        case ast.Attribute(attr=name) if name.startswith("__") and name != "__init__":
            return f"attribute {name}"
        case ast.Name(id=name) if name in FORBIDDEN or name.startswith("__"):
            return f"name {name}"
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            plain = not name.startswith("__") or name == "__init__"
            return "" if plain else f"definition {name}"
        case ast.stmt() if not isinstance(node, STATEMENTS):
            return f"statement {type(node).__name__}"
        case ast.Lambda() | ast.Await() | ast.Yield() | ast.YieldFrom() | ast.NamedExpr():
            return f"expression {type(node).__name__}"
        case ast.Constant(value=bytes() | complex()):
            return "constant"
    return ""


__all__ = ["ATTRIBUTES", "HELPERS", "IMPORTS", "check_source"]
