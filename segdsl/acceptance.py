"""Proving a net's sizes: every `where`, join, window and declared shape, for every accepted input.

What cannot be proved is refused, with a size that fails and the condition that would be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from segdsl import syntax
from segdsl.analysis.sizes import (
    Condition,
    SizeSet,
    Undecidable,
    condition_of,
    solve,
    where_text,
)
from segdsl.analysis.strides import at_stride, stride
from segdsl.claims import broken_claims, first_outside
from segdsl.conflicts import Conflict, choice, meeting
from segdsl.diagnostics import Applicability, Diagnostic, Help, Label, text_helps
from segdsl.elaborate.builder import Need
from segdsl.elaborate.net import Elaboration
from segdsl.infer import at_user
from segdsl.ir import Graph
from segdsl.ops.ports import Input
from segdsl.source import Span
from segdsl.symbolic import evaluate, symbols
from segdsl.wheres import where_edit


@dataclass(frozen=True)
class Acceptance:
    """What is known of a net's sizes: accepted values by symbol, and what could not be proved."""

    accepted: Mapping[str, SizeSet]
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True)
class _Failure:
    """One condition of an operator that fails at an allowed size."""

    need: Need
    symbol: str
    size: int

    @property
    def conflict(self) -> Conflict:
        """The same, of the node alone."""
        return Conflict(self.need.requirement, self.need.node, self.symbol, self.size)


def prove(program: Elaboration, net: syntax.Net | None = None) -> Acceptance:
    """Solve the conditions of all operators and check every claim on the accepted sizes.

    With the text of the net, a `where` that lets in too much comes with the edit that mends it.
    """
    found: list[Diagnostic] = []
    accepted: dict[str, SizeSet] = {}
    failures: list[_Failure] = []
    needs = _by_symbol(program, found)
    for symbol, where in _where(program.graph).items():
        stated = [condition_of(n.requirement) for n in needs.get(symbol, [])]
        try:
            allowed = solve(symbol, where)
            accepted[symbol] = solve(symbol, [*where, *stated])
        except Undecidable as error:
            found.append(_undecided(program.graph, str(error)))
            continue
        if allowed.empty:
            found.append(_impossible(program.graph, symbol))
            continue
        failure = _first_failure(symbol, where, needs.get(symbol, []), accepted[symbol])
        failures += [failure] if failure is not None else []
    found += _conflicts(program, net, failures, needs)
    found += broken_claims(program, accepted)
    return Acceptance(accepted, tuple(found))


def _where(graph: Graph) -> dict[str, list[Condition]]:
    """The author's conditions on each size symbol of the inputs."""
    conditions: dict[str, list[Condition]] = {}
    for name in graph.inputs:
        op = graph[name].op
        assert isinstance(op, Input)
        for size in op.shape:
            for symbol in symbols(size):
                conditions.setdefault(symbol, [])
    for name in graph.inputs:
        op = graph[name].op
        assert isinstance(op, Input)
        for condition in map(condition_of, op.where):
            for symbol in symbols(condition.left) | symbols(condition.right):
                conditions.setdefault(symbol, []).append(condition)
    return conditions


def _by_symbol(program: Elaboration, found: list[Diagnostic]) -> dict[str, list[Need]]:
    sorted_needs: dict[str, list[Need]] = {}
    for need in program.needs:
        names = symbols(need.requirement.left) | symbols(need.requirement.right)
        if len(names) > 1:
            r = need.requirement
            notes = (f"{r.left} and {r.right} depend on different input sizes",)
            helps = text_helps("if they are the same size, give them one name: `[N, 3, S, S]`")
            diagnostic = Diagnostic("E3015", r.message, _span(need), notes=notes, helps=helps)
            found.append(at_user(diagnostic, need.scope))
            continue
        for name in names:
            sorted_needs.setdefault(name, []).append(need)
    return sorted_needs


