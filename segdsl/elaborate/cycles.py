"""Items that contain themselves, and items that cannot be elaborated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from segdsl import syntax
from segdsl.diagnostics import Diagnostic, Label
from segdsl.elaborate.survey_state import Use
from segdsl.imports import Entry

References = Mapping[int, tuple[Entry, Sequence[Use]]]
"""Every item by its identity, with the blocks and constants that it refers to."""


def circles(items: References) -> Iterator[tuple[Diagnostic, list[Entry]]]:
    """E4002 for every circle of references, with its members, in the order of the text."""
    done: set[int] = set()
    for key in items:
        trail: list[tuple[int, int, Use | None]] = [(key, 0, None)]
        open_at = {key: 0}
        while trail and key not in done:
            current, place, via = trail.pop()
            uses = items[current][1] if current in items else ()
            if place == len(uses):
                done.add(current)
                del open_at[current]
                continue
            trail.append((current, place + 1, via))
            use = uses[place]
            target = id(use.target)
            if target in open_at:
                yield _circle(items, trail[open_at[target] :], use)
            elif target not in done and target in items:
                open_at[target] = len(trail)
                trail.append((target, 0, use))


def _circle(
    items: References, trail: Sequence[tuple[int, int, Use | None]], last: Use
) -> tuple[Diagnostic, list[Entry]]:
    members = [items[key][0] for key, _, _ in trail]
    uses = [use for _, _, use in trail[1:] if use is not None] + [last]
    name = members[0].name.name
    through = "".join(f" through `{m.name.name}`" for m in members[1:2])
    kind = "is defined by itself" if isinstance(members[0], syntax.Const) else "contains itself"
    steps = [f"{m.name.name} (line {m.name.span.line})" for m in [*members, members[0]]]
    labels = tuple(
        Label(use.span, f"`{m.name.name}` refers to `{use.target.name.name}`")
        for m, use in zip(members[1:], uses[1:], strict=True)
    )
    diagnostic = Diagnostic(
        "E4002",
        f"`{name}` {kind}{through}",
        uses[0].span,
        labels=labels,
        notes=(" → ".join(steps), "blocks are expanded where they stand, so recursion never ends"),
    )
    return diagnostic, members


def reaching(items: References, targets: Sequence[Entry]) -> set[int]:
    """The items that refer to one of `targets`, directly or through others, and these."""
    users: dict[int, list[int]] = {}
    for key, (_, uses) in items.items():
        for use in uses:
            users.setdefault(id(use.target), []).append(key)
    found: set[int] = set()
    pending = [id(item) for item in targets]
    while pending:
        key = pending.pop()
        if key not in found:
            found.add(key)
            pending.extend(users.get(key, ()))
    return found
