"""Whether two syntax trees differ in more than the places of their nodes."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from segdsl.source import Source, Span

_PLACES = frozenset({"tokens"})


def same(one: object, two: object) -> bool:
    """Whether two trees are equal but for spans, sources and numbers of tokens."""
    todo = [(one, two)]
    while todo:
        a, b = todo.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, Span | Source):
            continue
        if isinstance(a, tuple) and isinstance(b, tuple):
            if len(a) != len(b):
                return False
            todo += zip(a, b, strict=True)
        elif is_dataclass(a):
            names = [f.name for f in fields(a) if f.name not in _PLACES]
            todo += [(getattr(a, name), getattr(b, name)) for name in names]
        elif a != b:
            return False
    return True