def _first_failure(
    symbol: str, where: Sequence[Condition], needs: Sequence[Need], accepted: SizeSet
) -> _Failure | None:
    """The first condition, in source order, that fails at an allowed size.

    A join that differs tells more than a map that is too small, so sizes at which every window fits
    are tried first. Of the sizes that are too small the largest is told: there the narrowest window
    fails.
    """
    fitting = [condition_of(n.requirement) for n in needs if n.requirement.kind == "at_least"]
    size = first_outside(solve(symbol, [*where, *fitting]), accepted)
    if size is None:
        size = _last_outside(solve(symbol, where), accepted)
    if size is None:
        return None
    values = {symbol: size}
    broken = (n for n in needs if not condition_of(n.requirement).holds(values))
    return _Failure(next(broken), symbol, size)


def _last_outside(allowed: SizeSet, accepted: SizeSet) -> int | None:
    """The largest size of `allowed` below all of `accepted`.

    The smallest one outside if there is none.
    """
    below = (accepted.minimum or 1) - 1
    last = allowed.at_most(below)
    return last if last is not None else first_outside(allowed, accepted)


def _span(need: Need) -> Span:
    return next(
        (need.parts[p] for p in need.requirement.blame if p in need.parts and isinstance(p, str)),
        need.span,
    )


def _conflicts(
    program: Elaboration,
    net: syntax.Net | None,
    failures: Sequence[_Failure],
    needs: Mapping[str, Sequence[Need]],
) -> Iterable[Diagnostic]:
    """One diagnostic for the first conflict of each axis; equal ones on both axes are one."""
    told: dict[tuple[str, str], list[_Failure]] = {}
    for failure in failures:
        key = (failure.need.node, failure.need.requirement.code)
        told.setdefault(key, []).append(failure)
    return [_conflict(program, net, group, needs) for group in told.values()]


def _conflict(
    program: Elaboration,
    net: syntax.Net | None,
    group: Sequence[_Failure],
    needs: Mapping[str, Sequence[Need]],
) -> Diagnostic:
    first = group[0]
    need, requirement = first.need, first.need.requirement
    apart = _different_strides(need, first.symbol)
    if apart is not None:
        return at_user(apart, need.scope)
    solved = {f.symbol: _sizes_of(f.symbol, _needed(needs[f.symbol])) for f in group}
    others = " and ".join(f.symbol for f in group[1:])
    notes = [_example(program, first.conflict), *_verdicts(first, solved, others)]
    helps = _size_helps(program, net, needs)
    helps = (*helps, *_cut_help(need, first))
    if requirement.help:
        helps = (*helps, *text_helps(requirement.help))
    never = all(s is None or s.empty for s in solved.values())
    message = (
        requirement.message if not never else f"{requirement.message}, whatever the input size"
    )
    labels = _operand_labels(program, need)
    diagnostic = Diagnostic(
        requirement.code, message, _span(need), labels=labels, notes=tuple(notes), helps=helps
    )
    return at_user(diagnostic, need.scope)


def _different_strides(need: Need, symbol: str) -> Diagnostic | None:
    """E3005 for a join whose sides grow differently: no size of the input makes them meet."""
    requirement = need.requirement
    one, other = stride(requirement.left), stride(requirement.right)
    slots = [slot for slot in requirement.blame if isinstance(slot, int)]
    if requirement.code != "E3004" or one is None or other is None or one == other:
        return None
    if len(slots) != 2:
        return None
    left, right = (_operand_name(need, slot) for slot in slots)
    message = (
        f"these maps have different strides: {left} is at stride {one}, {right} at stride {other}"
    )
    coarse, fine = (left, right) if one > other else (right, left)
    factor = max(one, other) / min(one, other)
    by = f" by {factor}x" if factor.denominator == 1 else ""
    like = fine.strip("`") if fine.startswith("`") else "…"
    help = f"upsample {coarse}{by} first, as by `resize(like={like}, mode=bilinear)`"
    labels = tuple(
        Label(need.parts[slot], f"at {at_stride(symbol, found)}")
        for slot, found in zip(slots, (one, other), strict=True)
        if slot in need.parts and need.parts[slot] != _span(need)
    )
    return Diagnostic("E3005", message, _span(need), labels=labels, helps=text_helps(help))


