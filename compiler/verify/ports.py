"""The inputs of a network of ours, as they are matched with those of others."""

from __future__ import annotations

import numpy as np

from compiler.verify.inputs import FLOATS
from compiler.verify.matching import Port
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Value
from segdsl.symbolic import Size, symbols
from segdsl.types import DType

_WHOLE: dict[DType, str] = {"u8": "uint8", "i64": "int64", "bool": "bool"}


def ports(graph: Graph) -> list[Port]:
    """The inputs, in order."""
    table = shapes(graph)
    features = {name: table[Value(name)] for name in graph.inputs}
    return [Port(n, tuple(map(_number, f.shape)), word(f.dtype)) for n, f in features.items()]


def free_symbol(size: Size) -> str | None:
    """The symbol, if the size is nothing but one."""
    names = [] if isinstance(size, int) else list(symbols(size))
    return names[0] if len(names) == 1 and str(size) == names[0] else None


def _number(size: Size) -> int | None:
    return size if isinstance(size, int) else None


def word(dtype: DType) -> str:
    """Numpy's name of an element type."""
    return np.dtype(FLOATS[dtype]).name if dtype in FLOATS else _WHOLE[dtype]
