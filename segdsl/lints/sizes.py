"""W7005: a `where` that refuses sizes which the network would take without losing anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from segdsl import syntax
from segdsl.analysis.sizes import (
    Condition,
    SizeSet,
    Undecidable,
    condition_of,
    solve,
    where_text,
)
from segdsl.analysis.strict import strict_sizes
from segdsl.checks import run_checks
from segdsl.claims import conditions_of, first_outside
from segdsl.diagnostics import Applicability, Diagnostic, Help, Severity
from segdsl.elaborate.net import Elaboration
from segdsl.symbolic import symbols
from segdsl.walk import used_names
from segdsl.wheres import plain, where_edit


def strict_where(
    program: Elaboration, net: syntax.Net, accepted: Mapping[str, SizeSet]
) -> Iterator[Diagnostic]:
    """W7005 for the conditions of an input that refuse sizes which lose no pixel either.

    What a declared shape, a block's `where` or a `check` needs is not too strict; nor is a
    condition that demands sizes at which nothing is dropped, or one that a parameter shapes.
    """
    for statement in net.body:
        if not isinstance(statement, syntax.Input) or not statement.where:
            continue
        speaks = {name for c in statement.where for name in used_names(c.condition)}
        if not plain(statement.where, speaks & set(accepted)):
            continue
        wider = {name: _needed(program, name) for name in accepted if name in speaks}
        idle = {
            name: found
            for name, known in wider.items()
            if (found := _best(program, known)) is not None
            and first_outside(found, accepted[name]) is not None
        }
        if idle and not run_checks(program, {**accepted, **idle}):
            yield _too_strict(program, net, statement, accepted, idle)


def _needed(program: Elaboration, name: str) -> SizeSet | None:
    """What operators and claims need of a size, without the `where` of the inputs."""
    stated = [condition_of(n.requirement) for n in program.needs]
    stated += [c for claim in program.claims for c in conditions_of(claim)]
    own: list[Condition] = [c for c in stated if name in symbols(c.left) | symbols(c.right)]
    try:
        return solve(name, own)
    except Undecidable:
        return None


def _best(program: Elaboration, known: SizeSet | None) -> SizeSet | None:
    """Of these sizes the ones that drop no pixel; all of them where none is better."""
    if known is None or known.empty:
        return None
    return strict_sizes(program.graph, {known.symbol: known}).get(known.symbol, known.shrunk())


def _too_strict(
    program: Elaboration,
    net: syntax.Net,
    statement: syntax.Input,
    accepted: Mapping[str, SizeSet],
    idle: Mapping[str, SizeSet],
) -> Diagnostic:
    first = next(iter(idle))
    size = first_outside(idle[first], accepted[first])
    also = f"; the same for {' and '.join(list(idle)[1:])}" if len(idle) > 1 else ""
    message = f"this `where` is stricter than the network needs: it refuses {first} = {size}"
    notes = (f"without it the network takes {idle[first]} and drops no pixel{also}",)
    guilty = [c for c in statement.where if used_names(c.condition) & set(idle)]
    span = guilty[0].span.to(guilty[-1].span)
    return Diagnostic(
        "W7005", message, span, Severity.WARNING, notes=notes,
        helps=_right(net, accepted, idle, bool(program.graph.settings)),
    )  # fmt: skip


def _right(
    net: syntax.Net,
    accepted: Mapping[str, SizeSet],
    idle: Mapping[str, SizeSet],
    settings: bool,
) -> tuple[Help, ...]:
    """The conditions that are enough; certain where no parameter could ask for more."""
    names = [name for name in accepted if name != "N"]
    texts = [where_text(idle.get(name, accepted[name])) for name in names]
    if any(text is None for text in texts):
        return ()
    joined = ", ".join(text for text in texts if text)
    words = f"`where {joined}` is enough" if joined else "no `where` is needed"
    edit = where_edit(net, set(names), joined)
    sure = Applicability.LIKELY if settings else Applicability.CERTAIN
    return (Help(words, (edit,), sure) if edit else Help(words),)