def _cut_help(need: Need, failure: _Failure) -> tuple[Help, ...]:
    """For a join whose sides grow alike: crop the one that is larger at the failing size."""
    requirement, values = need.requirement, {failure.symbol: failure.size}
    slots = [slot for slot in requirement.blame if isinstance(slot, int)]
    if requirement.code != "E3004" or requirement.kind != "equal" or len(slots) != 2:
        return ()
    left, right = (_operand_name(need, slot) for slot in slots)
    larger = evaluate(requirement.left, values) > evaluate(requirement.right, values)
    big, small = (left, right) if larger else (right, left)
    if "`" not in big + small:
        return text_helps("or give both sides a name and crop the larger one to the other")
    cut = big.strip("`") if "`" in big else "…"
    if "`" not in small:
        crop = f"`{cut} -> crop(like=small, offset=centre)`"
        return text_helps(f"or name the smaller side, say `small`, and cut the other: {crop}")
    crop = f"`{cut} -> crop(like={small.strip('`')}, offset=centre)`"
    return text_helps(f"or cut the larger side: {crop}")


def _operand_name(need: Need, slot: int) -> str:
    """The operand as it stands in the text, if that is one short word; else its place."""
    text = need.parts[slot].text if slot in need.parts else ""
    return f"`{text}`" if text.isidentifier() else f"operand {slot + 1}"


def _needed(needs: Sequence[Need]) -> list[Condition]:
    return [condition_of(need.requirement) for need in needs]


def _sizes_of(symbol: str, conditions: Sequence[Condition]) -> SizeSet | None:
    try:
        return solve(symbol, conditions)
    except Undecidable:
        return None


def _example(program: Elaboration, conflict: Conflict) -> str:
    """`for H = 300 the two sides are 37 and 36: the floor of 37/2 at `max_pool(2)`, line 22`."""
    met = meeting(conflict, program.graph, program.types)
    return f"for {conflict.symbol} = {conflict.size} {met}"


def _verdicts(first: _Failure, solved: Mapping[str, SizeSet | None], others: str) -> Iterable[str]:
    right = solved[first.symbol]
    if right is None or right.empty:
        return
    near = [n for n in right.nearest(first.size) if n != first.size]
    choices = ", or ".join(choice(n, first.size) for n in near)
    also = f"; the same for {others}" if others else ""
    yield f"this net accepts {right}; nearest to {first.size}: {choices}{also}"


def _size_helps(
    program: Elaboration, net: syntax.Net | None, needs: Mapping[str, Sequence[Need]]
) -> tuple[Help, ...]:
    """The whole `where` that would be right: what the author states and what the operators need.

    It refuses only sizes at which the network fails, so the edit is certain where no parameter
    could ask for another one.
    """
    conditions: list[str] = []
    for symbol, stated in _where(program.graph).items():
        known = _sizes_of(symbol, [*stated, *_needed(needs.get(symbol, []))])
        text = where_text(known) if known is not None else None
        if text is None:
            return ()
        conditions += [text] if text else []
    if not conditions:
        return ()
    name = program.graph.inputs[0]
    shape = program.graph[name].parts.get("shape")
    declared = shape.text if shape is not None else "…"
    joined = ", ".join(conditions)
    words = f"say so at the input:  input {name}: {declared} where {joined}"
    edit = where_edit(net, set(needs) | set(_where(program.graph)), joined) if net else None
    if edit is None:
        return text_helps(words)
    sure = Applicability.LIKELY if program.graph.settings else Applicability.CERTAIN
    return (Help(words, (edit,), sure),)


def _operand_labels(program: Elaboration, need: Need) -> tuple[Label, ...]:
    operands = program.graph.operands(need.node)
    return tuple(
        Label(need.parts[slot], str(program.types[value]))
        for slot, value in enumerate(operands)
        if slot in need.parts and need.parts[slot] != _span(need)
    )


def _impossible(graph: Graph, symbol: str) -> Diagnostic:
    node = graph[graph.inputs[0]]
    return Diagnostic("E3013", f"no {symbol} meets the conditions of this input", node.span)


def _undecided(graph: Graph, why: str) -> Diagnostic:
    node = graph[graph.inputs[0]]
    return Diagnostic("E3015", f"the accepted sizes cannot be computed: {why}", node.span)
