"""Walking a syntax tree: every node once, with the names it uses and binds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from segdsl import syntax
from segdsl.source import Span


def nodes(*roots: object) -> Iterator[Any]:
    """Every syntax node below `roots`, in the order of the text; not by recursion."""
    pending: list[object] = list(reversed(roots))
    while pending:
        item = pending.pop()
        if isinstance(item, tuple):
            pending.extend(reversed(item))
        elif is_dataclass(item) and not isinstance(item, Span):
            yield item
            kind: Any = type(item)
            pending.extend(getattr(item, name) for name in reversed(_parts(kind)))


@cache
def _parts(cls: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls) if f.name not in ("span", "doc"))


def used_names(*roots: object) -> set[str]:
    """Every name that stands where a value or something to call is meant."""
    found = {node.name for node in nodes(*roots) if isinstance(node, syntax.Name)}
    outputs = (n for n in nodes(*roots) if isinstance(n, syntax.Output) and n.value is None)
    return found | {output.name.name for output in outputs}
