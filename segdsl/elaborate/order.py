"""The order of the weights: that of the source, in which a `layer` stands where it is declared."""

from __future__ import annotations

from dataclasses import dataclass, field

Ranks = dict[str, int]
"""For every weight path and every level above one, when it was first named."""


@dataclass
class PathOrder:
    """Weight paths as they are named: by what is computed, or before that by a declared layer."""

    _named: Ranks = field(default_factory=dict[str, int])
    _computed: list[str] = field(default_factory=list[str])
    _declared: bool = False

    def add(self, path: str) -> None:
        """A node owns this path now."""
        _name(self._named, path)
        self._computed.append(path)

    def reserve(self, path: str) -> None:
        """A layer is declared: what is later made at or below this path has its place here."""
        _name(self._named, path)
        self._declared = True

    def found(self) -> tuple[str, ...]:
        """The paths in the order of the module tree; empty if nodes alone give the same order."""
        if not self._declared:
            return ()
        plain: Ranks = {}
        for path in self._computed:
            _name(plain, path)
        wanted = _sorted(self._named, self._computed)
        return () if wanted == _sorted(plain, self._computed) else tuple(wanted)


def _name(ranks: Ranks, path: str) -> None:
    """Give a path and the levels above it their ranks; the levels of a known one have theirs."""
    fresh: list[str] = []
    while path and path not in ranks:
        fresh.append(path)
        path = path.rpartition(".")[0]
    for level in reversed(fresh):
        ranks[level] = len(ranks)


def _sorted(ranks: Ranks, paths: list[str]) -> list[str]:
    """Depth first through the tree of paths, levels by rank."""
    return sorted(paths, key=lambda path: _key(ranks, path))


def _key(ranks: Ranks, path: str) -> tuple[int, ...]:
    levels: list[int] = []
    while path:
        levels.append(ranks[path])
        path = path.rpartition(".")[0]
    return tuple(reversed(levels))
