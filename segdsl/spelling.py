"""Did you mean: near names."""

from __future__ import annotations

from collections.abc import Collection


def distance(a: str, b: str) -> int:
    """Damerau-Levenshtein distance (optimal string alignment): edits and swaps of neighbours."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        after = [i]
        for j, y in enumerate(b, 1):
            cost = min(row[j] + 1, after[j - 1] + 1, row[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            after.append(cost)
        before, row = row, after
    return row[-1]


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that was probably meant: within a third of the length, at least one edit.

    A single letter is one edit from every other, so it is only compared without regard to case.
    """
    limit = max(1, len(name) // 3) if len(name) > 1 else 0
    near = sorted(
        (distance(name, other), other) for other in known if abs(len(name) - len(other)) <= limit
    )
    if near and near[0][0] <= limit and near[0][1] != name:
        return near[0][1]
    folded = [other for other in known if other.lower() == name.lower() and other != name]
    return folded[0] if folded else None
